"""Rank labels by how surely, and how credibly, the predictions contradict them.

After confident learning (Northcutt et al., 2021, https://arxiv.org/abs/1911.00068),
with objects in the place of samples: what counts as sure is learnt per class from the
data itself, so that a class that the model does not know is not suspected throughout.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mmsegmentation.scores import mean_iou
from utils.noise.kinds import MISSING, SHIFTED, SUPERFLUOUS, WRONG_CLASS
from utils.noise.objects import Evidence, LabelledObject, Region, Shape

# Chosen on drawn data with spoilt labels, where half or twice as much does little.
# An object of HALF_AREA of the image counts half of a large one: small ones are
# mistaken by the model more often than by people.
HALF_AREA = 0.01
# So does a region over another object's label: more often that is in part misread.
OVER_OBJECT = 0.5
# A class that is never recognised has no usual confidence: this is used in its place.
LEAST_RECALLED = 0.05
# Each class is credited with so many objects of average support.
PRIOR = 3
# Above this share of agreeing pixels the object is there, but lies elsewhere.
PARTLY = 0.2


@dataclass(frozen=True)
class Finding:
    """One label that may be wrong.

    Attributes:
        image_id: The image.
        size: Its height and width, in pixels.
        kind: ``wrong class``, ``missing``, ``superfluous`` or ``shifted``.
        given: Class id of the label; of a missing object, of what is labelled in its
            place: mostly 0, the background.
        suggested: Class id of the prediction; 0 where the object is superfluous, the
            given one where it is shifted.
        score: How surely the predictions contradict, in [0, 1]; no probability.
        shape: The object, or the region where one is missing.
        annotation_id: The object's id in the COCO JSON, if it is one of those.
    """

    image_id: str
    size: tuple[int, int]
    kind: str
    given: int
    suggested: int
    score: float
    shape: Shape
    annotation_id: int | str | None = None

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, in pixels."""
        return self.shape.bbox

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.shape.pixels


@dataclass(frozen=True)
class ImageFinding:
    """One image and what is suspected in it.

    Attributes:
        image_id: The image.
        score: 1 minus the product of 1 minus each of its findings' scores.
        findings: How many it has.
    """

    image_id: str
    score: float
    findings: int


@dataclass(frozen=True)
class Knowledge:
    """What a model knows of each class, by the labels that it is held against.

    Attributes:
        recalled: Mean support of a class by its own labels: the threshold of confident
            learning, (classes,) in [0, 1].
        trusted: The share of the confidence spent on a class that meets its label,
            (classes,) in [0, 1].
    """

    recalled: np.ndarray
    trusted: np.ndarray


@dataclass(frozen=True)
class Ranking:
    """Labels to look at, the most doubtful first.

    Attributes:
        findings: Objects.
        images: Images, those with a finding.
        classes: Class names, in the order of their ids.
        objects: How many labelled objects were judged.
        outlined: Whether these are the objects of a COCO JSON, not connected regions.
        miou: Mean IoU of the predictions over the classes that occur, by the same
            labels, in [0, 1]: of the pooled confusion matrix.
        knowledge: What the scores are measured by.
        origin: Where the predictions come from.
    """

    findings: list[Finding]
    images: list[ImageFinding]
    classes: tuple[str, ...]
    objects: int
    outlined: bool
    miou: float
    knowledge: Knowledge
    origin: dict[str, Any]


def learn(evidence: Sequence[Evidence], num_classes: int) -> Knowledge:
    """Return what the model knows of each class."""
    total = np.zeros(num_classes)
    count = np.zeros(num_classes)
    for labelled in (o for e in evidence for o in e.objects):
        total[labelled.given] += labelled.support[labelled.given]
        count[labelled.given] += 1
    mean = total.sum() / max(count.sum(), 1)
    recalled = (total + PRIOR * mean) / (count + PRIOR)
    confidence = np.sum([e.confidence for e in evidence], axis=0)
    pixels = np.sum([e.counts for e in evidence], axis=0).sum(1)
    # The background has no objects: it is judged by its pixels.
    recalled[0] = confidence[0, 0] / max(pixels[0], 1)
    spent = confidence.sum(0)
    trusted = np.divide(
        confidence.diagonal(), spent, out=np.zeros(num_classes), where=spent > 0
    )
    return Knowledge(recalled, trusted)


