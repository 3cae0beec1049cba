import logging
from types import SimpleNamespace

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmsegmentation.command import InputError
from mmsegmentation.datasets import label_counts
from mmsegmentation.datasets.leaves import infos_of
from mmsegmentation.engine import SampleCheckHook
from mmsegmentation.files import write_mask

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
PACK = dict(type='PackSegInputs')
CLASSES = ('Background', 'Paper', 'Metal')


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (('train', 4), ('valid', 2)):
        for i in range(count):
            path = tmp_path / part / f'images/{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(image).save(path)
            label_map = np.zeros((8, 8), np.uint8)
            label_map[2:4] = 1
            write_mask(tmp_path / part / f'mask/{i}.png', label_map)
    return tmp_path


def dataset_of(root, part='train', pipeline=(*LOAD, PACK), stock=False, **more):
    config = dict(
        type='BaseSegDataset' if stock else 'RecycleDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'{part}/images', seg_map_path=f'{part}/mask'),
        metainfo=dict(classes=CLASSES),
        pipeline=list(pipeline),
    )
    if stock:
        config.update(img_suffix='.png', seg_map_suffix='.png')
        config['metainfo']['palette'] = [[0] * 3] * 3
    return DATASETS.build({**config, **more, '_scope_': 'mmseg'})


def check(
    dataset, valid=None, num_classes=3, batch_size=2, ignore_index=255, **arguments
):
    head = SimpleNamespace(num_classes=num_classes, ignore_index=ignore_index)
    loop = valid and SimpleNamespace(dataloader=SimpleNamespace(dataset=valid))
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset, batch_size=batch_size),
        val_loop=loop,
        model=SimpleNamespace(decode_head=head),
        seed=0,
        _resume=False,
        logger=logging.getLogger('check'),
    )
    hook = SampleCheckHook(**arguments)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    hook.before_train_epoch(runner)


def test_batch__that_is_larger_than_the_data_set_is_said(root, capsys):
    said = 'a batch holds 5 samples, and there are 4 images: it repeats them'
    check(dataset_of(root), batch_size=4)
    assert said not in capsys.readouterr().err
    check(dataset_of(root), batch_size=5)
    assert said in capsys.readouterr().err


def relabel(root, old, new, part='train'):
    for path in sorted((root / part / 'mask').iterdir()):
        label_map = np.asarray(Image.open(path)).copy()
        label_map[label_map == old] = new
        write_mask(path, label_map)


def test_class__that_no_mask_has_is_said_and_the_shares_are_logged(
    root, capsys, caplog
):
    with caplog.at_level(logging.INFO):
        check(dataset_of(root), dataset_of(root, 'valid'))
    wanted = 'no training mask has these classes: Metal\n'
    assert capsys.readouterr().err == wanted
    before, after = caplog.messages
    assert before.endswith('Background 75.00 %, Paper 25.00 %')
    assert after == 'labels of 4 training samples, by id: 0 75.00 %, 1 25.00 %'


def test_set__without_a_label_stops(root):
    relabel(root, 0, 255)
    relabel(root, 1, 255)
    with pytest.raises(InputError, match=r'train/mask: no pixel .* has a label'):
        check(dataset_of(root))


def test_validation__without_a_label_stops(root):
    relabel(root, 0, 255, 'valid')
    relabel(root, 1, 255, 'valid')
    for stock in (False, True):
        valid = dataset_of(root, 'valid', stock=stock)
        with pytest.raises(InputError, match=r'valid/mask: no pixel of the validation'):
            check(dataset_of(root), valid)


@pytest.mark.parametrize('stock', [False, True])
def test_validation__names_the_classes_that_it_lacks(root, capsys, stock):
    """Without any object it scored mIoU 1.0000."""
    relabel(root, 1, 0, 'valid')
    check(dataset_of(root), dataset_of(root, 'valid', stock=stock))
    assert capsys.readouterr().err == (
        'no training mask has these classes: Metal\n'
        'no validation mask has these classes: Paper\n'
    )


def test_validation__without_masks_is_left_alone(root):
    prefix = dict(img_path='valid/images')
    check(dataset_of(root), dataset_of(root, 'valid', LOAD[:1], data_prefix=prefix))


@pytest.mark.parametrize('stock', [False, True])
@pytest.mark.parametrize(('old', 'new'), [(1, 255), (1, 0), (0, 1)])
def test_set__of_one_class_everywhere_stops(root, stock, old, new):
    """Binary masks of 0 and 255 scored mIoU 1.0000."""
    relabel(root, old, new)
    only = "'Paper'" if new == 1 else "'Background'"
    message = f'all labelled pixels of the training masks are {only} .*hold 0 and 1'
    with pytest.raises(InputError, match=message):
        check(dataset_of(root, stock=stock))


def test_set__of_one_class_that_the_pipeline_tells_apart_is_right(root):
    """As where a step of the user's makes 0 and 1 of 0 and 255."""

    class Binary(BaseTransform):
        def transform(self, results):
            labels = results['gt_seg_map']
            results['gt_seg_map'] = (labels == 255).astype(np.uint8)
            return results

    relabel(root, 1, 255)
    check(dataset_of(root, pipeline=[*LOAD, dict(type=Binary), PACK]))


