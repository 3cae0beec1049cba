"""Votes of several models: the kernel on one thread, and whole commands on all cores.

Maps are drawn in two ways. Random ones disagree everywhere; those of regions are alike
but for their borders and a few objects, as predictions of one photograph are. Commands
run in this process, so that neither side's time has the start of Python in it; their
peak of memory is that of a process of its own.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmsegmentation.classes import CLASSES
from mmsegmentation.command import usable_cpus
from mmsegmentation.files import link_or_copy, mask_name, read_mask
from mmsegmentation.predictions import (
    finish_predictions,
    open_predictions,
    write_prediction,
    write_probs,
)
from tools.benchmarks.case import Case, LeftOut, Options
from utils.ensemble import main
from utils.parallel import Workers
from utils.voting import Vote, VoteRule

SIZE = 512
COUNT = 819
# Images that are drawn; the others are links to them.
DRAWN = 16
DIFFERENT = 'pixels that are not tied'
SOFT = '--method', 'soft'
PEAK = (
    'import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); '
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)'
)
COMMAND = Path(__file__).resolve().parents[2] / 'utils/ensemble.py'


def cases(options: Options) -> Iterator[Case | LeftOut]:
    """Vote on one image in memory, then on whole folders."""
    for models in (3, 5, 7):
        for title, draw in (('random', draw_random), ('regions', draw_regions)):
            yield from kernel_cases(models, title, draw(models, seed=models))
    with TemporaryDirectory() as folder:
        count = 64 if options.quick else COUNT
        yield command_case(Path(folder, 'hard'), 5, count)
        yield soft_case(Path(folder, 'soft'), 3, count)


def draw_random(models: int, seed: int) -> np.ndarray:
    """Return maps that have nothing to do with each other, (models, H, W) uint8."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, len(CLASSES), (models, SIZE, SIZE), np.uint8)


def draw_regions(models: int, seed: int) -> np.ndarray:
    """Return maps that differ as predictions do, (models, H, W) uint8."""
    return draw_scores(models, seed).argmax(axis=1).astype(np.uint8)


def draw_scores(models: int, seed: int) -> np.ndarray:
    """Return what maps of regions are the maximum of, (models, classes, H, W)."""
    import cv2

    def smooth(cells: int, scale: float) -> np.ndarray:
        noise = rng.normal(0, scale, (cells, cells, len(CLASSES))).astype(np.float32)
        return cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)

    rng = np.random.default_rng(seed)
    scene = smooth(6, 1)
    scene[..., 0] += 1.2  # most of a photograph is background
    own = [scene + smooth(12, 0.06) + smooth(64, 0.015) for _ in range(models)]
    return np.stack(own).transpose(0, 3, 1, 2)


def kernel_cases(models: int, title: str, maps: np.ndarray) -> Iterator[Case]:
    """Vote with ties by accuracy, beside what leaves ties open."""
    accuracy = np.random.default_rng(0).random((models, len(CLASSES)))
    rule = VoteRule(np.ones_like(accuracy), 'accuracy', accuracy)
    ours = partial(rule, maps)
    name = f'{models} maps, {SIZE} x {SIZE}, {title}, one thread'
    for peer, theirs in (
        ('SimpleITK', label_voting(maps)),
        ('one-hot sum', one_hot(maps)),
    ):
        yield Case(name, peer, (ours, theirs), _differing, 0, DIFFERENT)


def label_voting(maps: np.ndarray) -> Callable[[], np.ndarray]:
    """Return SimpleITK's vote on one thread."""
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(label_map) for label_map in maps]
    voting = sitk.LabelVotingImageFilter()
    voting.SetNumberOfThreads(1)
    voting.SetNumberOfWorkUnits(1)
    return lambda: sitk.GetArrayFromImage(voting.Execute(images))


def one_hot(maps: np.ndarray) -> Callable[[], np.ndarray]:
    """Return the vote that teams write: a sum of one-hot maps and its maximum."""
    table = np.eye(len(CLASSES), dtype=np.uint8)
    return lambda: table[maps].sum(axis=0).argmax(axis=-1)


def _differing(ours: Vote, theirs: np.ndarray) -> float:
    return float(np.count_nonzero((ours.label_map != theirs) & ~ours.tied))


def command_case(folder: Path, models: int, count: int) -> Case:
    """Vote on folders, beside reading the same files and writing as many."""
    drawn = [folder / f'drawn/{k}' for k in range(models)]
    for number in range(DRAWN):
        for member, label_map in zip(drawn, draw_regions(models, number), strict=True):
            write_prediction(member, name_of(number), label_map, None)
    members = _repeat(drawn, folder / 'members', count)
    peak = _peak(members, folder / 'peak')
    name = f'{models} members x {count} masks, PNG to PNG, {usable_cpus()} cores'
    sides = (
        partial(_command, members, folder / 'ours'),
        partial(_recode, members, folder / 'theirs'),
    )
    name += f', peak {peak:.0f} MB'
    return Case(name, 'decode + encode alone', sides, _overruled, 0, 'pixels')


