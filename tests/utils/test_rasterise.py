"""COCO annotations to label maps: what lies on top, and odd outlines."""

from collections import defaultdict
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from mmsegmentation.files import read_json
from utils.rasterise import cut, paint, to_rle
from utils.run_lengths import count_ids, paint_runs

# pycocotools' own arrays do not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SHARED = Path(__file__).resolve().parents[2] / '../shared/data'
SIZE = 8
LABELS = {number: number for number in range(11)}


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def thing(category: int, *polygons: list[float], **fields: object) -> dict:
    return {'category_id': category, 'segmentation': list(polygons), **fields}


def painted(*annotations: dict, order: str = 'area') -> np.ndarray:
    return paint(annotations, SIZE, SIZE, LABELS, order)


def expected(*boxes: tuple[int, slice]) -> np.ndarray:
    label_map = np.zeros((SIZE, SIZE), np.uint8)
    for category, rows in boxes:
        label_map[rows, rows] = category
    return label_map


SMALL = square(2, 2, 4, 4)
LARGE = square(0, 0, 6, 6)
SMALL_ON_TOP = expected((2, slice(0, 6)), (1, slice(2, 4)))


def test_paint__nothing_is_background():
    assert painted().shape == (SIZE, SIZE)
    assert painted().dtype == np.uint8
    assert not painted().any()


@pytest.mark.parametrize('reverse', [False, True])
def test_paint__small_area_lies_on_top_whatever_the_order_of_the_file(reverse):
    annotations = [thing(1, SMALL, area=4), thing(2, LARGE, area=36)]
    if reverse:
        annotations.reverse()
    np.testing.assert_array_equal(painted(*annotations), SMALL_ON_TOP)


def test_paint__order_is_that_of_the_area_field_and_not_of_the_pixels():
    label_map = painted(thing(1, SMALL, area=50), thing(2, LARGE, area=36))
    np.testing.assert_array_equal(label_map, expected((2, slice(0, 6))))


def test_paint__equal_areas_keep_the_order_of_the_file():
    first, second = thing(1, LARGE, area=9), thing(2, LARGE, area=9)
    assert painted(first, second).max() == 2
    assert painted(second, first).max() == 1


@pytest.mark.parametrize('reverse', [False, True])
def test_paint__missing_area_is_counted(reverse):
    annotations = [thing(1, SMALL), thing(2, LARGE)]
    if reverse:
        annotations.reverse()
    np.testing.assert_array_equal(painted(*annotations), SMALL_ON_TOP)


def test_paint__order_by_points_lays_most_points_on_top():
    detailed = [0, 0, 3, 0, 6, 0, 6, 6, 0, 6]
    annotations = [thing(2, detailed, area=36), thing(1, SMALL, area=4)]
    np.testing.assert_array_equal(
        painted(*annotations, order='points'), expected((2, slice(0, 6)))
    )
    np.testing.assert_array_equal(painted(*annotations), SMALL_ON_TOP)


def test_paint__category_ids_go_through_the_labels():
    label_map = paint([thing(70, SMALL, area=4)], SIZE, SIZE, {70: 3})
    np.testing.assert_array_equal(label_map, expected((3, slice(2, 4))))


def test_paint__an_object_of_several_polygons_is_painted_whole():
    label_map = painted(thing(1, square(0, 0, 2, 2), square(4, 4, 6, 6), area=8))
    np.testing.assert_array_equal(
        label_map, expected((1, slice(0, 2)), (1, slice(4, 6)))
    )


def test_paint__polygon_of_two_points_is_left_out_and_the_rest_painted():
    # pycocotools alone would read four numbers as a box.
    label_map = painted(thing(1, [0, 0, 7, 7], SMALL, area=4))
    np.testing.assert_array_equal(label_map, expected((1, slice(2, 4))))
    assert to_rle([[0, 0, 7, 7]], SIZE, SIZE) is None


def test_paint__outline_that_leaves_the_image_is_cut_and_not_bent():
    label_map = painted(thing(1, square(4, 4, 40, 40), area=16))
    np.testing.assert_array_equal(label_map, expected((1, slice(4, 8))))
    # With its corners moved to the border, IoU with the right mask was 0.36.
    triangle = thing(1, [-40, 20, 60, -30, 140, 90], area=1)
    np.testing.assert_array_equal(
        paint([triangle], 100, 100, LABELS), official([triangle], 100, 100)
    )


@pytest.mark.parametrize('far', [1e5, 1e9, 1e299, 10**200])
def test_paint__huge_coordinates_need_no_memory(far):
    before = getrusage(RUSAGE_SELF).ru_maxrss
    label_map = painted(thing(1, square(-far, -far, far, far), area=1))
    assert (label_map == 1).all()
    # KiB on Linux.
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize('far', [1e5, 1e9])
def test_paint__huge_outlines_keep_their_edges(far):
    # A slope of two through the first pixel, and all to the left of it.
    label_map = painted(thing(1, [-far, -2 * far, far, 2 * far, -far, 2 * far], area=1))
    near = official([thing(1, [-9, -18, 9, 18, -9, 18], area=1)], SIZE, SIZE)
    np.testing.assert_array_equal(label_map, near)
    # Its long side passes the image far away.
    beside = thing(1, [4, -far, far, -far, far, 4], area=1)
    assert not painted(beside).any()


