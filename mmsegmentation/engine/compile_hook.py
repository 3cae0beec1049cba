import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the forward passes of backbone and head, where that works.

    MMEngine's own ``compile`` takes the whole training step, whose samples and losses
    break the graph. A part that cannot be compiled runs as it is, after one line that
    says so. It pays on GPUs; on the CPU it did not.

    Args:
        parts: Names of the model's parts.
        **options: As ``torch.compile``: ``mode``, ``backend``, ``dynamic``.
    """

    # After hooks that copy the model: a copy would run with the original's weights.
    priority = 'LOWEST'

    def __init__(
        self, parts: Sequence[str] = ('backbone', 'decode_head'), **options: Any
    ) -> None:
        self.parts, self.options = tuple(parts), options
        torch.compile(lambda x: x, **options)  # a misspelt option fails here

    def before_run(self, runner: Runner) -> None:
        """Put the compiled passes in place; weights and their names stay."""
        model: Any = runner.model
        while is_model_wrapper(model):
            model = model.module
        for name in self.parts:
            part = getattr(model, name)
            if not isinstance(part.forward, _Compiled):  # a run before this one
                part.forward = _Compiled(name, part.forward, self.options)


class _Compiled:
    """A forward pass that is compiled at its first call, or never."""

    def __init__(self, name: str, forward: Callable, options: dict) -> None:
        self.name, self.plain = name, forward
        self.compiled: Callable | None = torch.compile(forward, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.compiled:
            try:
                return self.compiled(*args, **kwargs)
            except Exception as error:  # compilers fail in many ways
                self.compiled = None
                self._say(error)
        return self.plain(*args, **kwargs)

    def _say(self, error: Exception) -> None:
        if is_main_process():
            why = ' '.join(str(error).split())[:120]
            print(
                f'{self.name} cannot be compiled and runs as it is '
                f'({type(error).__name__}: {why})',
                file=sys.stderr,
            )