def soft_case(folder: Path, models: int, count: int) -> Case:
    """Vote on kept probabilities, beside arrays of all classes at full size."""
    drawn = [folder / f'drawn/{k}' for k in range(models)]
    for number in range(DRAWN):
        for member, scores in zip(drawn, draw_scores(models, number), strict=True):
            label_map = scores.argmax(axis=0).astype(np.uint8)
            write_prediction(member, name_of(number), label_map, None)
            write_probs(member, name_of(number), _mean_probs(scores))
    few = _repeat(drawn, folder / 'few', DRAWN)
    peaks = [
        _peak(members, folder / f'peak_{members[0].parent.name}', *SOFT)
        for members in (few, _repeat(drawn, folder / 'many', count))
    ]
    sides = (
        partial(_command, few, folder / 'ours', *SOFT),
        partial(_whole_arrays, few, folder / 'theirs'),
    )
    name = f'soft vote of {models} members x {DRAWN}, peak {peaks[0]:.0f} MB, '
    name += f'of x {count} {peaks[1]:.0f} MB'
    return Case(name, 'arrays of full size', sides, _other_labels, 0, 'pixels')


def name_of(number: int) -> str:
    """Return an image id."""
    return f'batch_01/{number:04}.jpg'


def _mean_probs(scores: np.ndarray) -> np.ndarray:
    """Return 255 x the mean probability in blocks of 4 x 4, uint8."""
    sums = np.exp(4 * scores)
    blocks = (sums / sums.sum(axis=0)).reshape(len(sums), SIZE // 4, 4, SIZE // 4, 4)
    return np.rint(255 * blocks.mean(axis=(2, 4))).astype(np.uint8)


def _repeat(drawn: Sequence[Path], folder: Path, count: int) -> list[Path]:
    """Make members of many images of a few files."""
    members = []
    for source in drawn:
        member = folder / source.name
        for path in [p for p in source.rglob('*') if p.is_file()]:
            for number in range(int(path.stem), count, DRAWN):
                stem = Path(name_of(number)).stem
                target = member / path.relative_to(source).with_stem(stem)
                link_or_copy(path, target)
        finish_predictions(member, CLASSES, [name_of(i) for i in range(count)], {})
        members.append(member)
    return members


def _peak(members: Sequence[Path], out: Path, *options: str) -> float:
    """Return the most memory that the command holds, in MB."""
    command = [sys.executable, COMMAND, *members, '--out', out, *options]
    # From a small process: a new one begins with the peak of the one it is made by.
    small = [sys.executable, '-c', PEAK, *command]
    done = subprocess.run([*map(str, small)], check=True, stdout=subprocess.PIPE)
    return int(done.stdout.split()[-1]) / 1024


def _command(members: Sequence[Path], out: Path, *options: str) -> list[Path]:
    with redirect_stdout(io.StringIO()):
        main([*map(str, members), '--out', str(out), '--overwrite', *options])
    return [out, *members]


def _recode(members: Sequence[Path], out: Path) -> Path:
    """Read all masks, and write those of the first member."""
    shutil.rmtree(out, ignore_errors=True)
    image_ids = open_predictions(members[0]).image_ids
    tasks = [(tuple(members), out, image_id) for image_id in image_ids]
    list(Workers(usable_cpus()).map(_recode_one, tasks, 'recode'))
    return out


def _recode_one(members: Sequence[Path], out: Path, image_id: str) -> None:
    label_maps = [read_mask(m / 'masks' / mask_name(image_id)) for m in members]
    write_prediction(out, image_id, label_maps[0], None)


def _overruled(ours: Sequence[Path], _: Path) -> float:
    """Return at how many pixels another class than the outcome has more votes."""
    out, *members = (folder / 'masks' for folder in ours)
    table = np.eye(len(CLASSES), dtype=np.uint8)
    wrong = 0
    for name in map(mask_name, map(name_of, range(DRAWN))):
        votes = table[np.stack([read_mask(m / name) for m in members])].sum(axis=0)
        found = np.take_along_axis(votes, read_mask(out / name)[..., None], axis=-1)
        wrong += np.count_nonzero(found[..., 0] < votes.max(axis=-1))
    return float(wrong)


def _whole_arrays(members: Sequence[Path], out: Path) -> Path:
    """Bring all probabilities to full size, add them up, and take the maximum."""
    for image_id in open_predictions(members[0]).image_ids:
        every = [open_predictions(m).probs(image_id) for m in members]
        label_map, confidence = _sum_whole([p for p in every if p is not None])
        write_prediction(out, image_id, label_map, confidence)
    return out


def _sum_whole(every: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    places = (np.arange(SIZE) + 0.5) / 4 - 0.5
    places = places.clip(0, SIZE // 4 - 1)
    first = places.astype(int)
    after = np.minimum(first + 1, SIZE // 4 - 1)
    share = places - first
    whole = np.stack(every).astype(np.float64)
    rows = (
        whole[:, :, first] * (1 - share)[:, None] + whole[:, :, after] * share[:, None]
    )
    whole = rows[..., first] * (1 - share) + rows[..., after] * share
    total = whole.sum(axis=0)
    confidence = 255 * total.max(axis=0) / total.sum(axis=0)
    return total.argmax(axis=0).astype(np.uint8), confidence.round().astype(np.uint8)


def _other_labels(ours: Sequence[Path], theirs: Path) -> float:
    names = [mask_name(name_of(number)) for number in range(DRAWN)]
    return float(
        sum(
            np.count_nonzero(read_mask(ours[0] / 'masks' / name) != read_mask(other))
            for name in names
            for other in [theirs / 'masks' / name]
        )
    )
