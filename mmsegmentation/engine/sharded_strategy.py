import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper
from mmengine.registry import STRATEGIES
from torch import nn
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    StateDictType,
)
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from mmsegmentation.sealed import write_sealed


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's ``FSDPStrategy``, whose checkpoints are those of any other run.

    The main process writes one file, whole and with a seal, which an undivided run can
    go on from, and this one from those of such a run. It trains on CPUs too, loads an
    optimiser in PyTorch of today, where MMEngine's fails, and clips gradients by the
    norm of all processes' parts.

    Args: as MMEngine's ``FSDPStrategy``, without ``state_dict_cfg``.
    """

    model_wrapper: Any

    def __init__(self, **kwargs: Any) -> None:
        # On a CPU FSDP would give back weights whose memory is freed.
        kept = {'rank0_only': True, 'offload_to_cpu': torch.cuda.is_available()}
        form = {
            'state_dict_type': StateDictType.FULL_STATE_DICT,
            'state_dict_config': FullStateDictConfig(**kept),
            'optim_state_dict_config': FullOptimStateDictConfig(**kept),
        }
        super().__init__(state_dict_cfg=form, **kwargs)
        self._names: list[list[str]] = []

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            device = {'device_id': torch.device('cpu')}
            self.model_wrapper = {**(self.model_wrapper or {}), **device}
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper, model: nn.Module
    ) -> OptimWrapper:
        """Let the optimiser of the undivided model step this process's parts of it."""
        groups = optim_wrapper.optimizer.param_groups
        found = model.named_parameters()
        parts = {
            name.replace('_fsdp_wrapped_module.', ''): part for name, part in found
        }
        for group in groups:
            names = [self.id_to_name[id(weight)] for weight in group['params']]
            self._names.append(names)
            group['params'] = [parts[name] for name in names]
        if getattr(optim_wrapper, 'clip_func', None) is nn.utils.clip_grad_norm_:
            optim_wrapper.clip_func = self._clip
        return optim_wrapper

    def _clip(
        self, _: list[nn.Parameter], max_norm: float, norm_type: float = 2.0
    ) -> torch.Tensor:
        return self.model.clip_grad_norm_(max_norm, norm_type)

    def optim_state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state as an undivided run has it; others get none."""
        found = FSDP.optim_state_dict(self.model, self.optim_wrapper.optimizer)
        if not is_main_process():
            return {}
        numbers = self._numbers()
        for group in found['param_groups']:
            group['params'] = [numbers[name] for name in group['params']]
        found['state'] = {numbers[name]: s for name, s in found['state'].items()}
        return {**self.optim_wrapper.state_dict(), **found}

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this process's parts of a state that every process has in whole."""
        names = {number: name for name, number in self._numbers().items()}
        groups = [
            {**group, 'params': [names[number] for number in group['params']]}
            for group in state_dict['param_groups']
        ]
        state = {names[number]: s for number, s in state_dict['state'].items()}
        parts = FSDP.optim_state_dict_to_load(
            self.model,
            self.optim_wrapper.optimizer,
            {'param_groups': groups, 'state': state},
        )
        self.optim_wrapper.load_state_dict({**state_dict, **parts})

    def _numbers(self) -> dict[str, int]:
        """Return which parameter of an undivided optimiser has which name."""
        names = [name for group in self._names for name in group]
        return {name: number for number, name in enumerate(names)}

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict[str, Any] | None = None,
        callback: Callable[[dict], Any] | None = None,
    ) -> None:
        """Write a checkpoint; all processes must call it.

        Args: as MMEngine's.
        """
        content = {'state_dict': self.model_state_dict(), **(extra_ckpt or {})}
        if save_optimizer:
            content['optimizer'] = self.optim_state_dict()
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            content['param_schedulers'] = self.scheduler_state_dict()
        now = time.strftime('%Y%m%d_%H%M%S', time.localtime())
        content.setdefault('meta', {}).update(seed=self.seed, time=now)
        if callback:
            callback(content)
        if is_main_process():
            with io.BytesIO() as file:
                torch.save(content, file)
                write_sealed(Path(filename), file.getvalue())
