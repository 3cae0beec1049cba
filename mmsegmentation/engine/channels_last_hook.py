import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights in channels-last order: faster convolutions, same numbers.

    The weights that FSDP divides have no order of their own, and stay as they are.
    """

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights in memory; names and values stay."""
        if isinstance(runner.model, FullyShardedDataParallel):
            return
        model = runner.model.to(memory_format=torch.channels_last)
        if isinstance(model, DistributedDataParallel):
            # Its room for gradients is in the order before, and would be read in the
            # new one: those of the first step would be mixed up.
            wrapper = runner.cfg.get('model_wrapper_cfg')
            runner.model = runner.wrap_model(wrapper, model.module)
