import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Log the losses of the whole batch: their mean over all processes.

    MMEngine logs those of the main process's own images.
    """

    # Before RuntimeInfoHook, which takes them down.
    priority = 'HIGHEST'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch=None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Put the mean in the place of each loss."""
        if outputs and get_world_size() > 1:
            values = torch.stack([value.detach().float() for value in outputs.values()])
            all_reduce(values, 'mean')
            outputs.update(zip(outputs, values, strict=True))
