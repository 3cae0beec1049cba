"""The metric against MMSegmentation's own, and what it refuses."""

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmsegmentation.command import InputError
from mmsegmentation.evaluation import ExactIoUMetric
from mmsegmentation.scores import confusion_matrix
from tests.forked import run_two

CLASSES = tuple('abcde')


@pytest.fixture(autouse=True)
def logger():
    """Let what is printed go to a logger that nobody else uses."""
    return MMLogger.get_instance('test_exact_iou')


def sample(truth, prediction, path=None):
    maps = {
        'gt_sem_seg': {'data': torch.as_tensor(truth)[None]},
        'pred_sem_seg': {'data': torch.as_tensor(prediction)[None]},
    }
    return maps if path is None else {**maps, 'img_path': path}


def batch(count=4, classes=5):
    """Return samples of several sizes, half their pixels right, some without label."""
    rng = np.random.default_rng(3)
    samples = []
    for number in range(count):
        size = (20 + number, 30)
        truth = rng.integers(0, classes, size)
        guess = np.where(rng.random(size) < 0.5, truth, rng.integers(0, classes, size))
        truth[rng.random(size) < 0.1] = 255
        samples.append(sample(truth, guess, f'{number}.jpg'))
    return samples


def build(kind, **settings):
    metric = METRICS.build({'type': kind, **settings})
    metric.dataset_meta = {'classes': CLASSES}
    return metric


def test_metric__equals_mmsegmentations_on_the_same_batch():
    samples = batch()
    ours, theirs = build('ExactIoUMetric'), build('IoUMetric', iou_metrics=['mIoU'])
    for half in (samples[:2], samples[2:]):
        ours.process({}, half)
        theirs.process({}, half)
    assert isinstance(theirs, IoUMetric)
    wanted, found = theirs.evaluate(4), ours.evaluate(4)
    for name in ('mIoU', 'mAcc', 'aAcc'):
        # Theirs rounds each class before the mean.
        assert found[name] == pytest.approx(wanted[name], abs=0.0101)


def test_metric__scores_are_percent_of_what_it_keeps():
    metric = build('ExactIoUMetric', prefix='val')
    metric.process({}, [sample([[0, 0, 1, 255]], [[0, 1, 1, 0]], 'a.jpg')])
    metric.process({}, [sample([[0, 0]], [[0, 0]], 'b.jpg')])
    assert metric.evaluate(2) == {
        'val/mIoU': 62.5,
        'val/mIoU_image': 75.0,
        'val/mAcc': 87.5,
        'val/aAcc': 80.0,
    }
    kept = metric.last_scores
    assert (kept['mIoU'], kept['mIoU_image'], kept['images']) == (0.625, 0.75, 2)
    assert kept['IoU'] == [3 / 4, 1 / 2, None, None, None]
    assert kept['confusion'][0] == [3, 1, 0, 0, 0]


def test_metric__prints_the_table(logger, monkeypatch):
    printed = []
    monkeypatch.setattr(logger, 'info', printed.append)
    monkeypatch.setattr(logger, 'log', lambda level, text: printed.append(text))
    metric = build('ExactIoUMetric')
    metric.process({}, batch())
    metric.evaluate(4)
    assert 'class ' in ''.join(printed)
    assert '(mean over images, 4 images)' in ''.join(printed)


def test_metric__image_that_comes_twice_counts_once():
    # Processes that share the images evenly repeat some at the end.
    samples = batch(3)
    once, twice = build('ExactIoUMetric'), build('ExactIoUMetric')
    once.process({}, samples)
    twice.process({}, [*samples, samples[0]])
    once.evaluate(3)
    twice.evaluate(4)
    assert once.last_scores == twice.last_scores


def test_metric__images_without_a_path_all_count():
    samples = [sample([[0]], [[0]]), sample([[0]], [[1]])]
    metric = build('ExactIoUMetric')
    metric.process({}, samples)
    assert metric.evaluate(2)['aAcc'] == 50.0


def test_metric__images_without_a_path_count_in_every_process(tmp_path):
    def score(rank):
        metric = build('ExactIoUMetric')
        metric.process({}, [sample([[0]], [[rank]])])  # the second one is wrong
        return metric.evaluate(2)['aAcc']

    assert run_two(tmp_path, score) == [50.0, 50.0]


def test_metric__another_label_may_be_ignored():
    truth, guess = np.array([[0, 1, 2, 2]]), np.array([[0, 1, 0, 2]])
    metric = build('ExactIoUMetric', ignore_index=2)
    metric.process({}, [sample(truth, guess)])
    metric.evaluate(1)
    maps = truth.astype(np.uint8), guess.astype(np.uint8)
    wanted = confusion_matrix(*maps, 5, ignore_index=2)
    assert metric.last_scores['confusion'] == wanted.tolist()
    assert wanted.sum() == 2


def test_metric__next_validation_starts_anew():
    metric = build('ExactIoUMetric')
    for prediction, score in ((0, 100.0), (1, 0.0)):
        metric.process({}, [sample([[0, 0]], [[prediction] * 2], 'a.jpg')])
        assert metric.evaluate(1)['mIoU'] == score


