"""What a round of self-training leaves: its models, and how they are judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.resume import noted_checkpoint


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
        verdict: What ``utils/gate.py`` said of it; none for round 0.
    """

    number: int
    models: Sequence[Model]
    judged: Path
    verdict: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether its models are to be used rather than those before."""
        return self.verdict is None or bool(self.verdict['passed'])
