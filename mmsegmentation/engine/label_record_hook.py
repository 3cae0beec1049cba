import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsegmentation.datasets.label_counts import MASKS, read_masks
from mmsegmentation.datasets.leaves import home_of, infos_of, leaves_of
from mmsegmentation.datasets.quarantine import reads_plain_masks
from mmsegmentation.datasets.sample_facts import mask_checksums


@HOOKS.register_module()
class LabelRecordHook(Hook):
    """Print a line if the training masks changed since a resumed checkpoint.

    Each checkpoint records a checksum of every training mask. The checksum depends on
    the class ids only, so that a data root may be moved or copied. It costs no time,
    because the check of the data has read the masks already. For stock data sets the
    checksums of up to 1,000 masks are recorded.
    """

    def __init__(self) -> None:
        self._now: dict[str, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Compute the checksums of the training masks."""
        if is_main_process():
            for leaf in leaves_of(runner.train_dataloader.dataset):
                self._now.update(_checksums_of(leaf))

    def state_dict(self) -> dict[str, Any]:
        """Return the checksum of each mask; ``ResumeHook`` keeps it."""
        return {'masks': dict(self._now)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Print the differences between the recorded checksums and the present ones."""
        before, now = state['masks'], self._now
        if not (is_main_process() and before and now) or before == now:
            return
        gone, new = before.keys() - now.keys(), now.keys() - before.keys()
        changed = {name for name in before.keys() & now if before[name] != now[name]}
        print(
            f'training masks since the checkpoint: {len(changed)} changed, {len(new)} '
            f'new, {len(gone)} gone, {min(changed or new or gone)} first; the run '
            'continues with the present masks',
            flush=True,
        )


def _checksums_of(leaf: Any) -> dict[str, int]:
    """Return the checksum of each mask that is read, by its path in the data root."""
    own = hasattr(leaf, 'class_pixels')
    if not (getattr(leaf, 'check_labels', True) if own else reads_plain_masks(leaf)):
        return {}
    infos = infos_of(leaf)
    chosen = infos if own else infos[:: max(1, -(-len(infos) // MASKS))]
    found = read_masks(leaf, chosen, mask_checksums) or {}
    home = home_of(leaf) or Path()
    return {
        Path(os.path.relpath(path, home)).as_posix(): checksum
        for path, checksum in found.items()
    }
