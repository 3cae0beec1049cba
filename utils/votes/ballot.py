"""The vote on one image: read, decided, written, counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmsegmentation.command import InputError
from mmsegmentation.files import mask_name
from mmsegmentation.predictions import write_prediction
from utils.votes.members import Member
from utils.votes.soft import SoftRule
from utils.voting import Vote, VoteRule, contested, gather_all


class Inputs(NamedTuple):
    """What the members say of an image.

    Attributes:
        label_maps: Class ids, (H, W) uint8 each; of one size, but for a soft vote.
        confidence: 255 x the winner's probability, (H, W) uint8 each, or None.
        probs: 255 x the probability of each class, (classes, h, w) uint8 each, or None.
    """

    label_maps: list[np.ndarray]
    confidence: list[np.ndarray] | None
    probs: list[np.ndarray] | None


class Count(NamedTuple):
    """What is told of a vote, added up over images.

    Attributes:
        pixels: Of the outcome by class, (classes,) int64.
        votes: Of all members by class, (classes,) int64.
        changed: Pixels where the outcome is another class than the member's, (members,)
            int64.
        tied: Pixels where two or more classes shared the largest sum.
    """

    pixels: np.ndarray
    votes: np.ndarray
    changed: np.ndarray
    tied: int

    def plus(self, other: 'Count') -> 'Count':
        """Return what is told of both."""
        return Count(
            self.pixels + other.pixels,
            self.votes + other.votes,
            self.changed + other.changed,
            self.tied + other.tied,
        )


@dataclass(frozen=True)
class Ballot:
    """What an image is voted on with; light, so that it travels to other processes.

    Attributes:
        members: Who votes.
        rule: How.
        confidence: The members' confidence is read, and the outcome's written.
        maps: Maps of ties and of disagreement are written.
        out: The prediction folder to fill.
    """

    members: tuple[Member, ...]
    rule: VoteRule | SoftRule
    confidence: bool
    maps: bool
    out: Path

    def cast(self, image_id: str) -> Count:
        """Write the outcome for an image; return what is told of it.

        Raises:
            InputError: A file is missing or damaged, or sizes differ.
        """
        soft = isinstance(self.rule, SoftRule)
        inputs = read_inputs(
            self.members, image_id, confidence=self.confidence and not soft, probs=soft
        )
        vote = decide(self.rule, inputs, image_id)
        label_maps = bring_to(inputs.label_maps, vote.label_map.shape)
        write_prediction(self.out, image_id, vote.label_map, vote.confidence)
        if self.maps:
            write_maps(self.out / 'maps', image_id, label_maps, vote)
        return count(label_maps, vote, len(self.members[0].classes))


def read_inputs(
    members: Sequence[Member], image_id: str, *, confidence: bool, probs: bool
) -> Inputs:
    """Return what the members say of an image.

    Raises:
        InputError: A file is missing or damaged, or sizes differ that must not.
    """
    label_maps = [member.mask(image_id) for member in members]
    if not probs:
        _check_sizes(image_id, label_maps, members, label_maps[0], members[0])
    sure = None
    if confidence:
        sure = [member.confidence(image_id) for member in members]
        for found, label_map, member in zip(sure, label_maps, members, strict=True):
            _check_sizes(image_id, [found], [member], label_map, member)
    kept = [member.probs(image_id) for member in members] if probs else None
    return Inputs(label_maps, sure, kept)


def _check_sizes(
    image_id: str,
    maps: Sequence[np.ndarray],
    members: Sequence[Member],
    first: np.ndarray,
    one: Member,
) -> None:
    for found, other in zip(maps, members, strict=True):
        if first.shape != found.shape:
            raise InputError(
                repr(image_id),
                f'has size {first.shape} in {one.folder}, {found.shape} in '
                f'{other.folder}',
                'predict both at the size of the photograph',
            )


def decide(rule: VoteRule | SoftRule, inputs: Inputs, image_id: str) -> Vote:
    """Return the outcome, with its confidence where the inputs have some.

    Raises:
        InputError: Probabilities do not fit the label maps.
    """
    if isinstance(rule, SoftRule):
        assert inputs.probs is not None
        sizes = [label_map.shape for label_map in inputs.label_maps]
        try:
            return rule(inputs.probs, sizes)  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(
                f'probs of {image_id!r}', str(error), 'predict it again'
            ) from None
    label_maps, sure = inputs.label_maps, inputs.confidence
    vote = rule(label_maps, sure)
    if sure is None:
        return vote
    confidence = rule.confidence_of(label_maps, sure, vote.label_map)
    return vote._replace(confidence=confidence)


def bring_to(maps: Sequence[np.ndarray], size: tuple[int, ...]) -> list[np.ndarray]:
    """Return label maps in one size, by the nearest pixel."""
    brought = []
    for label_map in maps:
        if label_map.shape != size:
            rows, columns = (
                (2 * np.arange(out) + 1) * length // (2 * out)
                for length, out in zip(label_map.shape, size, strict=True)
            )
            label_map = label_map[rows[:, None], columns]
        brought.append(label_map)
    return brought


def count(label_maps: Sequence[np.ndarray], vote: Vote, num_classes: int) -> Count:
    """Return what is told of the vote on one image."""
    from utils.votes.kernel import count_changed, count_classes

    outcome = vote.label_map.reshape(-1)
    words, few = vote.contested or contested(
        [outcome, *(label_map.reshape(-1) for label_map in label_maps)], num_classes
    )
    votes = few[-len(label_maps) :]
    own = gather_all([outcome], words)[0]
    changed = np.array([count_changed(row, own) for row in votes], np.int64)
    pixels, gone, come = np.zeros((3, num_classes), np.int64)
    count_classes(outcome, pixels)
    count_classes(own, gone)
    count_classes(votes.reshape(-1), come)
    # Elsewhere all models have the class of the outcome.
    voted = len(label_maps) * (pixels - gone) + come
    return Count(pixels, voted, changed, int(np.count_nonzero(vote.tied)))


def write_maps(
    folder: Path, image_id: str, label_maps: Sequence[np.ndarray], vote: Vote
) -> None:
    """Write grey PNGs: where classes tied, and how many members the outcome overruled.

    ``ties`` is 255 where two or more classes shared the largest sum, and 0 elsewhere;
    ``disagreement`` is 255 x the share of members that chose another class.
    """
    from PIL import Image

    others = np.mean([label_map != vote.label_map for label_map in label_maps], axis=0)
    grey = {
        'ties': vote.tied * np.uint8(255),
        'disagreement': np.rint(255 * others).astype(np.uint8),
    }
    for name, values in grey.items():
        path = folder / name / mask_name(image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path, compress_level=1)
