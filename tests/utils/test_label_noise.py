"""The ranking of doubtful labels: what is found, what is not, and how it is scored."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, write_mask
from mmsegmentation.predictions import open_predictions, write_probs
from utils.label_noise import rank_label_noise
from utils.rasterise import paint

pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
NAMES = ('Background', 'Can', 'Bag', 'Cup')
SIDE = 64
BOXES = [(4, 4, 20, 20), (36, 8, 16, 24), (10, 40, 24, 16)]


def canvas(*boxes):
    """Return class ids, (SIDE, SIDE): each box is left, top, width, height, class."""
    label_map = np.zeros((SIDE, SIDE), np.uint8)
    for left, top, width, height, number in boxes:
        label_map[top : top + height, left : left + width] = number
    return label_map


def scene(turn):
    """Return three boxes of the classes 1, 2, 3 in turn."""
    return [(*box, (i + turn) % 3 + 1) for i, box in enumerate(BOXES)]


@pytest.fixture
def world(make_predictions, make_part):
    """Write labels and predictions: right ones, but for what a test changes.

    Labels and predictions of ``changed`` images are lists of boxes, or label maps.
    """

    def make(changed, confidence=230, count=9):
        images = {f'b/{i}.jpg': (scene(i), scene(i)) for i in range(count)}
        images.update(changed)
        maps = {
            image_id: [v if isinstance(v, np.ndarray) else canvas(*v) for v in pair]
            for image_id, pair in images.items()
        }
        pred = make_predictions(
            'pred', {i: p for i, (_, p) in maps.items()}, confidence, NAMES,
            split='valid',
        )  # fmt: skip
        root = make_part('valid', {i: label for i, (label, _) in maps.items()})
        (root / 'dataset.json').write_text(json.dumps({'classes': NAMES}))
        return open_predictions(pred), root / 'valid/mask'

    return make


def told(ranking):
    return [(f.image_id, f.kind, f.given, f.suggested) for f in ranking.findings]


def test_right_labels__give_no_finding(world):
    ranking = rank_label_noise(*world({}))
    assert (ranking.findings, ranking.images, ranking.objects) == ([], [], 27)


def test_each_kind__is_found_and_named(world):
    first, *others = scene(0)
    wrong = [(*first[:4], 2), *others]
    moved = [(first[0] + 10, *first[1:]), *others]
    ranking = rank_label_noise(
        *world(
            {
                'wrong.jpg': (wrong, scene(0)),
                'missing.jpg': (others, scene(0)),
                'superfluous.jpg': (scene(0), others),
                'shifted.jpg': (moved, scene(0)),
            }
        )
    )
    assert set(told(ranking)) == {
        ('wrong.jpg', 'wrong class', 2, 1),
        ('missing.jpg', 'missing', 0, 1),
        ('superfluous.jpg', 'superfluous', 1, 0),
        ('shifted.jpg', 'shifted', 1, 1),
    }
    boxes = {f.image_id: (f.bbox, f.pixels) for f in ranking.findings}
    assert boxes.pop('shifted.jpg') == ((14, 4, 20, 20), 400)
    assert set(boxes.values()) == {((4, 4, 20, 20), 400)}
    scores = [f.score for f in ranking.findings]
    assert scores == sorted(scores, reverse=True)
    assert 0.3 < min(scores) <= max(scores) <= 1
    assert [i.image_id for i in ranking.images] == [i for i, *_ in told(ranking)]


def test_confidence__decides_the_order(world):
    wrong = [(*box[:4], box[4] % 3 + 1) for box in scene(0)]
    sure = {f'b/{i}.jpg': np.full((SIDE, SIDE), 230) for i in range(9)}
    sure |= {'a.jpg': np.full((SIDE, SIDE), 100), 'z.jpg': np.full((SIDE, SIDE), 220)}
    spoilt = {'a.jpg': (wrong, scene(0)), 'z.jpg': (wrong, scene(0))}
    ranking = rank_label_noise(*world(spoilt, sure), min_score=0)
    doubted = [f.image_id for f in ranking.findings if f.score > 0]
    assert doubted == ['z.jpg'] * 3 + ['a.jpg'] * 3


def test_class_that_the_model_does_not_know__is_suspected_less(world):
    # It calls each Cup a Can, and one Bag too.
    def confused(boxes):
        return [(*b[:4], 1 if b[4] == 3 else b[4]) for b in boxes]

    changed = {f'b/{i}.jpg': (scene(i), confused(scene(i))) for i in range(9)}
    changed['bag.jpg'] = ([(*BOXES[0], 2)], [(*BOXES[0], 1)])
    ranking = rank_label_noise(*world(changed), min_score=0)
    assert told(ranking)[0] == ('bag.jpg', 'wrong class', 2, 1)
    cups = [f.score for f in ranking.findings if (f.given, f.suggested) == (3, 1)]
    assert len(cups) == 9
    assert max(cups) < ranking.findings[0].score * 0.6
    # Three Cups are counted as average ones, so that one object proves nothing.
    assert ranking.knowledge.recalled[3] < ranking.knowledge.recalled[2] / 2


def test_small_object__counts_less_than_a_large_one(world):
    small, large = (2, 2, 4, 4), (20, 20, 30, 30)
    label = [(*small, 1), (*large, 1)]
    ranking = rank_label_noise(
        *world({'a.jpg': (label, [(*small, 2), (*large, 2)])}), min_score=0
    )
    first, second = [f for f in ranking.findings if f.image_id == 'a.jpg']
    assert (first.bbox, second.bbox) == (large, small)
    # n / (n + 1 % of the image), as both are equally contradicted.
    assert second.score / first.score == pytest.approx(
        (16 / (16 + 40.96)) / (900 / (900 + 40.96))
    )


def test_ignored_pixels__never_count(world):
    label_map = canvas(*scene(0))
    label_map[label_map == 1] = 255
    assert rank_label_noise(*world({'a.jpg': (label_map, scene(0))})).findings == []


def test_hem_of_an_object__is_no_missing_object(world):
    label, wider = [(20, 20, 20, 20, 1)], [(18, 18, 24, 24, 1)]
    assert rank_label_noise(*world({'a.jpg': (label, wider)})).findings == []


def test_image_score__joins_its_findings(world):
    wrong = [(*box[:4], box[4] % 3 + 1) for box in scene(0)]
    ranking = rank_label_noise(*world({'a.jpg': (wrong, scene(0))}))
    one, two, three = (f.score for f in ranking.findings)
    (image,) = ranking.images
    assert (image.image_id, image.findings) == ('a.jpg', 3)
    assert image.score == pytest.approx(1 - (1 - one) * (1 - two) * (1 - three))


@pytest.fixture
def coco(tmp_path):
    """Write COCO JSON of boxes, with the annotation ids 7, 14, 21 and so on."""

    def make(images, classes=NAMES):
        content = {
            'images': [
                {'id': f'i{n}', 'file_name': i, 'width': SIDE, 'height': SIDE}
                for n, i in enumerate(images)
            ],
            # Other ids than the table's, as in data of one's own.
            'categories': [
                {'id': 50 + n, 'name': name} for n, name in enumerate(classes) if n
            ],
            'annotations': [],
        }
        rows = content['annotations']
        for n, boxes in enumerate(images.values()):
            for left, top, width, height, number in boxes:
                right, low = left + width, top + height
                outline = [left, top, right, top, right, low, left, low]
                rows.append(
                    {
                        'id': 7 * len(rows) + 7,
                        'image_id': f'i{n}',
                        'category_id': 50 + number,
                        'area': width * height,
                        'segmentation': [outline],
                    }
                )
        path = tmp_path / 'raw.json'
        path.write_text(json.dumps(content))
        return path

    return make


def test_json__tells_apart_what_a_mask_joins(world, coco):
    # Two Cans side by side, the right one predicted as a Bag.
    cans = [(10, 10, 15, 20, 1), (25, 10, 15, 20, 1)]
    seen = [(10, 10, 15, 20, 1), (25, 10, 15, 20, 2)]
    predictions, masks = world({'a.jpg': (cans, seen)})
    images = {f'b/{i}.jpg': scene(i) for i in range(9)} | {'a.jpg': cans}
    path = coco(images)
    (joined,) = rank_label_noise(predictions, masks).findings
    (apart,) = rank_label_noise(predictions, masks, annotations=path).findings
    assert joined.bbox == apart.bbox == (25, 10, 15, 20)
    assert (joined.kind, joined.annotation_id) == ('missing', None)
    assert (apart.kind, apart.annotation_id) == ('wrong class', 7 * 29)
    assert apart.score > 1.5 * joined.score


def test_json__only_what_lies_on_top_is_judged(world, coco):
    below, above = (10, 10, 40, 40, 1), (20, 20, 30, 30, 2)
    boxes = [below, above]
    predictions, masks = world({'a.jpg': (boxes, [(*below[:4], 3), above])})
    images = {f'b/{i}.jpg': scene(i) for i in range(9)} | {'a.jpg': boxes}
    (finding,) = rank_label_noise(predictions, masks, annotations=coco(images)).findings
    assert (finding.pixels, finding.annotation_id) == (1600 - 900, 7 * 28)


def test_json__hundreds_of_objects_in_one_image_keep_their_ids(world, coco):
    boxes = [(3 * (i % 20), 3 * (i // 20), 2, 2, 1) for i in range(300)]
    predictions, masks = world({'a.jpg': (boxes, boxes)}, count=0)
    ranking = rank_label_noise(
        predictions, masks, annotations=coco({'a.jpg': boxes}), min_score=0
    )
    assert ranking.objects == 300
    found = {f.annotation_id: f.bbox for f in ranking.findings}
    assert found == {7 * n + 7: box[:4] for n, box in enumerate(boxes)}


def test_probabilities__are_used_where_they_were_kept(world):
    wrong = [(*BOXES[0], 1)]
    predictions, masks = world({'a.jpg': (wrong, [(*BOXES[0], 2)])}, 140)
    before = rank_label_noise(predictions, masks, min_score=0).findings[0].score

    def keep(can):
        probs = np.zeros((4, 16, 16), np.uint8)
        probs[2], probs[1] = 140, can
        write_probs(predictions.folder, 'a.jpg', probs)
        return rank_label_noise(predictions, masks, min_score=0).findings[0]

    # The given class is nearly as probable as the winner: a lesser contradiction.
    assert keep(can=110).score < before / 2
    assert keep(can=0).score == pytest.approx(before, rel=0.02)


def test_model__is_measured_by_the_same_labels(world, coco):
    boxes = [(*BOXES[0], 1)]
    predictions, masks = world({'a.jpg': (boxes, [(*BOXES[0], 2)])}, count=0)
    ranking = rank_label_noise(predictions, masks)
    # The background is all right, one class never found, another never there.
    assert (ranking.miou, ranking.outlined) == (pytest.approx(1 / 3), False)
    assert rank_label_noise(
        predictions, masks, annotations=coco({'a.jpg': boxes})
    ).outlined


def test_masks__may_be_given_one_by_one(world):
    predictions, masks = world({'a.jpg': ([(*BOXES[0], 1)], [(*BOXES[0], 2)])})
    paths = {i: masks / mask_name(i) for i in predictions.image_ids}
    assert told(rank_label_noise(predictions, paths)) == told(
        rank_label_noise(predictions, masks)
    )


SCRIPT = Path(__file__).with_name('noise_experiment.py')


@pytest.fixture(scope='module')
def experiment():
    spec = importlib.util.spec_from_file_location('noise_experiment', SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    from utils.draw_data import draw_data

    folder = tmp_path_factory.mktemp('drawn')
    return draw_data(folder, {'train': 40, 'val': 2, 'test': 2}, size=128)['train']


def blurred(label_map, rng):
    """Return a prediction of a model that errs: along outlines, and in some objects."""
    import cv2

    noisy = np.pad(label_map, 2, mode='edge')
    down, right = rng.integers(0, 5, 2)
    moved = noisy[down : down + len(label_map), right : right + len(label_map)]
    predicted = moved.copy()
    sure = rng.integers(150, 250, label_map.shape).astype(np.uint8)
    for number in np.unique(moved[moved > 0]).tolist():
        count, parts = cv2.connectedComponents((moved == number).view(np.uint8))
        for part in range(1, count):
            if rng.random() < 0.15:
                predicted[parts == part] = rng.integers(0, len(CLASSES))
                sure[parts == part] = rng.integers(60, 150)
    return predicted, sure


@pytest.mark.parametrize('kind', ['relabelled', 'shifted', 'missing'])
def test_drawn_data__most_spoilt_objects_are_in_the_first_5_percent(
    experiment, drawn, make_predictions, tmp_path, kind
):
    content, truth = experiment.spoil(drawn, kind, 0.05, seed=1)
    labels = {row['id']: row['id'] for row in drawn['categories']}
    rng = np.random.default_rng(0)
    maps, sure = {}, {}
    for row in drawn['images']:
        true, spoilt = (
            paint(
                [a for a in c['annotations'] if a['image_id'] == row['id']],
                row['height'], row['width'], labels,
            )
            for c in (drawn, content)
        )  # fmt: skip
        write_mask(tmp_path / 'data/valid/mask' / mask_name(row['file_name']), spoilt)
        maps[row['file_name']], sure[row['file_name']] = blurred(true, rng)
    make_predictions('pred', maps, sure)
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw/val.json').write_text(json.dumps(content))
    (tmp_path / 'spoilt_val.json').write_text(json.dumps(truth))
    judged = experiment.judge(tmp_path, 0.05)
    assert judged['spoilt'] == judged['first'] > 10
    assert judged['share'] >= 0.6


def test_spoil__changes_the_chosen_objects_alone(experiment, drawn):
    rows = {row['id']: row for row in drawn['annotations']}
    for kind in experiment.KINDS:
        content, truth = experiment.spoil(drawn, kind, 0.1, seed=0)
        kept = {row['id']: row for row in content['annotations']}
        changed = {i for i, row in rows.items() if kept.get(i) != row}
        assert changed == {row['id'] for row in truth}
        assert len(truth) == round(0.1 * len(rows))
        assert all(rows[row['id']] == row for row in truth)
