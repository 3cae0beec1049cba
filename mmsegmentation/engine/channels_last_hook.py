import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights in channels-last order: faster convolutions, same numbers."""

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights in memory; names and values stay."""
        runner.model.to(memory_format=torch.channels_last)
