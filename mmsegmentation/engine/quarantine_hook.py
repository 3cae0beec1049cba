import json
import sys
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.command import InputError
from mmsegmentation.datasets.leaves import infos_of, leaves_of
from mmsegmentation.datasets.quarantine import (
    LIST,
    Quarantine,
    State,
    guard,
    state_of,
)
from mmsegmentation.files import write_whole

SHOWN = 5


@HOOKS.register_module()
class QuarantineHook(Hook):
    """Name and count files that cannot be read in training, or have changed since.

    Another image of the same data set takes the place of each; MMEngine would stop, or
    replace it in silence. Each is listed in ``quarantine.jsonl`` of the work folder,
    and not read again in this run, nor after a resume, unless it has been replaced. An
    image out of the cache of decoded images is not affected.

    Args:
        share: The share of all training images that may be listed, in [0, 1].

    Raises:
        InputError: There are more.
        ValueError: ``share`` is out of range.
    """

    # Before samples are drawn for a check, as those of a resumed run.
    priority = 'HIGH'

    def __init__(self, share: float = 0.001) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f'share must be in [0, 1], got {share}')
        self.share = share
        self._list: Quarantine | None = None
        self._samples, self._read, self._told = 0, 0, 0

    def before_train(self, runner: Runner) -> None:
        """Guard the data sets, before workers are forked."""
        leaves = [
            leaf
            for leaf in leaves_of(runner.train_dataloader.dataset)
            if not getattr(leaf, 'test_mode', False)
        ]
        infos = [info for leaf in leaves for info in infos_of(leaf)]
        self._samples = sum(map(len, leaves))
        path = Path(runner.work_dir) / LIST
        self._list = Quarantine(path, int(self.share * self._samples))
        self._begin(runner, self._list)
        known: dict[str, State] = {}
        for info in infos:
            for key in ('img_path', 'seg_map_path'):
                if key in info:
                    known[str(info[key])] = state_of(str(info[key]))
        for leaf in leaves:
            guard(leaf, known, self._list)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Tell what is new in the list.

        Raises:
            InputError: It is too long.
        """
        if self._list and _size(self._list) > self._read:
            self._tell(self._list)
            if refusal := self.refusal():
                raise refusal

    def refusal(self) -> InputError | None:
        """Return what stops the run, if the list is too long."""
        found = self._list.read() if self._list else {}
        if not self._list or len(found) <= self._list.limit:
            return None
        entry = next(iter(found.values()))
        return InputError(
            entry['file'],
            f'cannot be trained on ({entry["reason"]}), like {len(found)} of '
            f'{self._samples} in all, more than a share of {self.share:g}',
            f'replace those in {self._list.path}, and go on with --resume; or raise '
            'default_hooks.quarantine.share',
        )

    def _begin(self, runner: Runner, quarantine: Quarantine) -> None:
        """Take over the list of a resumed run, but for files that were replaced."""
        earlier = quarantine.read() if runner._resume else {}
        kept = []
        for path, entry in earlier.items():
            now = state_of(path)
            if now is None or list(now) == entry.get('state'):
                quarantine.held.add(path)
                kept.append(json.dumps(entry).encode() + b'\n')
            else:
                self._say(f'{path}: was replaced, and is trained on again')
        barrier()  # all have read it
        if is_main_process():
            quarantine.path.unlink(missing_ok=True)
            if kept:
                write_whole(quarantine.path, b''.join(kept))
        barrier()
        self._read, self._told = _size(quarantine), len(kept)

    def _tell(self, quarantine: Quarantine) -> None:
        self._read = _size(quarantine)
        found = list(quarantine.read().values())
        for number, entry in enumerate(found[self._told :], self._told + 1):
            if number <= SHOWN:
                self._say(
                    f'{entry["file"]}: {entry["reason"]}; another image takes its '
                    f'place ({number} in {quarantine.path})'
                )
        self._told = len(found)

    def _say(self, line: str) -> None:
        if is_main_process():
            print(line, file=sys.stderr)


def _size(quarantine: Quarantine) -> int:
    state = state_of(str(quarantine.path))
    return state[0] if state else 0
