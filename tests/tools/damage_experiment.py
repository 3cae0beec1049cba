"""Damage a run's newest checkpoint, or hide a command in it, and resume the run.

    python tests/tools/damage_experiment.py OUT
    python tests/tools/damage_experiment.py OUT --stock

First the run of ``kill_experiment.py``; then, as often as told, a copy of it whose
newest checkpoint is cut at a random byte or has one bit flipped is resumed: how many
end bit for bit as the run itself? Then commands are hidden in five places that a resume
reads: how many are executed? ``--stock`` does the same with MMSegmentation's runner.
"""

import argparse
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError, Parser, run_command

if '.' in __name__:  # pytest looks for examples in docstrings, from the folder above
    from tests.tools.endings import difference, ending
    from tests.tools.kill_experiment import (
        LOOPS,
        MODELS,
        prepare,
        start,
        train,
        train_stock,
    )
else:
    from endings import difference, ending
    from kill_experiment import LOOPS, MODELS, prepare, start, train, train_stock

NEWEST = 'iter_24.pth'


class Bomb:
    """Makes a file when it is unpickled by a reader that trusts what it reads."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return eval, (f"open({str(self.witness)!r}, 'w').close()",)


def copy(whole: Path, work_dir: Path) -> None:
    """Copy a run's folder; MMEngine notes its newest checkpoint with the whole path."""
    shutil.copytree(whole, work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / NEWEST))


def damage(path: Path, draw: random.Random) -> str:
    """Cut a file, or flip one bit of it; return what was done."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    if draw.random() < 0.5:
        path.write_bytes(content[:place])
        return f'cut at byte {place}'
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f'a bit of byte {place} flipped'


def hide(place: str, work_dir: Path, witness: Path) -> None:
    """Hide a command in what a resume reads."""
    import torch

    path = work_dir / NEWEST
    content: dict[str, Any] = torch.load(path, weights_only=False)
    bomb = Bomb(witness)
    if place == 'the whole checkpoint':
        torch.save(bomb, path)
    elif place == 'last_checkpoint, pickled':
        (work_dir / 'last_checkpoint').write_bytes(pickle.dumps(bomb, protocol=0))
    elif place == 'last_checkpoint, by name':
        torch.save({**content, 'meta': bomb}, work_dir.with_suffix('.pth'))
        (work_dir / 'last_checkpoint').write_text(str(work_dir.with_suffix('.pth')))
    elif place == 'meta':
        torch.save({**content, 'meta': bomb}, path)
    else:
        content['meta']['config'] = bomb.__reduce__()[1][0] + '\n'
        torch.save(content, path)


PLACES = (
    'the whole checkpoint',
    'meta',
    'the config text in meta',
    'last_checkpoint, pickled',
    'last_checkpoint, by name',
)


def resume(act: Callable, config: Path, work_dir: Path, wanted: dict) -> str:
    """Resume a run; return how it went."""
    process = start(act, config, work_dir, True)
    process.join()
    if process.exitcode:
        return 'does not start'
    try:
        found = ending(work_dir)
    except InputError:
        return 'ends without a readable checkpoint'
    return 'another end' if difference(wanted, found) else 'the same end'


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog='damage_experiment.py', description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder to work in')
    parser.add_argument('--model', choices=MODELS, default='convnext', help='the model')
    parser.add_argument('--damages', type=int, default=100, help='damaged checkpoints')
    parser.add_argument('--seed', type=int, default=0, help='other seed, other places')
    parser.add_argument('--stock', action='store_true', help="MMSegmentation's runner")
    args = parser.parse_args(argv)
    args.loop, args.workers = next(iter(LOOPS)), 0
    act = train_stock if args.stock else train
    config, whole = prepare(args, f'damage-{act.__name__}')
    process = start(act, config, whole, False)
    process.join()
    wanted, draw = ending(whole), random.Random(args.seed)
    executed = damage_all(args, act, config, whole, wanted, draw)
    for place in PLACES:
        work_dir = whole.with_name('hidden')
        copy(whole, work_dir)
        witness = whole.with_name('witness')
        hide(place, work_dir, witness)
        how = resume(act, config, work_dir, wanted)
        executed += witness.exists()
        said = 'EXECUTED' if witness.exists() else 'not executed'
        print(f'{act.__name__}: a command in {place}: {said}, {how}', flush=True)
        witness.unlink(missing_ok=True)
        shutil.rmtree(work_dir)
    return 1 if executed else 0


def damage_all(
    args: argparse.Namespace,
    act: Callable,
    config: Path,
    whole: Path,
    wanted: dict,
    draw: random.Random,
) -> int:
    """Print how damaged runs went on; return how many did not end the same."""
    counts: Counter[str] = Counter()
    for number in range(args.damages):
        work_dir = whole.with_name(f'{number}')
        copy(whole, work_dir)
        what = damage(work_dir / NEWEST, draw)
        how = resume(act, config, work_dir, wanted)
        counts[how] += 1
        print(f'{act.__name__} {number}: {what}: {how}', flush=True)
        shutil.rmtree(work_dir)
    print(f'{act.__name__}: of {args.damages} damaged: {dict(counts)}', flush=True)
    return args.damages - counts['the same end']


if __name__ == '__main__':
    import mmseg.apis  # noqa: F401
    import torch  # noqa: F401

    import mmsegmentation.engine  # noqa: F401
    import tools.train  # noqa: F401

    run_command(main)
