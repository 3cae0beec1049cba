"""One fold trained and predicted: of other images than it is measured on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.datasets.transforms.donors import find_donors
from mmsegmentation.files import read_json, read_mask
from mmsegmentation.fold_config import use_fold
from mmsegmentation.folds import open_folds
from mmsegmentation.parts import find_masks
from mmsegmentation.predictions import open_predictions
from mmsegmentation.runtime import read_config
from tools import test, train
from utils.join import main as join
from utils.split import main as split

PSEUDO = 'upernet_convnext-mini_1xb8-cutmix-pseudo-90it_drawn-128x128.py'
FOLDS = 3


@pytest.fixture(scope='session')
def fold_root(shared_root: Path) -> Path:
    """Return a data root in three folds, with a pseudo-labelled part."""
    root = shared_root.parent / 'in_folds'
    shutil.copytree(shared_root, root, ignore=shutil.ignore_patterns('.cache'))
    shutil.copytree(root / 'train', root / 'pseudo')
    for kind in ('images', 'mask'):  # an image id is in one part alone
        for folder in sorted((root / 'valid' / kind).iterdir()):
            folder.rename(folder.with_name(f'{folder.name}_valid'))
    argv = [root, '--folds', FOLDS, '--jobs', 1, '--group-by', 'nothing']
    split([str(arg) for arg in argv])
    return root


@pytest.fixture
def data(fold_root, monkeypatch):
    monkeypatch.setenv('RECYCLE_DATA', str(fold_root))
    return fold_root


@pytest.fixture(scope='session')
def trained_fold(fold_root, write_config, tmp_path_factory) -> tuple[str, Path]:
    """Return a config and the work folder of fold 1, which no test may change."""
    place = tmp_path_factory.mktemp('fold')
    here, earlier = Path.cwd(), os.environ.get('RECYCLE_DATA')
    os.environ['RECYCLE_DATA'] = str(fold_root)
    config = write_config(name='folded')
    os.chdir(place)
    try:
        train.main([config, '--fold', '1'])
    finally:
        os.chdir(here)
        os.environ.pop('RECYCLE_DATA')
        if earlier is not None:
            os.environ['RECYCLE_DATA'] = earlier
    return config, place / 'work_dirs/folded_fold1'


@pytest.fixture
def predict(trained_fold, data, run, tmp_path):
    def call(*options):
        config, work_dir = trained_fold
        out = tmp_path / 'pred'
        argv = (config, work_dir / 'iter_4.pth', '--out', out, *options)
        code, printed, err = run(test.main, *argv)
        assert code == 0, err
        return out, printed

    return call


def build(loader):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(loader.dataset)


def images_of(loader, root):
    """Build the data set of a loader; return part and id of each of its images."""
    dataset = build(loader)
    dataset = getattr(dataset, 'dataset', dataset)  # out of the mixing wrapper
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    paths = [Path(info['img_path']).relative_to(root) for info in infos]
    return [(path.parts[0], Path(*path.parts[2:]).as_posix()) for path in paths]


def labelled(root):
    return {
        (part, path.relative_to(root / part / 'images').as_posix())
        for part in ('train', 'valid')
        for path in (root / part / 'images').rglob('*.png')
    }


def test_data__no_image_is_trained_on_and_measured(write_config, data):
    seen = []
    for fold in range(FOLDS):
        cfg = read_config(write_config())
        use_fold(cfg, fold, None)
        trained = images_of(cfg.train_dataloader, data)
        measured = images_of(cfg.val_dataloader, data)
        assert not set(trained) & set(measured)
        assert sorted(trained + measured) == sorted(labelled(data))
        seen += measured
    assert sorted(seen) == sorted(labelled(data))
    assert len(seen) == 7


def test_data__pseudo_labels_stay_in_training(write_config, data):
    cfg = read_config(write_config(PSEUDO, name='pseudo_tiny'))
    use_fold(cfg, 0, None)
    trained = images_of(cfg.train_dataloader, data)
    measured = images_of(cfg.val_dataloader, data)
    assert len([1 for part, _ in trained if part == 'pseudo']) == 4
    own = {image for image in trained if image[0] != 'pseudo'}
    assert own == labelled(data) - set(measured)
    assert {part for part, _ in measured} <= {'train', 'valid'}


def test_data__donors_are_of_the_images_that_are_trained_on(write_config, data):
    """However rare their classes: no pixel of a validation image is pasted."""
    steps = [dict(type='CopyPaste', prob=1.0, prefer_rare=1.0)]
    for fold in range(FOLDS):
        cfg = read_config(write_config(PSEUDO, name='pseudo_tiny'))
        use_fold(cfg, fold, None)
        cfg.train_dataloader.dataset.pipeline = steps
        wrapper = build(cfg.train_dataloader)
        measured = set(images_of(cfg.val_dataloader, data))
        trained = images_of(cfg.train_dataloader, data)
        drawn = set()
        for kind in ('all', 'real', 'pseudo'):
            donors = find_donors(wrapper.dataset, kind, 1.0)
            own = {trained[i] for i in donors.indices}
            assert all((part == 'pseudo') == (kind == 'pseudo') for part, _ in own) or (
                kind == 'all'
            )
            drawn |= own
        drawn |= {
            trained[index]
            for _ in range(50)
            for index in wrapper.pipeline[0].get_indices(wrapper.dataset)
        }
        assert not drawn & measured
        assert {image for image in drawn if image[0] != 'pseudo'} == (
            labelled(data) - measured
        )


def test_train__pseudo_labels_of_unknown_origin_are_refused(
    write_config, data, misuse, tmp_path
):
    config = write_config(PSEUDO, name='pseudo_tiny')
    argv = (config, '--work-dir', tmp_path / 'w', '--fold', 0)
    misuse(train.main, r'no pseudo\.json says which model made its labels', *argv)
    odd = (*argv, '--pseudo-part', 'pseudo_none')
    misuse(train.main, r'pseudo_none/images: no such folder; make it', *odd)
    plain = (write_config(), *argv[1:], '--pseudo-part', 'pseudo')
    misuse(train.main, 'trains on no pseudo labels', *plain)


def test_data__fold_is_named_in_a_config_or_an_option(write_config, data):
    cfg = read_config(write_config(more='fold = 2\n', name='second'))
    use_fold(cfg, None, None)
    optional = read_config(write_config(), ['fold=2'])
    use_fold(optional, None, None)
    by_number = read_config(write_config())
    use_fold(by_number, 2, None)
    found = [images_of(c.val_dataloader, data) for c in (cfg, optional, by_number)]
    assert found[0] == found[1] == found[2]


def test_data__decoded_images_are_cached_part_by_part(write_config, data):
    cfg = read_config(write_config())
    use_fold(cfg, 0, None)
    dataset = build(cfg.train_dataloader).dataset
    for number in range(len(dataset)):
        assert dataset[number]['img'].shape == (128, 128, 3)
    caches = [inner._pixels for inner in dataset.datasets]
    assert len(caches) == 2
    assert all(cache is not None for cache in caches)


def test_train__work_folder_scores_and_checkpoint_are_of_the_fold(
    trained_fold, fold_root
):
    _, work_dir = trained_fold
    fold = open_folds(fold_root / 'folds').check(1)
    assert read_json(work_dir / 'metrics.json')['images'] == len(
        fold.image_ids('valid')
    )
    content = check_checkpoint(str(work_dir / 'iter_4.pth'))
    assert content['meta']['fold'] == fold.record
    assert fold.record['fold'] == 1


def test_valid__images_left_out_are_predicted_and_scored(predict, data):
    out, printed = predict('--fold', 1)
    fold = open_folds(data / 'folds').check(1)
    predictions = open_predictions(out)
    assert list(predictions.image_ids) == fold.image_ids('valid')
    assert predictions.origin['fold'] == fold.record
    counts = np.zeros((11, 11), int)
    for image_id, path in find_masks(data, predictions.image_ids, None).items():
        np.add.at(counts, (read_mask(path), predictions.mask(image_id)), 1)
    assert read_json(out / 'metrics.json')['confusion'] == counts.tolist()
    assert f'{len(predictions.image_ids)} images of valid to predict' in printed


def test_valid__folder_can_be_joined(predict, data, run, tmp_path):
    out, _ = predict('--fold', 1, '--tta', '--probs')
    joined = tmp_path / 'joined'
    argv = (out, '--data-root', data, '--out', joined, '--allow-missing')
    code, _, err = run(join, *argv)
    assert (code, err) == (0, '')
    theirs, ours = (read_json(f / 'metrics.json') for f in (out, joined))
    assert ours['confusion'] == theirs['confusion']
    assert sorted(path.name for path in joined.iterdir()) == [
        'confidence',
        'masks',
        'metrics.json',
        'predictions.json',
        'probs',
    ]


def test_train_and_test_parts__are_those_of_the_fold_and_the_root(
    predict, data, tmp_path
):
    fold = open_folds(data / 'folds').check(1)
    out, _ = predict('--fold', 1, '--split', 'train')
    assert list(open_predictions(out).image_ids) == fold.image_ids('train')
    out, _ = predict('--fold', 1, '--split', 'test', '--overwrite')
    assert len(open_predictions(out).image_ids) == 2
    assert not (out / 'metrics.json').exists()


def test_test__a_model_that_knows_the_images_is_refused(
    trained_fold, trained, data, misuse, tmp_path
):
    config, work_dir = trained_fold
    out = ('--out', tmp_path / 'pred')
    own, plain = work_dir / 'iter_4.pth', trained[1] / 'iter_4.pth'
    misuse(test.main, 'was trained on fold 1; name', config, own, *out, '--fold', 0)
    misuse(test.main, 'images of valid, .*pass --fold 1', config, own, *out)
    misuse(test.main, 'without folds', config, plain, *out, '--fold', 1)
    misuse(test.main, 'fold 3: .* has 3 folds', config, own, *out, '--fold', 3)
    argv = (config, own, *out, '--folds', data / 'folds')
    misuse(test.main, 'no fold of them is named', *argv)
    misuse(test.main, 'none: holds no folds', *argv[:-1], 'none', '--fold', 1)
    assert not (tmp_path / 'pred').exists()


def test_train__weights_that_know_the_images_are_refused(
    trained_fold, trained, data, misuse, tmp_path
):
    config, work_dir = trained_fold
    to = ('--work-dir', tmp_path / 'w', '--cfg-options')
    start = f'load_from={work_dir / "iter_4.pth"}'
    misuse(train.main, 'fold 1: it may know', config, '--fold', 0, *to, start)
    start = f'load_from={trained[1] / "iter_4.pth"}'
    misuse(train.main, 'without folds: it may', config, '--fold', 0, *to, start)
    assert not (tmp_path / 'w').exists()


def test_resume__needs_the_same_fold(trained_fold, data, run, misuse, tmp_path):
    config, _ = trained_fold
    work_dir = tmp_path / 'run'
    shutil.copytree(trained_fold[1], work_dir)
    again = (config, '--work-dir', work_dir, '--resume')
    misuse(train.main, 'was trained on fold 1; pass --fold 1', *again)
    misuse(train.main, 'was trained on fold 1', *again, '--fold', 2)
    longer = ('--fold', 1, '--cfg-options', 'train_cfg.max_iters=6')
    assert run(train.main, *again, *longer)[0] == 0
    content = torch.load(work_dir / 'iter_6.pth', weights_only=False)
    assert content['meta']['fold']['fold'] == 1
