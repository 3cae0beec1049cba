"""Where the wrong pixels of one image lie: at borders, in objects, and of which kind.

All counts are integers over one image, so that they add up over a set of images.
"""

from dataclasses import dataclass

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX

# Borders further away than this are all counted together.
FARTHEST = 64
# Least area in pixels; the upper three limits are COCO's 32 and 96 squared.
SIZES = (('tiny', 0), ('small', 16**2), ('medium', 32**2), ('large', 96**2))
OUTCOMES = ('found', 'taken for background', 'taken for another class')
KINDS = ('missed', 'invented', 'confused')


def border_distance(label_map: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the nearest border between two true classes.

    A border pixel has another class above, below, left or right of it; its distance is
    0. An edge of the image, or of an ignored region, is no border.

    Args:
        label_map: True class ids, (H, W) uint8, 255 is ignored.

    Returns:
        Euclidean distance in pixels, (H, W) float32; inf where there is no border.

    >>> border_distance(np.array([[0, 0, 0, 1, 1]], dtype=np.uint8))
    array([[2., 1., 0., 0., 1.]], dtype=float32)
    """
    import cv2

    border = np.zeros(label_map.shape, bool)
    known = label_map != IGNORE_INDEX
    for one, two in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        differs = (label_map[one] != label_map[two]) & known[one] & known[two]
        border[one] |= differs
        border[two] |= differs
    if not border.any():
        return np.full(label_map.shape, np.inf, np.float32)
    inside = (~border).astype(np.uint8)
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def count_by_distance(distance: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Count the ``counted`` pixels by whole pixels of distance.

    Args:
        distance: In pixels, (H, W), as from ``border_distance``.
        counted: Which pixels count, (H, W) bool.

    Returns:
        (FARTHEST + 1,) int64: entry k counts k <= distance < k + 1, the last all
        that is further.
    """
    near = np.minimum(distance[counted], FARTHEST).astype(np.uint8)
    return np.bincount(near, minlength=FARTHEST + 1)


@dataclass(frozen=True)
class Objects:
    """The objects of one true mask: connected regions of one class, not class 0.

    Regions touch by edge or corner. One object that lies in two pieces under another
    counts twice: a mask does not know better.

    Attributes:
        number: Object number of each pixel from 1, (H, W) int32; 0 is no object.
        classes: Class id of each object, (objects,).
        areas: Pixels of each object, (objects,).
        boxes: Left, top, width, height in pixels, (objects, 4).
    """

    number: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


def find_objects(label_map: np.ndarray) -> Objects:
    """Return the objects of true class ids, (H, W) uint8, 255 is ignored."""
    import cv2

    number = np.zeros(label_map.shape, np.int32)
    classes: list[int] = []
    rows = [np.zeros((0, 5), np.int32)]
    held = np.bincount(label_map.ravel())
    for class_id in np.flatnonzero(held).tolist():
        if class_id in (0, IGNORE_INDEX):
            continue
        region = (label_map == class_id).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(region)
        inside = pieces > 0
        number[inside] = pieces[inside] + len(classes)
        classes += [class_id] * (count - 1)
        rows.append(stats[1:])
    found = np.concatenate(rows)
    return Objects(number, np.array(classes, np.int64), found[:, 4], found[:, :4])


def judge_objects(objects: Objects, pred_seg_map: np.ndarray) -> np.ndarray:
    """Count, by object, the pixels predicted right and those predicted as class 0.

    Args:
        pred_seg_map: Predicted class ids, (H, W) uint8.

    Returns:
        (objects, 2) int64.
    """
    count = len(objects.classes)
    inside = objects.number > 0
    number, predicted = objects.number[inside] - 1, pred_seg_map[inside]
    right = predicted == objects.classes[number] if count else predicted > 0
    return np.stack(
        [
            np.bincount(number[chosen], minlength=count)
            for chosen in (right, predicted == 0)
        ],
        axis=1,
    )


def outcome_of(areas: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Return an index into ``OUTCOMES`` for each object.

    Found: at least half of its pixels have its class. Otherwise what more of its pixels
    were taken for; background where both are alike.

    Args:
        areas: Pixels of each object, (objects,).
        judged: From ``judge_objects``, (objects, 2).

    >>> outcome_of(np.array([4, 4, 4]), np.array([[2, 2], [1, 2], [1, 1]]))
    array([0, 1, 2])
    """
    right, background = judged[:, 0], judged[:, 1]
    lost = np.where(2 * background >= areas - right, 1, 2)
    return np.where(2 * right >= areas, 0, lost)


def size_of(areas: np.ndarray) -> np.ndarray:
    """Return an index into ``SIZES`` for each area in pixels.

    >>> size_of(np.array([1, 255, 256, 1024, 99999]))
    array([0, 0, 1, 2, 3])
    """
    limits = [least for _, least in SIZES]
    return np.searchsorted(limits, areas, side='right') - 1


def kinds_of(confusion: np.ndarray) -> np.ndarray:
    """Count wrong pixels by ``KINDS``: object as background, the reverse, and between.

    Args:
        confusion: Counts, (classes, classes), true classes in rows, class 0 first.

    >>> kinds_of(np.array([[9, 1, 2], [3, 9, 4], [0, 5, 9]]))
    array([3, 3, 9])
    """
    missed, invented = confusion[1:, 0].sum(), confusion[0, 1:].sum()
    wrong = confusion.sum() - np.trace(confusion)
    return np.array([missed, invented, wrong - missed - invented])