def rank(
    evidence: Sequence[Evidence],
    classes: Sequence[str],
    origin: dict[str, Any],
    min_score: float,
    outlined: bool = False,
) -> Ranking:
    """Return what is doubtful in all images, from ``min_score`` on.

    Args:
        outlined: Whether the labelled objects are those of a COCO JSON.
    """
    knowledge = learn(evidence, len(classes))
    findings = [f for e in evidence for f in doubt(e, knowledge)]
    findings = [f for f in findings if f.score >= min_score]
    # Equal scores in the order of the images, and of the objects within.
    findings.sort(key=lambda f: -f.score)
    by_image = defaultdict(list)
    for finding in findings:
        by_image[finding.image_id].append(finding.score)
    images = [
        ImageFinding(image_id, 1 - math.prod(1 - s for s in scores), len(scores))
        for image_id, scores in by_image.items()
    ]
    images.sort(key=lambda i: -i.score)
    objects = sum(len(e.objects) for e in evidence)
    miou = float(mean_iou(np.sum([e.counts for e in evidence], axis=0)))
    return Ranking(
        findings, images, tuple(classes), objects, outlined, miou, knowledge, origin
    )


def doubt(evidence: Evidence, knowledge: Knowledge) -> list[Finding]:
    """Return a finding for each labelled object of an image and each missing one."""
    area = evidence.size[0] * evidence.size[1]
    finding = partial(Finding, evidence.image_id, evidence.size)
    opposed = [_doubt_object(o, knowledge, area) for o in evidence.objects]
    beside: dict[int, float] = defaultdict(float)
    found = []
    for region in evidence.regions:
        score = _doubt_region(region, knowledge, area)
        place = region.beside
        if place is not None and _may_be_shifted(
            evidence.objects[place], opposed[place][0]
        ):
            # What an object lacks beside it speaks against its outline.
            beside[place] = _either(beside[place], score)
        else:
            given, suggested = region.given, region.predicted
            found.append(finding(MISSING, given, suggested, score, region.shape))
    for place, (labelled, (suggested, score)) in enumerate(
        zip(evidence.objects, opposed, strict=True)
    ):
        given, number = labelled.given, labelled.annotation_id
        kind = WRONG_CLASS if suggested else SUPERFLUOUS
        if beside[place] > score or (suggested == 0 and labelled.agreed > PARTLY):
            kind, suggested = SHIFTED, given
        score = _either(score, beside[place])
        found.append(finding(kind, given, suggested, score, labelled.shape, number))
    return found


def _may_be_shifted(labelled: LabelledObject, suggested: int) -> bool:
    """Return whether an object is predicted in part, or as background: not renamed."""
    return suggested == 0 or labelled.agreed > PARTLY


def _doubt_object(
    labelled: LabelledObject, knowledge: Knowledge, area: int
) -> tuple[int, float]:
    """Return the class that speaks loudest against an object's own, and how loud."""
    own = labelled.support[labelled.given]
    against = _doubt(labelled.given, slice(None), labelled.support, own, knowledge)
    against[labelled.given] = -1
    suggested = int(against.argmax())
    return suggested, float(against[suggested] * _large(labelled.shape, area))


def _doubt_region(region: Region, knowledge: Knowledge, area: int) -> float:
    score = _doubt(region.given, region.predicted, region.support, 0.0, knowledge)
    over = OVER_OBJECT if region.given else 1.0
    return float(score * over * _large(region.shape, area))


def _doubt(
    given: int,
    suggested: int | slice,
    support: float | np.ndarray,
    own: float,
    knowledge: Knowledge,
) -> np.ndarray:
    """Return how credibly classes are said in the place of ``given``, in [0, 1].

    Args:
        support: Confidence in the suggested classes.
        own: Confidence in ``given``.
    """
    usual = np.maximum(knowledge.recalled, LEAST_RECALLED)
    margin = np.minimum(support / usual[suggested], 1) - min(own / usual[given], 1)
    credit = knowledge.trusted[suggested] * knowledge.recalled[given]
    return np.maximum(margin, 0) * np.sqrt(credit)


def _large(shape: Shape, area: int) -> float:
    return shape.pixels / (shape.pixels + HALF_AREA * area)


def _either(one: float, other: float) -> float:
    return 1 - (1 - one) * (1 - other)
