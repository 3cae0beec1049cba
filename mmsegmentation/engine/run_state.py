"""What of a run is neither weights nor optimiser, as plain data for a checkpoint."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend
from torch import nn

from mmsegmentation.resume import checkpoint_folder

State = dict[str, Any]


def random_state() -> State:
    """Return the state of every generator of this process."""
    name, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, cached = random.getstate()
    state = {
        'torch': torch.get_rng_state(),
        'numpy': [name, list(map(int, keys)), place, has_gauss, gauss],
        'python': [version, list(words), cached],
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: State) -> None:
    """Put every generator of this process where it was."""
    torch.set_rng_state(state['torch'].cpu())
    name, keys, *rest = state['numpy']
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    version, words, cached = state['python']
    random.setstate((version, tuple(words), cached))
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def of_all_processes(state: State) -> list[State]:
    """Return the states of all processes, in their order; all of them must call it."""
    return all_gather_object(state)


def gradients(model: nn.Module) -> State:
    """Return the gradients gathered since the optimiser's last step, by name.

    Of several processes it is their mean, which is what their next step would take.
    """
    found = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    if get_world_size() > 1:
        for gradient in found.values():
            all_reduce(gradient, 'mean')
    return found


def restore_gradients(model: nn.Module, found: State) -> None:
    """Put gradients back, each in the layout of its weight."""
    for name, parameter in model.named_parameters():
        if name in found:
            parameter.grad = torch.empty_like(parameter).copy_(found[name])


def in_own_folder(runner: Runner) -> bool:
    """Return whether a run resumes from a checkpoint of its own."""
    start = Path(str(runner._load_from)).resolve().parent
    return start == checkpoint_folder(Path(runner.work_dir), runner.cfg).resolve()


def log_sizes(runner: Runner) -> dict[str, int]:
    """Return how many bytes each log of scalars has, by its path in the work folder."""
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, TensorboardVisBackend):
            backend.experiment.flush()
    work_dir = Path(runner.work_dir)
    return {
        path.relative_to(work_dir).as_posix(): path.stat().st_size
        for path in _logs(work_dir)
    }


def cut_logs(runner: Runner, sizes: dict[str, int]) -> None:
    """Cut off what a lost run logged after its checkpoint: it will be logged again.

    Args:
        sizes: What :func:`log_sizes` said at the checkpoint. A log that it does not
            name began later, and is removed; not the one that TensorBoard has open.
    """
    work_dir = Path(runner.work_dir)
    for path in _logs(work_dir):
        size = sizes.get(path.relative_to(work_dir).as_posix(), 0)
        is_open = path.suffix != '.json' and Path(runner.log_dir) in path.parents
        if is_open or path.stat().st_size <= size:
            continue
        if size:
            with path.open('r+b') as file:
                file.truncate(size)
        else:
            path.unlink()


def _logs(work_dir: Path) -> list[Path]:
    folders = sorted(work_dir.glob('*/vis_data'))
    names = '*.json', 'events.out.tfevents.*'
    return [p for folder in folders for name in names for p in folder.glob(name)]