def test_stock_dataset__all_masks_are_read_before_one_class_is_too_few(
    root, monkeypatch
):
    monkeypatch.setattr(label_counts, 'MASKS', 2)
    for number in (0, 2):  # those that a look at every second mask would see
        write_mask(root / f'train/mask/{number}.png', np.zeros((8, 8), np.uint8))
    check(dataset_of(root, stock=True))


def test_outputs__without_a_label_stop(root):
    """As where padding leaves nothing."""

    class Blank(BaseTransform):
        def transform(self, results):
            results['gt_seg_map'][:] = 255
            return results

    dataset = dataset_of(root, pipeline=[*LOAD, dict(type=Blank), PACK])
    with pytest.raises(InputError, match=r'4 samples of the .* pipeline have no label'):
        check(dataset)


def test_outputs__outside_the_models_classes_stop(root):
    with pytest.raises(InputError, match=r'\.png: comes out .* id 1, but .* only 1 cl'):
        check(dataset_of(root), num_classes=1)


@pytest.mark.parametrize('ignored', [-1, -100])
def test_outputs__with_a_negative_id_that_the_model_ignores_are_right(root, ignored):
    """As where a step of the user's ignores the background, and counts from 0."""

    class OneDown(BaseTransform):
        def transform(self, results):
            labels = results['gt_seg_map'].astype(np.int64) - 1
            results['gt_seg_map'] = np.where(labels < 0, ignored, labels)
            return results

    steps = [*LOAD, dict(type=OneDown), PACK]
    check(dataset_of(root, pipeline=steps), ignore_index=ignored)


@pytest.mark.parametrize('name', ['1.png', 'copy.bmp'])
def test_leak__is_found_by_its_pixels_whatever_its_name(root, capsys, name):
    source = root / 'valid/images/1.png'
    Image.open(source).save(root / 'train/images' / name)
    write_mask(root / f'train/mask/{name[:-4]}.png', np.zeros((8, 8), np.uint8))
    train, valid = dataset_of(root), dataset_of(root, 'valid')
    message = rf'train/images/{name}: .* same picture .*valid/images/1\.png .*: 1\); '
    with pytest.raises(InputError, match=message + r'remove one .*leaks=say'):
        check(train, valid)
    check(train, valid, leaks='say')
    assert 'same picture' in capsys.readouterr().err
    check(train, valid, leaks='pass')
    assert 'same picture' not in capsys.readouterr().err


def test_stock_dataset__is_checked_too(root):
    check(dataset_of(root, stock=True), dataset_of(root, 'valid', stock=True))
    label_map = np.full((8, 8), 3, np.uint8)
    write_mask(root / 'train/mask/2.png', label_map)
    with pytest.raises(
        InputError, match=r'2\.png: gives class id 3, .* only 3 classes'
    ):
        check(dataset_of(root, stock=True))
    check(dataset_of(root, stock=True, reduce_zero_label=True))  # one less each


def test_stock_dataset__of_a_choice_of_classes_without_zero(root):
    """MMSegmentation takes one off first, and then translates."""

    class Chosen(BaseSegDataset):
        METAINFO = dict(classes=('Paper', 'Metal', 'Glass'), palette=[[0] * 3] * 3)

    relabel(root, 1, 3)
    dataset = Chosen(
        data_root=str(root),
        data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        img_suffix='.png',
        metainfo=dict(classes=('Glass',), palette=[[0] * 3]),
        reduce_zero_label=True,
        pipeline=[dict(step, _scope_='mmseg') for step in (*LOAD, PACK)],
    )
    check(dataset, num_classes=1)
    assert np.unique(dataset[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 255]


class Arrays(BaseTransform):
    """Read images of no picture format, and ids that stand for others."""

    def transform(self, results):
        results['img'] = np.load(results['img_path'])
        mask = np.asarray(Image.open(results['seg_map_path']))
        results['gt_seg_map'] = (mask > 0).astype(np.uint8)
        results['img_shape'] = results['ori_shape'] = mask.shape
        return results


def test_stock_dataset__that_others_steps_read_is_left_to_them(root):
    relabel(root, 1, 200)
    relabel(root, 1, 200, 'valid')
    for path in root.glob('*/images/*.png'):
        np.save(path.with_suffix('.npy'), np.zeros((8, 8, 5), np.uint8))
    pipeline = [dict(type=Arrays), PACK]
    train, valid = (
        dataset_of(root, part, pipeline, stock=True, img_suffix='.npy')
        for part in ('train', 'valid')
    )
    check(train, valid)


def test_infos__of_files_that_come_in_pairs_are_none():
    class Pairs(list):
        def get_data_info(self, index):
            return {'img_path': self[index]}

    assert infos_of(Pairs([['a.png', 'b.png']])) == []


def test_random_numbers__stay_what_they_were(root):
    pipeline = [*LOAD, dict(type='RandomFlip', prob=0.5), PACK]
    np.random.seed(4)
    expected = np.random.random()
    np.random.seed(4)
    check(dataset_of(root, pipeline=pipeline, stock=True))
    assert np.random.random() == expected


@pytest.mark.parametrize('wrong', [dict(samples=-1), dict(leaks='no')])
def test_argument__out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match='must be'):
        SampleCheckHook(**wrong)
