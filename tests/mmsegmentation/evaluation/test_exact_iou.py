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
    with pytest.raises(InputError, match=r'1\.jpg: label holds class id 7, .* 5 clas'):
        metric.process({}, [sample([[7]], [[0]], '1.jpg')])
    with pytest.raises(InputError, match=r'1\.jpg: sizes differ'):
        metric.process({}, [sample([[0, 0]], [[0]], '1.jpg')])
    metric.process({}, [sample([[255]], [[0]], '1.jpg')])
    with pytest.raises(InputError, match='no labelled pixel to score'):
        metric.evaluate(1)


def test_metric__unknown_setting_fails_when_built():
    with pytest.raises(TypeError, match='ignore_indx'):
        ExactIoUMetric(ignore_indx=0)
