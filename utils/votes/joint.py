"""How often the members said what of which true class: all that a vote needs of labels.

An image is kept as its distinct rows of (true class, class of each member) and their
counts. On these rows any vote by class ids is tried out in no time. A vote that looks
at confidence or probabilities is tried out image by image, as a confusion matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmsegmentation.classes import IGNORE_INDEX
from mmsegmentation.command import InputError
from mmsegmentation.parts import read_truth
from mmsegmentation.scores import confusion_matrix
from utils.votes.ballot import Inputs, decide, read_inputs
from utils.votes.choice import Choice
from utils.votes.members import Member


class Candidate(NamedTuple):
    """A vote that is tried out image by image.

    Attributes:
        chosen: The members that vote, by their place among all.
        choice: How they vote.
    """

    chosen: tuple[int, ...]
    choice: Choice


class Counted(NamedTuple):
    """What is known of an image.

    Attributes:
        rows: True class and class of each member, (rows, 1 + members) uint8.
        pixels: How many pixels have them, (rows,) int64.
        confusions: Of each candidate, (candidates, classes, classes) int64.
    """

    rows: np.ndarray
    pixels: np.ndarray
    confusions: np.ndarray


@dataclass(frozen=True)
class Counter:
    """What images are counted with; light, so that it travels to other processes.

    Attributes:
        members: All of them.
        candidates: The votes to try out image by image.
    """

    members: tuple[Member, ...]
    candidates: tuple[Candidate, ...]

    def count(self, image_id: str, path: Path) -> Counted:
        """Return what is known of an image.

        Args:
            path: Its true mask.

        Raises:
            InputError: A file is missing or damaged, sizes differ, or the mask has an
                id outside the class table.
        """
        needs = {candidate.choice.needs for candidate in self.candidates}
        inputs = read_inputs(
            self.members,
            image_id,
            confidence='confidence' in needs,
            probs='probs' in needs,
        )
        size = len(self.members[0].classes)
        truth = read_truth(path, size)
        _check_sizes(path, truth, inputs)
        rows, pixels = joint_counts(truth, inputs.label_maps)
        confusions = [
            confusion_matrix(truth, self._vote(one, inputs, image_id), size)
            for one in self.candidates
        ]
        matrices = np.array(confusions, np.int64).reshape(-1, size, size)
        return Counted(rows, pixels, matrices)

    def _vote(self, candidate: Candidate, inputs: Inputs, image_id: str) -> np.ndarray:
        def chosen(maps: list[np.ndarray]) -> list[np.ndarray]:
            return [maps[i] for i in candidate.chosen]

        label_maps, sure, probs = inputs
        own = Inputs(chosen(label_maps), sure and chosen(sure), probs and chosen(probs))
        return decide(candidate.choice.rule, own, image_id).label_map


def _check_sizes(path: Path, truth: np.ndarray, inputs: Inputs) -> None:
    for label_map in inputs.label_maps:
        if label_map.shape != truth.shape:
            raise InputError(
                path,
                f'has size {truth.shape}, a prediction of it {label_map.shape}',
                'predict at the size of the photograph',
            )


def joint_counts(
    truth: np.ndarray, label_maps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows of (true class, classes of the members), and counts.

    Args:
        truth: Class ids, (H, W) uint8; 255 is left out.
        label_maps: Class ids, (H, W) uint8 each.

    >>> truth = np.array([[0, 0, 1, 255]], dtype=np.uint8)
    >>> rows, pixels = joint_counts(truth, [truth, np.zeros_like(truth)])
    >>> rows.tolist(), pixels.tolist()
    ([[0, 0, 0], [1, 1, 0]], [2, 1])
    """
    known = truth.reshape(-1) != IGNORE_INDEX
    columns = np.stack([m.reshape(-1)[known] for m in (truth, *label_maps)])
    # Neighbours are mostly alike: what is sorted is one row of each run.
    new = (columns[:, 1:] != columns[:, :-1]).any(axis=0)
    starts = np.concatenate([np.arange(min(1, known.sum())), 1 + np.flatnonzero(new)])
    lengths = np.diff(starts, append=columns.shape[1])
    rows = columns[:, starts].T
    first, group = distinct(rows)
    pixels = np.bincount(group, weights=lengths, minlength=len(first))
    return np.ascontiguousarray(rows[first]), pixels.astype(np.int64)


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each distinct row stands first, and which of them each row is.

    Args:
        rows: (rows, columns) uint8.
    """
    group = np.zeros(len(rows), np.int64)
    for start in range(0, rows.shape[1], 4):
        for column in rows.T[start : start + 4]:
            group = group << 8 | column
        # Back below 2 ** 31, so that four more columns fit.
        group = np.unique(group, return_inverse=True)[1].reshape(-1)
    return np.unique(group, return_index=True)[1], group
