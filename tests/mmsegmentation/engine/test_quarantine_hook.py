import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmsegmentation.command import InputError
from mmsegmentation.engine import QuarantineHook, SeededSampler
from mmsegmentation.files import write_mask

LOAD = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
]


@pytest.fixture
def root(tmp_path):
    for i in range(8):
        path = tmp_path / f'train/images/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8), (i, 0, 0)).save(path)
        write_mask(tmp_path / f'train/mask/{i}.png', np.full((8, 8), 1, np.uint8))
    return tmp_path


def dataset_of(root, mixed=True, pipeline=LOAD, kind='RecycleDataset', **more):
    config = dict(
        type=kind,
        data_root=str(root),
        data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        pipeline=pipeline,
        _scope_='mmseg',
        **more,
    )
    if kind == 'BaseSegDataset':
        config.update(
            img_suffix='.png', metainfo=dict(classes=['a', 'b'], palette=[[0] * 3] * 2)
        )
    if mixed:
        config = dict(
            type='SeededMixDataset',
            dataset=config,
            pipeline=[dict(type='RandomCutMix', prob=0.5, patch_scale=(4, 4))],
        )
    return DATASETS.build(config)


def start(root, dataset, share=1.0, resume=False):
    """Return the hook as it is when training begins, and its runner."""
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset),
        work_dir=str(root / 'work'),
        _resume=resume,
    )
    (root / 'work').mkdir(exist_ok=True)
    hook = QuarantineHook(share)
    hook.before_train(runner)
    return hook, runner


def listed(root):
    text = (root / 'work/quarantine.jsonl').read_text()
    return [json.loads(line)['file'] for line in text.splitlines()]


def epoch_of(dataset, epoch, workers=0, skipped=0):
    """Return what the samples of an epoch show, in the order of training."""
    sampler = SeededSampler(dataset, shuffle=True, seed=3)
    sampler.set_epoch(epoch)
    order = list(sampler)[skipped:]
    loader = DataLoader(
        dataset, batch_size=2, sampler=order, num_workers=workers, collate_fn=list
    )
    return [s['img'][..., 2].tolist() for batch in loader for s in batch]


DAMAGES = {
    'removed': lambda path: path.unlink(),
    'cut off': lambda path: path.write_bytes(path.read_bytes()[:40]),
    'other picture': lambda path: Image.new('RGB', (8, 8)).save(path),
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_file__that_changes_is_listed_and_another_takes_its_place(root, damage, capsys):
    dataset = dataset_of(root)
    hook, runner = start(root, dataset)
    damage(root / 'train/images/5.png')
    shown = epoch_of(dataset, 0)
    assert len(shown) == 8
    assert not any(5 in row for sample in shown for row in sample)
    assert listed(root) == [str(root / 'train/images/5.png')]
    hook.after_train_iter(runner, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(str(root / 'train/images/5.png'))
    hook.after_train_iter(runner, 1)
    assert not capsys.readouterr().err


@pytest.mark.parametrize('mixed', [True, False])
def test_replacement__follows_from_seed_epoch_and_index(root, mixed):
    """With any number of workers, and where a pass is taken up in its middle."""
    whole = dataset_of(root, mixed)
    start(root, whole)
    (root / 'train/images/5.png').unlink()
    (root / 'train/mask/2.png').write_bytes(b'')
    passes = [epoch_of(whole, epoch) for epoch in (0, 1)]
    assert passes[0] != passes[1]
    start(root, whole)
    assert [epoch_of(whole, epoch, workers=2) for epoch in (0, 1)] == passes
    # Its files are no better then: a resumed run finds its list.
    again = dataset_of(root, mixed, held=str(root / 'work/quarantine.jsonl'))
    start(root, again, resume=True)
    assert epoch_of(again, 1, skipped=4) == passes[1][4:]
    assert len(listed(root)) == 2


def test_share__of_all_images_is_what_a_run_may_lack(root):
    dataset = dataset_of(root)
    hook, runner = start(root, dataset, share=0.25)
    for i in (1, 2):
        (root / f'train/images/{i}.png').unlink()
    epoch_of(dataset, 0)
    hook.after_train_iter(runner, 0)
    assert hook.refusal() is None
    (root / 'train/images/3.png').unlink()
    with pytest.raises(RuntimeError, match='3 files cannot be read'):
        epoch_of(dataset, 1, workers=1)
    message = r'cannot be trained on \(gone\), like 3 of 8 in all, .* share of 0\.25; '
    assert hook.refusal() is not None
    with pytest.raises(InputError, match=message + r'.*quarantine\.jsonl'):
        hook.after_train_iter(runner, 1)


def test_resume__keeps_the_list_but_for_what_was_replaced(root, capsys):
    dataset = dataset_of(root)
    start(root, dataset)
    for i in (1, 2):
        (root / f'train/images/{i}.png').write_bytes(b'damaged')
    epoch_of(dataset, 0)
    assert len(listed(root)) == 2
    Image.new('RGB', (8, 8), (2, 0, 0)).save(root / 'train/images/2.png')
    start(root, dataset, resume=True)
    assert 'images/2.png: was replaced' in capsys.readouterr().err
    assert listed(root) == [str(root / 'train/images/1.png')]
    shown = epoch_of(dataset, 0)
    assert {sample[0][0] for sample in shown} >= {2}
    start(root, dataset)
    assert not (root / 'work/quarantine.jsonl').exists()


def test_stock_dataset__that_hides_a_file_is_found_out(root):
    """MMEngine takes another image for it and says nothing."""
    hides = [dict(LOAD[0], ignore_empty=True), LOAD[1]]
    dataset = dataset_of(root, False, hides, 'BaseSegDataset')
    start(root, dataset)
    path = root / 'train/images/4.png'
    path.unlink()
    assert int(dataset[4]['img'][0, 0, 2]) != 4
    assert listed(root) == [str(path)]


def test_argument__out_of_range_is_refused():
    with pytest.raises(ValueError, match=r'share must be in \[0, 1\], got 2'):
        QuarantineHook(2)
