"""What a run ends with, to be compared bit for bit with what another one ends with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmsegmentation.checkpoints import check_checkpoint

# Of the clock, or of the place.
PASSING = 'time', 'data_time', 'memory', 'eta'


def ending(work_dir: Path) -> dict[str, Any]:
    """Return the end of a run: its last and best checkpoints, scores and loss log."""
    last = work_dir / Path((work_dir / 'last_checkpoint').read_text()).name
    found = {'last': (last.name, *_content(last)), 'log': scalars(work_dir)}
    for path in sorted(work_dir.glob('best_*.pth')):
        found[path.name] = _content(path)
    metrics = work_dir / 'metrics.json'
    if metrics.is_file():
        found['metrics'] = metrics.read_text()
    found['files'] = sorted(path.name for path in work_dir.glob('*.pth'))
    return found


def scalars(work_dir: Path) -> list[dict[str, Any]]:
    """Return what all runs of a work folder logged, in order, without the times."""
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in PASSING} for line in lines]


def difference(one: Any, two: Any, place: str = '') -> str | None:
    """Return where two endings differ first, None where they are the same."""
    if isinstance(one, HistoryBuffer) and isinstance(two, HistoryBuffer):
        one, two = one.data[0], two.data[0]
    if type(one) is not type(two):
        return f'{place}: {type(one).__name__} and {type(two).__name__}'
    if isinstance(one, dict):
        if one.keys() != two.keys():
            return f'{place}: {sorted(map(str, one.keys() ^ two.keys()))}'
        pairs = [(one[key], two[key], f'{place}.{key}') for key in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            return f'{place}: {len(one)} and {len(two)}'
        pairs = [(one[n], two[n], f'{place}.{n}') for n in range(len(one))]
    elif isinstance(one, torch.Tensor):
        same = one.shape == two.shape and torch.equal(_bits(one), _bits(two))
        return None if same else f'{place}: tensors differ'
    elif isinstance(one, np.ndarray):
        same = one.shape == two.shape and one.tobytes() == two.tobytes()
        return None if same else f'{place}: arrays differ'
    else:
        same = one == two or (one != one and two != two)
        return None if same else f'{place}: {one!r} and {two!r}'
    return next(filter(None, (difference(*pair) for pair in pairs)), None)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _content(path: Path) -> tuple[dict[str, Any], ...]:
    content = check_checkpoint(str(path))
    hub = content['message_hub']
    losses = {
        key: value
        for key, value in hub['log_scalars'].items()
        if key.rpartition('/')[2] not in PASSING
    }
    meta = content['meta']
    info = hub['runtime_info'].get('best_score'), meta['epoch'], meta['iter']
    resume = dict(content.get('resume', {}))
    resume.pop('logs', None)
    kept = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return (
        {key: content[key] for key in kept if key in content},
        losses,
        info,
        resume,
    )
