import contextlib
import io
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import BaseLoop, CheckpointLoader, Runner

from mmsegmentation.engine.resume_hook import ResumeHook
from mmsegmentation.runtime import read_data
from mmsegmentation.sealed import write_sealed

OURS: dict[Any, str] = {
    'CheckpointHook': 'WholeCheckpointHook',
    CheckpointHook: 'WholeCheckpointHook',
    'EarlyStoppingHook': 'ExactEarlyStoppingHook',
    EarlyStoppingHook: 'ExactEarlyStoppingHook',
}


@register_backend('sealed')
class SealedBackend(LocalBackend):
    """Files of this machine, each written whole and with a seal."""

    def put(self, obj: bytes | io.BytesIO, filepath: str | Path) -> None:
        """Write a checkpoint."""
        content = obj.getvalue() if isinstance(obj, io.BytesIO) else obj
        write_sealed(Path(filepath), content)


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_data(filename: str, map_location: Any) -> Any:
    """Read a checkpoint as data alone, where MMEngine would run what it holds more.

    Raises:
        FileNotFoundError: There is none.
        pickle.UnpicklingError: It holds more.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{filename} can not be found.')
    return read_data(str(path), map_location)


class QuietRunner(Runner):
    """MMEngine's runner, which loses no work and speaks to its log alone.

    Whatever config it gets, checkpoints are written whole, and a resumed run ends as
    one that was never stopped: it takes our hooks and loop in the place of MMEngine's
    ``CheckpointHook``, ``EarlyStoppingHook`` and ``EpochBasedTrainLoop``, and adds
    ``ResumeHook``.
    """

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook, ours in the place of MMEngine's."""
        if isinstance(hook, dict) and hook.get('type') in OURS:
            hook = {**hook, 'type': OURS[hook['type']]}
        super().register_hook(hook, priority)

    def register_hooks(
        self,
        default_hooks: dict[str, Hook | dict] | None = None,
        custom_hooks: list[Hook | dict] | None = None,
    ) -> None:
        """Register the hooks of the config, and the one that resumes."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(ResumeHook())

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the train loop, ours in the place of MMEngine's."""
        if isinstance(loop, dict):
            if 'type' not in loop and loop.get('by_epoch'):
                loop = {k: v for k, v in loop.items() if k != 'by_epoch'}
                loop['type'] = 'EpochBasedTrainLoop'
            if loop.get('type') == 'EpochBasedTrainLoop':
                loop = {**loop, 'type': 'ExactEpochLoop'}
        return super().build_train_loop(loop)

    def load_or_resume(self) -> None:
        """Load or resume in silence; the screen is given back whatever happens.

        The notice of the file is printed, by every process, where all else goes to the
        log.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            super().load_or_resume()
        self.call_hook('after_resume')

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
