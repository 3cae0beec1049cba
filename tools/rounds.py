"""What a round of self-training leaves: its models, and how they are judged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.resume import noted_checkpoint

# Arguments that decide which labels are made, and those of trainings after round 0.
LABELLING = 'precision', 'min_region', 'min_kept', 'soft'
TRAINING = 'pseudo_config', 'final_config', 'fresh'


@dataclass(frozen=True)
class Model:
    """A model that was trained.

    Attributes:
        config: What it was trained by.
        work_dir: Where its checkpoints are.
        fold: The fold that it left out, if it did.
    """

    config: str
    work_dir: Path
    fold: int | None

    @property
    def checkpoint(self) -> Path:
        """The last one: the best was chosen on the images that it is judged by."""
        path = noted_checkpoint(self.work_dir)
        if path is None:
            raise InputError(
                self.work_dir / 'last_checkpoint',
                'names no checkpoint',
                'pass --overwrite to begin anew',
            )
        return path


@dataclass(frozen=True)
class Round:
    """The models of a round, one for each fold.

    Attributes:
        number: 0 is the one without pseudo labels.
        models: Its models.
        judged: Their predictions of images that they were not trained on.
        real: The same round on real labels alone, from the same checkpoints and for as
            many steps. None for round 0, and for such a round itself.
        verdicts: The records of ``utils/gate.py`` by name. ``pseudo_real`` compares
            this round with ``real``. ``pseudo_before`` compares it with the previous
            round. ``real_before`` compares ``real`` with the previous round. Empty
            without ``real``.
    """

    number: int
    models: Sequence[Model]
    judged: Path
    real: 'Round | None' = None
    verdicts: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the next round starts from this one.

        It must be better than real labels alone, because otherwise the gain comes from
        the longer training. It must also be better than the previous round, because
        otherwise the longer training did harm.
        """
        names = 'pseudo_real', 'pseudo_before'
        return not self.verdicts or all(self.verdicts[n]['passed'] for n in names)

    @property
    def real_passed(self) -> bool:
        """Whether the training on real labels alone beat the previous round."""
        return bool(self.verdicts) and bool(self.verdicts['real_before']['passed'])


def free_arguments(steps: Iterable[str]) -> dict[str, list[str]]:
    """Return the arguments that a resumed run may change.

    How labels are made may change until a training with the labels of the last round
    has begun: earlier rounds stay as they are.

    Args:
        steps: The names of the steps that were begun, such as ``round1/fold0/label``.

    Returns:
        By argument, the steps to take again if it changes.

    >>> free_arguments(['round0/train', 'round1/label', 'round1/train'])
    {}
    >>> free_arguments(['round1/train', 'round2/test', 'round2/label'])['precision']
    ['round2/label']
    """
    later = [name for name in steps if not name.startswith('round0/')]
    last = [name for name in later if _round_of(name) == _round_of(later[-1])]
    labels = [name for name in last if name.endswith('/label')]
    free: dict[str, list[str]] = {}
    if not any(name.endswith('/train') for name in last):
        free |= dict.fromkeys(LABELLING, labels)
    if not any(name.endswith('/train') for name in later):
        free |= {key: [] for key in TRAINING}
    return free


def _round_of(step: str) -> str:
    return step.partition('/')[0]
