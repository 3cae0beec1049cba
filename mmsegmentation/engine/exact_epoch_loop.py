from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader, Sampler


@LOOPS.register_module()
class ExactEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop, which goes on in the middle of an epoch.

    MMEngine's begins the epoch anew, and trains on its first samples a second time.
    ``QuietRunner`` takes it in the place of every ``EpochBasedTrainLoop``.

    Args: as MMEngine's ``EpochBasedTrainLoop``.
    """

    def run_epoch(self) -> None:
        """Run an epoch, or what is left of it."""
        done = self._iter - self._epoch * len(self.dataloader)
        if done <= 0:
            super().run_epoch()
            return
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done < len(self.dataloader):
            for index, batch in enumerate(rest_of(self.dataloader, done), done):
                self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class _Rest(Sampler):
    """A sampler whose next pass begins late; the passes after it are whole."""

    def __init__(self, sampler: Any, skipped: int) -> None:
        self.sampler = sampler
        self.skipped = skipped

    def __iter__(self) -> Iterator[Any]:
        skipped, self.skipped = self.skipped, 0
        return islice(iter(self.sampler), skipped, None)

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:  # set_epoch and the like
        return getattr(self.sampler, name)


def rest_of(dataloader: DataLoader, done: int) -> Iterator[Any]:
    """Yield the batches of a pass from the one numbered ``done``; read none before.

    A data loader whose batches come from a sampler of their own has no known number of
    samples a batch: there the first ones are read and dropped.
    """
    batches: Any = dataloader.batch_sampler
    size = getattr(batches, 'batch_size', None)
    if size is None or not hasattr(batches, 'sampler'):
        return islice(iter(dataloader), done, None)
    batches.sampler = _Rest(batches.sampler, done * size)
    return iter(dataloader)
