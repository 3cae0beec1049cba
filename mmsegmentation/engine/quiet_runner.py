import io
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import Runner
from torch import nn

from mmsegmentation.engine.quiet import Quiet, share_batch
from mmsegmentation.sealed import write_sealed


@register_backend('sealed')
class SealedBackend(LocalBackend):
    """Files of this machine, each written whole and with a seal."""

    def put(self, obj: bytes | io.BytesIO, filepath: str | Path) -> None:
        """Write a checkpoint."""
        content = obj.getvalue() if isinstance(obj, io.BytesIO) else obj
        write_sealed(Path(filepath), content)


class QuietRunner(Quiet, Runner):
    """MMEngine's runner, as ``Quiet`` has it."""

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, which share their batches."""
        if not self.distributed:
            return super().wrap_model(model_wrapper_cfg, model)
        sync_bn = self.cfg.get('sync_bn')
        share_batch(model, sync_bn)
        self.cfg.sync_bn = None  # done; and MMEngine's are for GPUs alone
        try:
            return super().wrap_model(model_wrapper_cfg, model)
        finally:
            self.cfg.sync_bn = sync_bn

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, **kwargs: Any
    ) -> None:
        """Write a checkpoint whole, and with a seal, where it goes to this machine."""
        local = '://' not in str(out_dir) and not any(
            kwargs.get(key) for key in ('backend_args', 'file_client_args')
        )
        if local and not any(args[:1]):
            kwargs['backend_args'] = {'backend': 'sealed'}
        super().save_checkpoint(out_dir, filename, *args, **kwargs)
