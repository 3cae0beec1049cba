"""Which checkpoint a run goes on from, and whether it can."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from mmengine.config import Config

STATES = 'epoch_*.pth', 'iter_*.pth'


def find_start(work_dir: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint of a run, and what is to be said of it.

    Returns:
        The path, None where the run was killed before its first checkpoint; and a line
        for each newer one that is damaged.

    Raises:
        InputError: There was no run, or no checkpoint is whole.
    """
    found = list(dict.fromkeys(_newest_first(work_dir)))
    damaged: list[str] = []
    for path in found:
        what = damage_of(path)
        if what is None:
            return path, [f'{line}; going on from {path.name}' for line in damaged]
        damaged.append(f'{path}: not a readable checkpoint ({what})')
    if damaged:
        raise InputError(
            damaged[0], 'and no earlier one is whole', 'start anew with --overwrite'
        )
    if not any(work_dir.glob('*/vis_data')):
        raise InputError(work_dir, 'holds no run to resume', 'leave out --resume')
    return None, [f'{work_dir}: no checkpoint yet; starting anew']


def noted_checkpoint(work_dir: Path) -> Path | None:
    """Return the checkpoint that ``last_checkpoint`` names, None where it names none.

    The file may be gone. The folder may have been moved since: the name alone counts.
    """
    try:
        text = (work_dir / 'last_checkpoint').read_text('utf-8')
    except (OSError, ValueError):
        return None
    name = Path(text.strip()).name
    return work_dir / name if name else None


def _newest_first(work_dir: Path) -> Iterator[Path]:
    last = noted_checkpoint(work_dir)
    if last and last.is_file():
        yield last
    states = [path for pattern in STATES for path in work_dir.glob(pattern)]
    yield from sorted(states, key=lambda p: (p.stat().st_mtime_ns, p), reverse=True)


def check_state(cfg: 'Config', content: dict[str, Any], path: str) -> None:
    """Stop where a checkpoint does not hold all that a run needs to go on.

    Raises:
        InputError: It lacks a part, or has the state of another optimiser.
    """
    needs = {'optimizer', 'message_hub', 'meta'}
    if cfg.get('param_scheduler'):
        needs.add('param_schedulers')
    lacking = sorted(needs - content.keys())
    meta = content.get('meta')
    if lacking or not (isinstance(meta, dict) and {'epoch', 'iter'} <= meta.keys()):
        raise InputError(
            path,
            f'no run can go on from it, it has no {", ".join(lacking) or "count"}',
            f'start a new one from it: --cfg-options load_from={path}',
        )
    key = 'optim_wrapper.optimizer.type'
    had = content.get('resume', {}).get('schedule', {}).get(key)
    now = (cfg.optim_wrapper.get('optimizer') or {}).get('type')
    if had is not None and had != now:
        raise InputError(
            path,
            f'its optimizer is {had}, and {now} cannot go on with its state',
            f'start a new run from it: --cfg-options load_from={path}',
        )


def keep_seed(cfg: 'Config', content: dict[str, Any]) -> None:
    """Give a run the seed of its checkpoint, also where it had drawn one itself."""
    seed = content['meta'].get('seed')
    if seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
