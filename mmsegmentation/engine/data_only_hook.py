from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class DataOnlyHook(Hook):
    """Take a checkpoint for data: what MMEngine would run of it is dropped.

    ``Runner.resume`` runs ``meta['config']``, the text of a config, to compare the
    number of GPUs. Checkpoints of today have none.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Drop the text before it is run."""
        checkpoint.get('meta', {}).pop('config', None)
