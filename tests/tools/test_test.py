import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import list_images, read_json, read_mask, sha256_of
from mmsegmentation.predictions import open_predictions
from tools import test


def best_of(trained):
    return next(trained[1].glob('best_mIoU_iter_*.pth'))


@pytest.fixture
def predict(trained, shared_data, run, tmp_path):
    """Predict a part with the trained model; give the folder and what was printed."""

    def call(*options):
        out = tmp_path / 'pred'
        code, printed, err = run(
            test.main, trained[0], best_of(trained), '--out', out, *options
        )
        assert code == 0, err
        return out, printed

    return call


def masks_of(part, predictions):
    truths = [read_mask(part / 'mask' / i) for i in predictions.image_ids]
    return truths, [predictions.mask(i) for i in predictions.image_ids]


def test_valid__folder_holds_masks_confidence_and_origin(predict, trained, shared_data):
    out, printed = predict('--cfg-options', 'log_level=ERROR')
    predictions = open_predictions(out)
    assert list(predictions.image_ids) == list_images(shared_data / 'valid/images')
    assert predictions.classes == CLASSES
    for image_id in predictions.image_ids:
        assert predictions.mask(image_id).shape == (96, 128)
        assert predictions.confidence(image_id).min() >= 255 // 11
    origin = predictions.origin
    assert origin['checkpoint_sha256'] == sha256_of(best_of(trained))
    assert origin['split'] == 'valid'
    assert origin['cfg_options'] == ['log_level=ERROR']
    assert printed.splitlines()[-1] == f'predictions: {out}'


def test_valid__scores_are_a_plain_count_over_the_masks(predict, shared_data):
    out, printed = predict()
    truths, masks = masks_of(shared_data / 'valid', open_predictions(out))
    scores = read_json(out / 'metrics.json')
    counts = np.zeros((11, 11), int)
    for truth, mask in zip(truths, masks, strict=True):
        np.add.at(counts, (truth, mask), 1)
    assert scores['confusion'] == counts.tolist()
    origin = open_predictions(out).origin
    assert scores['checkpoint_sha256'] == origin['checkpoint_sha256']
    assert f'mIoU {scores["mIoU"]:.4f}' in printed
    assert 'Paper pack ' in printed


def test_valid__scores_equal_those_of_mmsegmentation(predict, shared_data):
    out, _ = predict()
    truths, masks = masks_of(shared_data / 'valid', open_predictions(out))
    stock = IoUMetric(iou_metrics=['mIoU'])
    stock.dataset_meta = {'classes': CLASSES}
    samples = [
        {
            'gt_sem_seg': {'data': torch.from_numpy(truth.copy())[None]},
            'pred_sem_seg': {'data': torch.from_numpy(mask.copy())[None]},
        }
        for truth, mask in zip(truths, masks, strict=True)
    ]
    stock.process({}, samples)
    theirs = stock.evaluate(len(samples))
    ours = read_json(out / 'metrics.json')
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert round(100 * ours[name], 2) == pytest.approx(theirs[name], abs=0.0051)


def test_valid__scores_are_those_of_the_training_run(predict, trained):
    out, _ = predict()
    ours, theirs = (read_json(f / 'metrics.json') for f in (out, trained[1]))
    assert ours['confusion'] == theirs['confusion']
    assert ours['mIoU_interval'] == theirs['mIoU_interval']


@pytest.mark.parametrize('options', [(), ('--tta',)], ids=['plain', 'tta'])
def test_test_part__has_masks_and_no_scores(predict, shared_data, options):
    out, printed = predict('--split', 'test', *options)
    predictions = open_predictions(out)
    assert list(predictions.image_ids) == list_images(shared_data / 'test/images')
    assert predictions.origin['tta'] is bool(options)
    assert not (out / 'metrics.json').exists()
    first, *rest = printed.splitlines()
    assert first.startswith('device: CPU, ') and first.endswith('; float32')
    assert rest == ['2 images of test to predict', f'predictions: {out}']


