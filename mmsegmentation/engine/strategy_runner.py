from pathlib import Path
from typing import Any

from mmengine._strategy import BaseStrategy
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import FlexibleRunner

from mmsegmentation.engine.quiet import Quiet, share_batch


class StrategyRunner(Quiet, FlexibleRunner):
    """MMEngine's runner for ``strategy``, as ``Quiet`` has it.

    It takes our ``ShardedStrategy`` in the place of MMEngine's ``FSDPStrategy``.
    """

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # MMEngine builds it when training starts; its checkpoint is checked before.
        self.model = self.strategy.build_model(self.model)
        share_batch(self.model, self.cfg.get('sync_bn'))

    def build_strategy(
        self, strategy: BaseStrategy | dict | None = None, **options: Any
    ) -> BaseStrategy:
        """Build the strategy, ours in the place of MMEngine's."""
        if isinstance(strategy, dict) and strategy.get('type') == 'FSDPStrategy':
            strategy = {**strategy, 'type': 'ShardedStrategy'}
        return super().build_strategy(strategy, **options)

    def build_optim_wrapper(self, optim_wrapper: dict) -> OptimWrapper:
        """Build the optimiser of the undivided model, which the strategy divides.

        The constructors of optimisers tell weights from biases by their shapes, which a
        part of a weight has no more: with layer decay, none would decay.
        """
        options = dict(optim_wrapper)
        if options.get('type') == 'AmpOptimWrapper':
            options['use_fsdp'] = True
        return build_optim_wrapper(self.model, options)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers, which the strategy saves from now on."""
        self.strategy.param_schedulers = self.strategy.build_param_scheduler(
            scheduler, self.optim_wrapper
        )
        return self.strategy.param_schedulers

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write a checkpoint; all processes must call it.

        Args: as MMEngine's ``Runner.save_checkpoint``, by which ``meta`` holds what was
            counted where that is said, and not what this runner has counted.
        """
        notes = {
            'epoch': self.epoch + by_epoch,
            'iter': self.iter + (not by_epoch),
            **(meta or {}),
            'cfg': self.cfg.pretty_text,
            'experiment_name': self.experiment_name,
            'dataset_meta': self.train_dataloader.dataset.metainfo,
        }
        self.strategy.save_checkpoint(
            str(Path(out_dir) / filename),
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            extra_ckpt={'meta': notes, 'message_hub': self.message_hub.state_dict()},
            callback=lambda found: self.call_hook(
                'before_save_checkpoint', checkpoint=found
            ),
        )
