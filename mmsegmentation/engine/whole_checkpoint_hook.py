import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.engine.run_state import in_own_folder
from mmsegmentation.processes import SAVED, note
from mmsegmentation.sealed import write_synced


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's hook, which loses no checkpoint when it is killed at any moment.

    A checkpoint is removed once the one that takes its place is on the disk, and
    ``last_checkpoint`` is replaced in one step. After a validation that gives a new
    best, the best checkpoint is written first, then what other hooks keep of it, then
    the state of the run that knows it, and only then the old best is removed.

    ``QuietRunner``, which writes each file whole, takes it in the place of every
    ``CheckpointHook``.

    Args: as MMEngine's ``CheckpointHook``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_step = -1
        self._in_validation = False
        self._after_val: tuple[int, dict] | None = None

    def before_train(self, runner: Runner) -> None:
        """Look for the folder and what it keeps; finish what a kill cut off."""
        super().before_train(runner)
        self.last_ckpt = runner.message_hub.get_info('last_ckpt', '')
        if runner._resume:
            self._remove_outdated(runner)
            self._remove_former_best()
            self._forget_missing_best(runner)
            self._name_last(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Write the best checkpoint, if it is one, beside the best before."""
        best = self._best()
        for key in best:
            self._set_best(key, None)  # or MMEngine would remove it first
        self._in_validation = True
        try:
            super().after_val_epoch(runner, metrics)
        finally:
            self._in_validation = False
            for key, path in best.items():
                self._set_best(key, self._best()[key] or path)

    def after_val(self, runner: Runner) -> None:
        """Write the state that knows the new best; remove those that it is better than.

        All other hooks have kept by now what they keep of the validation.
        """
        if self._after_val:
            (step, meta), self._after_val = self._after_val, None
            self._save_checkpoint_with_step(runner, step, meta)
            self._remove_former_best()

    def save_now(self, runner: Runner, epoch: int, step: int) -> None:
        """Write a checkpoint between two that are due, if there is none of this step.

        It is removed when the next one is written.

        Args:
            epoch: Epochs that are done.
            step: Iterations that are done.
        """
        if self.last_step == step:
            return
        name = f'iter_{step}.pth'
        runner.message_hub.update_info('stopgap_ckpt', name)
        self._write(runner, name, {'epoch': epoch, 'iter': step})

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self._in_validation:
            self._after_val = step, meta
            return
        hub = runner.message_hub
        name = self.filename_tmpl.format(step)
        outdated = [hub.pop_info('stopgap_ckpt', None)]
        if self.max_keep_ckpts > 0:
            ids = [i for i in self.keep_ckpt_ids if i != step]
            while len(ids) >= self.max_keep_ckpts:
                outdated.append(self.filename_tmpl.format(ids.pop(0)))
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend([*ids, step])
            hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        hub.update_info('outdated_ckpts', [n for n in outdated if n and n != name])
        self._write(runner, name, meta)
        self._remove_outdated(runner)

    def _write(self, runner: Runner, name: str, meta: dict) -> None:
        self.last_step = meta['iter']
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.call_hook('before_checkpoint', step=self.last_step)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            _write_last(runner, self.last_ckpt)
            note(SAVED)

    def _name_last(self, runner: Runner) -> None:
        """Let ``last_checkpoint`` name what a run in its own folder goes on from."""
        if is_main_process() and in_own_folder(runner):
            name = Path(str(runner._load_from)).name
            path = self.file_backend.join_path(self.out_dir, name)
            _write_last(runner, path)

    def _remove_outdated(self, runner: Runner) -> None:
        for name in runner.message_hub.get_info('outdated_ckpts', []):
            self._remove(name)

    def _forget_missing_best(self, runner: Runner) -> None:
        """Let the next validation give a best checkpoint where there is none."""
        for key, path in self._best().items():
            here = self.file_backend.join_path(self.out_dir, Path(path or '').name)
            if path and not self.file_backend.isfile(here):
                self._set_best(key, None)
                more = '' if len(self.key_indicators) == 1 else f'_{key}'
                runner.message_hub.pop_info(f'best_score{more}')

    def _remove_former_best(self) -> None:
        """Remove what is best no more, also what a killed run left."""
        found = list(self.file_backend.list_dir_or_file(self.out_dir, list_dir=False))
        names = re.escape(self.filename_tmpl).replace(r'\{\}', r'\d+')
        for key, path in self._best().items():
            pattern = re.compile(rf'best_{re.escape(key.replace("/", "_"))}_{names}')
            for name in found:
                if path and pattern.fullmatch(name) and name != Path(path).name:
                    self._remove(name)

    def _remove(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)

    def _best(self) -> dict[str, str | None]:
        """Return the path of the best checkpoint by each score."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return {key: self.best_ckpt_path_dict.get(key) for key in self.key_indicators}

    def _set_best(self, key: str, path: str | None) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path


def _write_last(runner: Runner, path: str) -> None:
    write_synced(Path(runner.work_dir) / 'last_checkpoint', [str(path).encode()])