def test_metric__unusable_labels_are_named():
    metric = build('ExactIoUMetric')
    bare = sample([[0]], [[0]], 'b/1.jpg')
    del bare['gt_sem_seg']
    with pytest.raises(InputError, match=r'b/1\.jpg: has no labels'):
        metric.process({}, [bare])
    with pytest.raises(InputError, match=r'1\.jpg: sizes differ'):
        metric.process({}, [sample([[0, 0]], [[0]], '1.jpg')])
    metric.process({}, [sample([[255]], [[0]], '1.jpg')])
    with pytest.raises(InputError, match='no labelled pixel to score'):
        metric.evaluate(1)


NAMES = ['mIoU', 'mDice', 'mFscore']
SETTINGS = [
    dict(iou_metrics=NAMES),
    dict(iou_metrics='mDice'),
    dict(iou_metrics=['mFscore'], beta=2),
    dict(iou_metrics=NAMES, nan_to_num=0),
    dict(iou_metrics=['mIoU'], nan_to_num=-1),
    dict(iou_metrics=['mIoU'], prefix='val'),
    dict(iou_metrics=['mIoU'], ignore_index=2),
]


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_metric__takes_what_mmsegmentations_takes(settings):
    # Class 4 does not occur.
    samples = batch(classes=4)
    found, wanted = evaluate_both(samples, **settings)
    ours_alone = {name for name in found if name.endswith('mIoU_image')}
    assert found.keys() - ours_alone == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=0.0101)


def evaluate_both(samples, **settings):
    found = []
    for kind in ('ExactIoUMetric', 'IoUMetric'):
        metric = build(kind, **settings)
        metric.process({}, samples)
        found.append(dict(metric.evaluate(len(samples))))
    return found


def test_metric__ids_outside_the_table_count_as_mmsegmentations(logger, monkeypatch):
    printed = []
    monkeypatch.setattr(logger, 'log', lambda level, text: printed.append(text))
    samples = batch()
    samples[2]['gt_sem_seg']['data'][0, :5] = 7
    samples[2]['pred_sem_seg']['data'][0, 3:9] = 300
    found, wanted = evaluate_both(samples, iou_metrics=NAMES)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=0.0101)
    assert '2.jpg: label or prediction holds ids' in ''.join(printed)
    metric = build('ExactIoUMetric')
    metric.process({}, samples)
    logged = metric.evaluate(4)
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert 100 * metric.last_scores[name] == pytest.approx(logged[name], abs=0.005)


def test_metric__prints_other_scores_by_class(logger, monkeypatch):
    printed = []
    monkeypatch.setattr(logger, 'log', lambda level, text: printed.append(text))
    metric = build('ExactIoUMetric', iou_metrics=['mDice'])
    metric.process({}, [sample([[0, 0, 1, 1]], [[0, 1, 1, 1]])])
    metric.evaluate(1)
    lines = printed[-1].splitlines()
    assert lines[1].split() == ['class', 'Dice', 'Acc']
    assert lines[2].split() == ['a', '66.67', '50.00']
    assert lines[3].split() == ['b', '80.00', '100.00']


def test_metric__300_classes_are_exact():
    truth = np.arange(300).reshape(1, 300)
    guess = truth.copy()
    guess[0, 299] = 298
    metric = build('ExactIoUMetric', ignore_index=-1)
    metric.dataset_meta = {'classes': tuple(map(str, range(300)))}
    metric.process({}, [sample(truth, guess)])
    # 298 classes are right, one half, one not at all.
    assert metric.evaluate(1)['mIoU'] == round(100 * 298.5 / 300, 2)


@pytest.mark.parametrize('labels', [True, False])
def test_metric__writes_predictions_as_mmsegmentations(tmp_path, labels):
    samples = batch()
    for one in samples:
        one['reduce_zero_label'] = labels
        if not labels:
            del one['gt_sem_seg']
    for kind in ('ExactIoUMetric', 'IoUMetric'):
        folder = str(tmp_path / kind)
        metric = build(kind, output_dir=folder, format_only=not labels)
        metric.process({}, samples)
        assert bool(metric.results) == labels
    ours, theirs = tmp_path / 'ExactIoUMetric', tmp_path / 'IoUMetric'
    names = sorted(path.name for path in theirs.iterdir())
    assert names == [f'{number}.png' for number in range(4)]
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_metric__format_only_scores_nothing(tmp_path):
    metric = build('ExactIoUMetric', output_dir=str(tmp_path), format_only=True)
    metric.process({}, batch(1))
    assert metric.compute_metrics(metric.results) == {}


def test_metric__class_ids_that_a_png_cannot_hold_are_refused(tmp_path):
    metric = build('ExactIoUMetric', output_dir=str(tmp_path), format_only=True)
    with pytest.raises(InputError, match=r'a\.jpg: class id 256 does not fit'):
        metric.process({}, [sample([[0]], [[256]], 'a.jpg')])
    assert not list(tmp_path.iterdir())


def test_metric__wrong_settings_fail_when_built():
    with pytest.raises(ValueError, match=r"iou_metrics must be from .*, got 'mIou'"):
        ExactIoUMetric(iou_metrics=['mIou'])
    with pytest.raises(ValueError, match='format_only=True needs an output_dir'):
        ExactIoUMetric(format_only=True)


def test_metric__unknown_setting_fails_when_built():
    with pytest.raises(TypeError, match='ignore_indx'):
        ExactIoUMetric(ignore_indx=0)
