"""Which checkpoint a run goes on from, and whether it can."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError
from mmsegmentation.sealed import damage_of

if TYPE_CHECKING:
    from mmengine.config import Config

STATES = 'epoch_*.pth', 'iter_*.pth'


def checkpoint_folder(work_dir: Path, cfg: 'Config') -> Path:
    """Return the folder of a run's checkpoints.

    MMEngine's ``CheckpointHook`` with an ``out_dir`` writes into a folder there, which
    has the name of the work folder. If ``out_dir`` is an address such as ``s3://``, the
    work folder is returned.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = str(hook.get('out_dir') or '')
    if not out_dir or '://' in out_dir or out_dir == str(work_dir.absolute()):
        return work_dir
    return Path(out_dir) / work_dir.absolute().name


def check_resumable(work_dir: Path, folder: Path) -> None:
    """Refuse to resume if there was no run.

    Unlike :func:`find_start`, this reads no checkpoint.

    Raises:
        InputError: There is neither a checkpoint nor a log.
    """
    if not (any(_newest_first(work_dir, folder)) or any(work_dir.glob('*/vis_data'))):
        raise InputError(work_dir, 'holds no run to resume', 'leave out --resume')


def find_start(
    work_dir: Path, folder: Path | None = None
) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint of a run, and what is to be said of it.

    Args:
        work_dir: The work folder.
        folder: Folder of the checkpoints, from :func:`checkpoint_folder`. If None, the
            work folder.

    Returns:
        The path, None where the run was killed before its first checkpoint; and a line
        for each newer one that is damaged.

    Raises:
        InputError: There was no run, or no checkpoint is whole.
    """
    check_resumable(work_dir, folder or work_dir)
    found = list(dict.fromkeys(_newest_first(work_dir, folder or work_dir)))
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
    return None, [f'{work_dir}: no checkpoint yet; starting anew']


def noted_checkpoint(work_dir: Path) -> Path | None:
    """Return the checkpoint that ``last_checkpoint`` names, None where it names none.

    The file may be missing. The work folder may have been moved, so that only the name
    of the file counts. A checkpoint in a folder of its own, as
    :func:`checkpoint_folder` describes, is the exception.
    """
    try:
        text = (work_dir / 'last_checkpoint').read_text('utf-8')
    except (OSError, ValueError):
        return None
    noted = Path(text.strip())
    if not noted.name:
        return None
    # A folder with logs belongs to another run, and this run may be a copy of it.
    is_apart = noted.parent.name == work_dir.absolute().name and noted.is_file()
    if is_apart and not any(noted.parent.glob('*/vis_data')):
        return noted
    return work_dir / noted.name


def _newest_first(work_dir: Path, folder: Path) -> Iterator[Path]:
    last = noted_checkpoint(work_dir)
    if last and (folder / last.name).is_file():
        yield folder / last.name
    states = [path for pattern in STATES for path in folder.glob(pattern)]
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