def test_probs__are_those_of_the_masks_at_a_quarter_of_the_size(predict, shared_data):
    out, _ = predict('--probs', '--split', 'test')
    predictions = open_predictions(out)
    for image_id in predictions.image_ids:
        path = (out / 'probs' / image_id).with_suffix('.npy')
        assert path.stat().st_size <= 400_000
        probs = np.load(path, allow_pickle=False)
        height, width = predictions.mask(image_id).shape
        assert probs.dtype == np.uint8
        assert probs.shape == (11, -(-height // 4), -(-width // 4))
        assert np.abs(probs.sum(0, dtype=int) - 255).max() <= 6  # eleven roundings
        inner = probs.max(0)[: height // 4, : width // 4].mean()
        blocks = predictions.confidence(image_id)[: height // 4 * 4, : width // 4 * 4]
        # A block's winner has at most the mean of its pixels' winners.
        assert blocks.mean() - 20 < inner <= blocks.mean() + 1


def test_tta__joins_views_and_scores_them(predict):
    plain, _ = predict()
    shutil.move(plain, plain.with_name('plain'))
    plain = plain.with_name('plain')
    both, _ = predict('--tta')
    assert read_json(both / 'metrics.json')['images'] == 3
    image_id = open_predictions(both).image_ids[0]
    sure = [open_predictions(f).confidence(image_id) for f in (plain, both)]
    assert (sure[0] != sure[1]).any()


@pytest.mark.parametrize('name', ['SegTTAModel', 'mmseg.SegTTAModel'])
def test_tta__by_mmsegmentations_own_model_has_the_confidence_of_the_mean(
    predict, name
):
    wrapper = ('--cfg-options', f'tta_model.type={name}')
    ours, _ = predict('--tta')
    shutil.move(ours, ours.with_name('ours'))
    stock, _ = predict('--tta', *wrapper)
    ours = open_predictions(ours.with_name('ours'))
    for image_id in ours.image_ids:
        theirs = open_predictions(stock)
        assert (theirs.mask(image_id) == ours.mask(image_id)).mean() > 0.999
        off = theirs.confidence(image_id).astype(int) - ours.confidence(image_id)
        assert np.abs(off).max() <= 1


def test_rank__of_a_launcher_that_is_not_asked_for_changes_nothing(
    predict, shared_data, monkeypatch
):
    # srun and torchrun set these for every process.
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setenv('SLURM_PROCID', '3')
    out, printed = predict()
    assert len(open_predictions(out).image_ids) == 3
    assert 'mIoU' in printed


OWN_METRICS = """
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice']),
    dict(type='DumpResults', out_file_path={path!r}),
]
"""


def test_evaluator__of_the_config_measures_beside_ours(
    trained, shared_data, write_config, run, tmp_path
):
    dump = tmp_path / 'dump.pkl'
    more = OWN_METRICS.format(path=str(dump))
    config = write_config(more=more, name='own_metrics')
    out = tmp_path / 'p'
    code, printed, err = run(test.main, config, best_of(trained), '--out', out)
    assert code == 0, err
    scores = read_json(out / 'metrics.json')
    confusion, own = np.array(scores['confusion']), scores['test_evaluator']
    pixels = confusion.sum(0) + confusion.sum(1)
    dice = 2 * confusion.diagonal()[pixels > 0] / pixels[pixels > 0]
    assert own['mDice'] == pytest.approx(100 * dice.mean(), abs=0.0051)
    assert own['mIoU'] == pytest.approx(100 * scores['mIoU'], abs=0.0051)
    assert f'mDice {own["mDice"]}' in printed
    assert 'exact/mIoU' not in printed
    (*_, sample) = pickle.loads(dump.read_bytes())
    assert len(pickle.loads(dump.read_bytes())) == 3
    image_id = open_predictions(out).image_ids[-1]
    mask = open_predictions(out).mask(image_id)
    assert (sample['pred_sem_seg']['data'].squeeze(0).numpy() == mask).all()


def test_evaluator__that_needs_labels_is_left_out_where_there_are_none(
    trained, shared_data, write_config, run, tmp_path
):
    dump = tmp_path / 'dump.pkl'
    config = write_config(more=OWN_METRICS.format(path=str(dump)), name='own_metrics')
    arguments = (config, best_of(trained), '--out', tmp_path / 'p', '--split', 'test')
    code, _, err = run(test.main, *arguments)
    assert (code, err) == (
        0,
        'test_evaluator: IoUMetric is left out because there are no labels\n',
    )
    assert len(pickle.loads(dump.read_bytes())) == 2


ADE20K = """
_shape = dict(
    _delete_=True,
    type='BaseSegDataset',
    data_root={root!r},
    img_suffix='.png',
    seg_map_suffix='.png',
    metainfo=dict(classes={classes!r}, palette=[[i, i, i] for i in range(11)]),
)
_steps = _base_.val_dataloader.dataset.pipeline
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='images/validation', seg_map_path='annotations/validation'
        ),
        pipeline=_steps,
        **_shape,
    )
)
test_dataloader = dict(
    dataset=dict(data_prefix=dict(img_path='images/testing'), pipeline=_steps, **_shape)
)
"""


@pytest.fixture
def ade20k(shared_data, write_config, tmp_path):
    """Lay the data out as ADE20K is, and write a config of them."""
    for folder, place in {
        'valid/images': 'images/validation',
        'valid/mask': 'annotations/validation',
        'test/images': 'images/testing',
    }.items():
        shutil.copytree(shared_data / folder, tmp_path / 'ade' / place)
    more = ADE20K.format(root=str(tmp_path / 'ade'), classes=CLASSES)
    return write_config(more=more, name='ade20k')


@pytest.mark.parametrize('options', [(), ('--tta',)], ids=['plain', 'tta'])
def test_data__of_another_layout_are_those_of_the_loader(
    trained, ade20k, predict, run, tmp_path, options
):
    ours, _ = predict(*options)
    theirs = tmp_path / 'theirs'
    arguments = (ade20k, best_of(trained), '--out', theirs, *options)
    code, _, err = run(test.main, *arguments)
    assert code == 0, err
    found, wanted = (read_json(out / 'metrics.json') for out in (theirs, ours))
    assert found['confusion'] == wanted['confusion']
    found, wanted = map(open_predictions, (theirs, ours))
    assert found.image_ids == wanted.image_ids
    code, _, err = run(test.main, *arguments, '--split', 'test', '--overwrite')
    assert (code, err) == (0, '')
    assert len(open_predictions(theirs).image_ids) == 2


def test_show_dir_and_work_dir__have_painted_images_and_scores_as_of_mmsegmentation(
    predict, tmp_path
):
    out, _ = predict('--show-dir', tmp_path / 'shown', '--work-dir', tmp_path / 'work')
    painted = sorted((tmp_path / 'shown').rglob('vis_image/*.png'))
    assert [path.name for path in painted] == [
        'test_0.png_1.png',
        'test_0.png_3.png',
        'test_1.png_2.png',
    ]
    (path,) = (path for path in (tmp_path / 'work').glob('*/*.json'))
    scores = json.loads(path.read_text())
    mean = 100 * read_json(out / 'metrics.json')['mIoU']
    assert scores['mIoU'] == pytest.approx(mean, abs=0.0051)


def test_data_root__option_goes_before_the_environment(
    predict, shared_root, monkeypatch, tmp_path
):
    monkeypatch.setenv('RECYCLE_DATA', str(tmp_path / 'nowhere'))
    out, _ = predict('--data-root', shared_root)
    assert len(open_predictions(out).image_ids) == 3


def test_part__of_joined_data_sets_is_one_line(
    trained, shared_data, misuse, write_config, tmp_path
):
    more = """test_dataloader = dict(
        dataset=dict(_delete_=True, type='ConcatDataset', datasets=[])
    )\n"""
    config = write_config(more=more, name='joined')
    message = 'test_dataloader: its data set has no data_root .*RecycleDataset'
    arguments = (config, best_of(trained), '--out', tmp_path / 'p', '--split', 'test')
    misuse(test.main, message, *arguments)


def test_out__is_only_replaced_when_asked(predict, trained, misuse, run, tmp_path):
    out, _ = predict()
    arguments = (trained[0], best_of(trained), '--out')
    misuse(test.main, 'exists; pass --overwrite', *arguments, out)
    assert run(test.main, *arguments, out, '--overwrite', '--split', 'test')[0] == 0
    assert open_predictions(out).origin['split'] == 'test'
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('mine')
    misuse(test.main, 'mine', *arguments, tmp_path / 'mine', '--overwrite')
    assert (tmp_path / 'mine/thesis.txt').read_text() == 'mine'


def test_failure__leaves_nothing_half_written(
    trained, data_root, run, tmp_path, monkeypatch
):
    path = data_root / 'valid/images/batch_1/0.png'
    content = path.read_bytes()
    path.write_bytes(content[:60] + content[-12:])  # its start and end are in order
    out = tmp_path / 'pred'
    with pytest.raises(Exception, match=r'0\.png|imdecode|NoneType|img'):
        run(test.main, trained[0], best_of(trained), '--out', out)
    assert [p.name for p in tmp_path.iterdir()] == ['data']


def test_misuse__is_one_line(trained, misuse, data_root, tmp_path, write_config):
    config, checkpoint = trained[0], best_of(trained)
    out = ('--out', tmp_path / 'p')
    misuse(test.main, 'no such config', 'no.py', checkpoint, *out)
    misuse(test.main, r'no\.pth: no such checkpoint', config, 'no.pth', *out)
    torn = tmp_path / 'torn.pth'
    torn.write_bytes(checkpoint.read_bytes()[:5000])
    misuse(test.main, r'torn\.pth: not a readable', config, torn, *out)
    torch.save([1, 2], tmp_path / 'list.pth')
    misuse(test.main, 'holds no state_dict', config, tmp_path / 'list.pth', *out)
    bare = write_config(more='tta_model = None\n', name='bare')
    misuse(test.main, 'has no tta_model', bare, checkpoint, *out, '--tta')
    shutil.rmtree(data_root / 'test')
    arguments = (config, checkpoint, *out, '--split', 'test')
    misuse(test.main, 'test/images: no such folder', *arguments)
    assert not (tmp_path / 'p').exists()


def test_checkpoint__of_another_model_is_refused(
    trained, trained_beit, shared_data, misuse, tmp_path
):
    arguments = (trained[0], best_of(trained_beit), '--out', tmp_path / 'p')
    misuse(test.main, 'does not fit', *arguments)
    assert not (tmp_path / 'p').exists()


def test_checkpoint__is_never_executed(
    trained, shared_data, smuggled, misuse, tmp_path
):
    message = 'holds more than weights and numbers'
    misuse(test.main, message, trained[0], smuggled, '--out', tmp_path / 'p')
    assert not (tmp_path / 'p').exists()


def test_labels__other_ids_stop_before_the_prediction(
    trained, data_root, misuse, tmp_path
):
    path = data_root / 'dataset.json'
    path.write_text(json.dumps({'classes': ['Background', 'Can']}))
    arguments = (trained[0], best_of(trained), '--out', tmp_path / 'p')
    misuse(test.main, r'dataset\.json: classes .* are not those', *arguments)
    assert not (tmp_path / 'p').exists()
