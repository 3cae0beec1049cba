"""The schedule of a run: what it is, and how another one takes over at a checkpoint."""

import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner

# What of a config decides how far and how fast a run goes.
PARTS = 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'


def describe(runner: Runner) -> dict[str, Any]:
    """Return the schedule of a run as plain data, by config key."""
    found = dict(flatten({key: runner.cfg.get(key) for key in PARTS}))
    found['train_dataloader.batch_size'] = runner.train_dataloader.batch_size
    found['processes'] = get_world_size()
    found['steps of an epoch'] = len(runner.train_dataloader)
    return found


def flatten(part: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield each value in a config with its dotted key; what is no number as text."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield from flatten(value, f'{key}.{name}' if key else str(name))
    elif isinstance(part, list | tuple) and any(isinstance(p, dict) for p in part):
        for number, value in enumerate(part):
            yield from flatten(value, f'{key}.{number}')
    elif isinstance(part, bool | int | float | str | None):
        yield key, part
    else:
        yield key, str(list(part)) if isinstance(part, list | tuple) else repr(part)


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two schedules, as (old, new) by config key.

    >>> changes({'train_cfg.max_iters': 4, 'processes': 1},
    ...         {'train_cfg.max_iters': 6, 'processes': 1})
    {'train_cfg.max_iters': (4, 6)}
    """
    return {
        key: (old.get(key), new.get(key))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    }


def settings(runner: Runner) -> list[dict[str, Any]]:
    """Return what the optimiser's groups are set to, without their weights."""
    return [
        {key: value for key, value in group.items() if key != 'params'}
        for group in runner.optim_wrapper.param_groups
    ]


def follow(runner: Runner, old: dict[str, Any], given: list[dict[str, Any]]) -> str:
    """Let a resumed run follow its config where its checkpoint had another schedule.

    Nothing happens where they are the same. MMEngine would keep the optimiser's
    settings and the schedulers of the checkpoint, whatever the config says.

    Args:
        old: What :func:`describe` said when the checkpoint was written.
        given: The optimiser's settings by the config.

    Returns:
        One line that says what changed; empty where nothing did.
    """
    found = changes(old, describe(runner))
    if not found:
        return ''
    loop = runner.train_loop
    before = _rate(runner)
    if is_by_epoch(loop):
        length = old['steps of an epoch']
        part = (loop.iter - loop.epoch * length) / length
        loop._iter = round((loop.epoch + part) * len(loop.dataloader))
    for group, new in zip(runner.optim_wrapper.param_groups, given, strict=True):
        group.update(new)
        for key in [k for k in group if k.startswith('initial_')]:
            group[key.removeprefix('initial_')] = group[key]
    _replay(runner)
    shown = ', '.join(f'{key} {was} -> {now}' for key, (was, now) in found.items())
    told = f'changed since the checkpoint: {shown}'
    was, now = f'{before:.3g}', f'{_rate(runner):.3g}'
    if was == now:
        return told
    return f'{told}; at step {loop.iter} the learning rate is {now}, was {was}'


def is_by_epoch(loop: Any) -> bool:
    """Tell whether a train loop counts epochs."""
    return isinstance(loop, EpochBasedTrainLoop)


def _rate(runner: Runner) -> float:
    return max(group['lr'] for group in runner.optim_wrapper.optimizer.param_groups)


def _replay(runner: Runner) -> None:
    """Step new schedulers as often as the run has stepped."""
    given = runner.cfg.get('param_scheduler')
    if not given:
        return
    loop = runner.train_loop
    length = len(loop.dataloader) if is_by_epoch(loop) else 0
    with warnings.catch_warnings():
        # They miss the steps of the optimiser, which are in its state.
        warnings.simplefilter('ignore')
        runner.param_schedulers = runner.build_param_scheduler(given)
        schedulers = runner.param_schedulers
        for step in range(1, loop.iter + 1):
            for scheduler in schedulers:
                ends = length and step % length == 0
                if not scheduler.by_epoch or ends:
                    scheduler.step()
