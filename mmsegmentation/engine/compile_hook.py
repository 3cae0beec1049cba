import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.engine.unwrap import unwrapped


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the forward passes of backbone and head, where that works.

    MMEngine's own ``compile`` takes the whole training step, whose samples and losses
    break the graph. A part that cannot be compiled runs as it is, after one line that
    says so. It pays on GPUs; on the CPU it did not.

    Args:
        parts: Names of the model's parts.
        **options: As ``torch.compile``: ``mode``, ``backend``, ``dynamic``.

    Raises:
        TypeError: ``torch.compile`` has no such option.
        RuntimeError: There is no such mode or backend.
    """

    # After hooks that replace a forward pass.
    priority = 'LOWEST'

    def __init__(
        self, parts: Sequence[str] = ('backbone', 'decode_head'), **options: Any
    ) -> None:
        self.parts, self.options = tuple(parts), options
        torch.compile(lambda x: x, **options)  # a misspelt option fails here

    def before_run(self, runner: Runner) -> None:
        """Put the compiled passes in place; weights and their names stay."""
        model = unwrapped(runner.model)
        for name in self.parts:
            part = getattr(model, name)
            if not isinstance(part.forward, _Compiled):  # a run before this one
                part.forward = _Compiled(name, part.forward, self.options)


class _Compiled:
    """A forward pass that is compiled at its first call, or never."""

    def __init__(self, name: str, forward: Callable, options: dict) -> None:
        self.name, self.plain, self.options = name, forward, options
        self.compiled: Callable | None = torch.compile(forward, **options)

    def __reduce__(self) -> tuple:
        # A copied model's pass is compiled anew: a copied function would go on with
        # the weights of the original.
        return _Compiled, (self.name, self.plain, self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.compiled:
            return self.plain(*args, **kwargs)
        try:
            return self.compiled(*args, **kwargs)
        except _failures() as error:
            text = ' '.join(str(error).split())[:120]
            why = f'{type(error).__name__}: {text}'
        # A wrong shape fails while it is traced, too: here it does in its own words.
        result = self.plain(*args, **kwargs)
        self.compiled = None
        if is_main_process():
            print(
                f'{self.name} cannot be compiled and runs as it is ({why})',
                file=sys.stderr,
            )
        return result


def _failures() -> tuple[type[Exception], ...]:
    """Return what a pass raises that cannot be traced or compiled.

    A backend's own error, such as that of a missing C++ compiler or Triton, comes
    wrapped in the first. What a compiled pass raises when it runs is neither.
    """
    from torch._dynamo import exc  # a second, for those who compile alone

    return exc.TorchDynamoException, exc.FailOnRecompileLimitHit
