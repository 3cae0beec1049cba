import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from mmsegmentation.precision import has_bf16


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Run the forward pass in bfloat16, on the CPU as on a GPU.

    MMEngine's ``AmpOptimWrapper`` refuses the CPU. bfloat16 has the range of float32,
    so no loss scaling is needed. On a processor without bfloat16 arithmetic, where it
    would be emulated at a quarter of the speed, all is computed in float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.enabled = has_bf16()
        if not self.enabled:
            print_log(
                'This CPU has no bfloat16 arithmetic: training in float32',
                'current',
                logging.WARNING,
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass of ``model``."""
        precision = torch.autocast(get_device(), torch.bfloat16, enabled=self.enabled)
        with super().optim_context(model), precision:
            yield
