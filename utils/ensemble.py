"""Let the prediction folders of several models vote on the class of each pixel.

    python utils/ensemble.py PRED PRED... --metrics M M... --out PRED

hard      each model has one vote
soft      each model's vote weighs its confidence in that pixel; probs/ is not read
weighted  each model's vote weighs its accuracy for the class that it votes for

A tie goes to the class with the highest accuracy, as in the metrics.json of the models
that voted for it, then to the earliest model. The confidence that is written is the
mean confidence of the models that voted for the outcome, times their share of all.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmsegmentation.command import InputError, Parser, progress, run_command
from mmsegmentation.files import (
    read_json,
    refuse_existing,
    sha256_of,
    whole_folder,
)
from mmsegmentation.parts import find_masks, named_parts
from mmsegmentation.predictions import (
    MARKER,
    Predictions,
    finish_predictions,
    open_predictions,
    score_predictions,
    write_prediction,
)
from mmsegmentation.scores import score_table
from utils.voting import (
    Vote,
    agreed_confidence,
    hard_vote,
    soft_vote,
    tabulate,
    weighted_vote,
)

METHODS = ('hard', 'soft', 'weighted')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog='utils/ensemble.py', description='Vote of several models on each pixel.'
    )
    add = parser.add_argument
    add('preds', type=Path, nargs='+', metavar='PRED', help='prediction folders')
    add('--out', type=Path, required=True, metavar='PRED', help='new folder')
    add(
        '--metrics',
        type=Path,
        nargs='+',
        metavar='M',
        help="metrics.json of each model, in order; each PRED's own if not given",
    )
    add('--method', choices=METHODS, default='hard', help='what a vote weighs')
    add('--data-root', type=Path, metavar='ROOT', help='score against its masks')
    part = 'part of --data-root that was predicted; what PRED says if not given'
    add('--split', help=part)
    add('--overwrite', action='store_true', help='replace --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    refuse_existing(args.out, args.overwrite)
    members = open_members(args.preds, args.out)
    accuracy = read_accuracies(members, args.metrics)
    if accuracy is None and args.method == 'weighted':
        raise InputError(
            '--method weighted', 'needs the accuracy of each class', 'pass --metrics'
        )
    masks = None
    if args.data_root:
        parts = named_parts(members[0].origin, args.split)
        masks = find_masks(args.data_root, members[0].image_ids, parts)
    print(_explain(len(members), args.method, accuracy is not None))
    ensemble = Ensemble(members, accuracy, args.method)
    with whole_folder(args.out, marker=MARKER, overwrite=args.overwrite) as folder:
        tied, pixels = ensemble.write(folder)
        scores = score_predictions(folder, masks) if masks else None
    print(f'{tied:,} of {pixels:,} pixels were tied ({tied / max(pixels, 1):.2%})')
    if scores is not None:
        print(score_table(scores))
    print(f'{len(members[0].image_ids)} images written to {args.out}')
    return 0


def _explain(models: int, method: str, known: bool) -> str:
    text = f'{method} vote of {models} models, '
    if method == 'soft':
        text += "weighed by each one's confidence in its own class, "
    if not known:
        text += 'ties to the earliest model: there is no metrics.json'
    else:
        text += 'ties to the class with the highest accuracy'
    if models == 2 and method == 'hard':
        text += (
            '\nWith two models every disagreement is a tie: this vote is a switch by '
            + ('the accuracy of each class' if known else 'the order of the models')
        )
    return text


def open_members(folders: Sequence[Path], out: Path) -> list[Predictions]:
    """Open the members of a vote, which must hold the same images and classes.

    Raises:
        InputError: There are fewer than two, one comes twice or would be replaced, or
            classes or images differ.
    """
    places = [folder.resolve() for folder in folders]
    if len(places) < 2:
        raise InputError('PRED', 'one folder is no vote', 'name two or more')
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise InputError(folder, 'is named twice', 'name each folder once')
        if out.resolve() in (place, *place.parents):
            raise InputError(out, f'would replace {folder}', 'choose another --out')
    members = [open_predictions(folder) for folder in folders]
    for member in members[1:]:
        _check_alike(members[0], member)
    return members


def _check_alike(first: Predictions, other: Predictions) -> None:
    if first.classes != other.classes:
        raise InputError(
            other.folder,
            f'its classes differ from those of {first.folder}',
            'predict all with one class table',
        )
    for one, two in ((first, other), (other, first)):
        if left := sorted(set(one.image_ids) - set(two.image_ids)):
            raise InputError(
                repr(left[0]),
                f'is in {one.folder} but not in {two.folder}',
                'predict the same images with each model',
            )


def read_accuracies(
    members: Sequence[Predictions], files: Sequence[Path] | None
) -> np.ndarray | None:
    """Return recall by member and class, nan where unknown; None if there is none.

    Args:
        files: A ``metrics.json`` for each member, in order; without them, the
            members' own.

    Raises:
        InputError: A file is missing, damaged, or of another class table.
    """
    if files is None:
        files = [member.folder / 'metrics.json' for member in members]
        there = [path.is_file() for path in files]
        if not any(there):
            return None
        if not all(there):
            raise InputError(
                files[there.index(False)],
                'no such file, while other members have theirs',
                'pass --metrics for all',
            )
    if len(files) != len(members):
        raise InputError(
            '--metrics', f'{len(files)} for {len(members)} folders', 'give one for each'
        )
    return np.stack([_read_accuracy(path, members[0].classes) for path in files])


def _read_accuracy(path: Path, classes: Sequence[str]) -> np.ndarray:
    content = read_json(path)
    try:
        names, values = tuple(content['classes']), content['Acc']
        accuracy = np.array([np.nan if v is None else float(v) for v in values])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, f'has no accuracy by class ({error!r})', 'score the model again'
        ) from None
    if names != tuple(classes) or len(accuracy) != len(names):
        raise InputError(
            path, 'its classes are not those of the predictions', 'name another file'
        )
    if (accuracy < 0).any() or (accuracy > 1).any():
        raise InputError(path, 'has an accuracy outside [0, 1]', 'score it again')
    return accuracy


@dataclass(frozen=True)
class Ensemble:
    """Members of a vote and its rule.

    Attributes:
        members: Prediction folders of the same images and classes.
        accuracy: Recall by member and class, nan where unknown, or None.
        method: One of ``METHODS``.
    """

    members: Sequence[Predictions]
    accuracy: np.ndarray | None
    method: str

    def write(self, folder: Path) -> tuple[int, int]:
        """Fill ``folder`` with the outcome; return how many pixels were tied, of all.

        Raises:
            InputError: A file is missing or damaged, or sizes differ.
        """
        first = self.members[0]
        vote = self._rule()
        tied = pixels = 0
        for image_id in progress(first.image_ids, 'vote'):
            label_maps = self._read(image_id, Predictions.mask)
            confidence = None
            if self.method == 'soft' or self._all_have_confidence():
                confidence = self._read(image_id, Predictions.confidence)
                _check_size(image_id, label_maps[0], confidence[0], first, first)
            outcome = vote(label_maps, confidence)
            tied += int(outcome.tied.sum())
            pixels += outcome.tied.size
            if confidence is not None:
                confidence = agreed_confidence(
                    label_maps, confidence, outcome.label_map
                )
            write_prediction(folder, image_id, outcome.label_map, confidence)
        origin = self._origin() | {'tied_pixels': tied, 'pixels': pixels}
        finish_predictions(folder, first.classes, first.image_ids, origin)
        return tied, pixels

    def _rule(self) -> Callable[[np.ndarray, np.ndarray | None], Vote]:
        accuracy = self.accuracy
        if self.method == 'soft':
            return lambda maps, sure: soft_vote(maps, _given(sure), accuracy)
        if self.method == 'weighted':
            vote = partial(weighted_vote, accuracy=_given(accuracy))
        else:
            vote = partial(hard_vote, accuracy=accuracy)
        first = self.members[0]
        by_ids = tabulate(vote, len(self.members), len(first.classes))
        return lambda maps, _: by_ids(maps)

    def _all_have_confidence(self) -> bool:
        return all((m.folder / 'confidence').is_dir() for m in self.members)

    def _read(
        self, image_id: str, read: Callable[[Predictions, str], np.ndarray]
    ) -> np.ndarray:
        maps = [read(member, image_id) for member in self.members]
        for member, found in zip(self.members, maps, strict=True):
            _check_size(image_id, maps[0], found, self.members[0], member)
        return np.stack(maps)

    def _origin(self) -> dict[str, Any]:
        members = [
            {
                'folder': str(member.folder),
                'predictions_sha256': sha256_of(member.folder / MARKER),
                'checkpoint_sha256': member.origin.get('checkpoint_sha256'),
            }
            for member in self.members
        ]
        origin: dict[str, Any] = {'method': self.method, 'members': members}
        first = self.members[0].origin
        for key in ('split', 'fold'):
            # What all members are of, the vote is of too.
            if all(first.get(key) == m.origin.get(key) for m in self.members):
                origin |= {key: first[key]} if key in first else {}
        if self.accuracy is not None:
            rows = self.accuracy.tolist()
            origin['accuracy'] = [[None if v != v else v for v in row] for row in rows]
        return origin


def _given(values: np.ndarray | None) -> np.ndarray:
    assert values is not None
    return values


def _check_size(
    image_id: str,
    first: np.ndarray,
    found: np.ndarray,
    one: Predictions,
    other: Predictions,
) -> None:
    if first.shape != found.shape:
        raise InputError(
            repr(image_id),
            f'has size {first.shape} in {one.folder}, {found.shape} in {other.folder}',
            'predict both at the size of the photograph',
        )


if __name__ == '__main__':
    run_command(main)