def test_paint__many_far_points_need_no_memory():
    before = getrusage(RUSAGE_SELF).ru_maxrss
    # Each of its teeth is as wide as pycocotools can bear once.
    rows = np.linspace(0, SIZE, 2001)
    comb = np.stack([np.resize([-4e5, 4e5], 2001), rows], axis=1)
    assert painted(thing(1, comb.ravel().tolist(), area=1)).any()
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 100_000


def holds(corners: np.ndarray, x: float, y: float) -> bool:
    """Tell by the even-odd rule whether an outline holds a point."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y):
            crossings += x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return crossings % 2 == 1


@given(
    st.lists(st.tuples(*[st.integers(-30, 50)] * 2), min_size=3, max_size=9),
    st.integers(0, 19),
    st.integers(0, 9),
)
def test_cut__holds_the_same_points_of_the_image_and_ends_at_its_border(points, x, y):
    corners = np.array(points, np.float64)
    left = cut(corners, 10, 20)
    assert (left >= -1).all()
    assert (left <= (21, 11)).all()
    # Off the grid, so that no point lies on an edge.
    inside = x + np.sqrt(0.2), y + np.sqrt(0.3)
    assert holds(left, *inside) == holds(corners, *inside)


@pytest.mark.parametrize('compressed', [False, True])
def test_paint__run_lengths_of_both_kinds(compressed):
    binary = np.asfortranarray(expected((1, slice(2, 4))))
    # Column by column, beginning with the background.
    shape: dict = {'size': [SIZE, SIZE], 'counts': [18, 2, 6, 2, 36]}
    if compressed:
        shape['counts'] = coco.encode(binary)['counts'].decode()
    label_map = painted({'category_id': 5, 'segmentation': shape, 'area': 4})
    np.testing.assert_array_equal(label_map, 5 * binary)


def official(annotations: list[dict], height: int, width: int) -> np.ndarray:
    """Paint as the organisers' notebook does: ``annToMask``, largest area first."""
    label_map = np.zeros((height, width), np.uint8)
    for annotation in sorted(annotations, key=lambda a: a['area'], reverse=True):
        outline = coco.frPyObjects(annotation['segmentation'], height, width)
        inside = coco.decode(coco.merge(outline)) == 1
        label_map[inside] = annotation['category_id']
    return label_map


near = st.tuples(st.floats(0, 40), st.floats(0, 30))
on_grid = st.tuples(*[st.integers(-9, 50)] * 2)
on_border = st.tuples(st.sampled_from([0, 20, 40]), st.sampled_from([0, 15, 30]))
around = st.tuples(*[st.floats(-60, 100)] * 2)
far = st.tuples(*[st.floats(-5000, 5000)] * 2)
corners = st.lists(near | on_grid | on_border | around | far, min_size=3, max_size=12)
objects = st.lists(
    st.tuples(st.lists(corners, min_size=1, max_size=3), st.integers(1, 10)), max_size=5
)


@given(objects)
def test_paint__equals_the_official_loop_on_any_outlines(shapes):
    """Outlines may cross themselves, each other, their own other parts, the border."""
    annotations = [
        {
            'category_id': category,
            'area': float(number * 7 % 3),
            'segmentation': [[v for point in part for v in point] for part in parts],
        }
        for number, (parts, category) in enumerate(shapes)
    ]
    found = paint(annotations, 30, 40, LABELS)
    np.testing.assert_array_equal(found, official(annotations, 30, 40))
    assert found.flags.c_contiguous


@pytest.mark.skipif(not SHARED.is_dir(), reason='real photographs are not here')
@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('recycle_trash_sample/train', 50),
        ('recycle_trash_sample/val', 10),
        ('recycle_real/train_all', 362),
    ],
)
def test_paint__equals_the_official_loop_on_real_sets(name, count):
    content = read_json(SHARED / f'{name}.json')
    by_image = defaultdict(list)
    for annotation in content['annotations']:
        by_image[annotation['image_id']].append(annotation)
    for row in content['images']:
        args = by_image[row['id']], row['height'], row['width']
        found = paint(*args, LABELS)
        np.testing.assert_array_equal(found, official(*args), row['file_name'])
    assert len(content['images']) == count


masks = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 1)
)


@given(masks)
def test_paint_runs__paints_what_pycocotools_encoded(mask):
    counts = coco.encode(np.asfortranarray(mask))['counts']
    canvas = np.full(mask.size, 7, np.uint8)
    paint_runs(np.frombuffer(counts, np.uint8), 9, canvas)
    wanted = np.where(mask == 1, 9, 7).ravel(order='F')
    np.testing.assert_array_equal(canvas, wanted)


@given(st.binary())
def test_paint_runs__any_bytes_stay_on_the_canvas(counts):
    around = np.full(30, 7, np.uint8)
    paint_runs(np.frombuffer(counts, np.uint8), 9, around[10:20])
    assert (around[:10] == 7).all()
    assert (around[20:] == 7).all()
    assert set(around) <= {7, 9}


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2)))
def test_count_ids__equals_bincount(label_map):
    wanted = np.bincount(label_map.ravel(), minlength=256)
    np.testing.assert_array_equal(count_ids(label_map), wanted)
