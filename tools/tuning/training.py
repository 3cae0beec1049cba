"""One trial's training: an ordinary run, watched and ended early by its scores."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmsegmentation.command import InputError
from tools.jobs import Call, Job
from tools.tuning.study import TRIES, Plan, Taken, patiently
from utils.error_page.curves import read_curves

# Seconds from one look at the log to the next.
INTERVAL = 0.5
# Scores that MMEngine gets in percent.
PERCENT = frozenset({'mIoU', 'mIoU_image', 'mAcc', 'aAcc'})
MEMORY = re.compile('out of memory|OutOfMemory|not enough memory|t allocate memory')
DIVERGED = re.compile(
    # Not as a part of a path.
    r'(?<![\w/.-])(nan|not finite|no longer finite|non-finite|diverged)(?![\w/-]|\.\w)',
    re.I,
)
# Left when told to, by Ctrl-C, SIGTERM or SIGHUP; and killed from outside.
TOLD = 130, 143, 129, -2, -15, -1
KILLED = 137, -9


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        state: ``complete``, ``pruned`` or ``failed``, all for good; ``stopped`` by
            someone else; ``killed``; or ``lost``: another worker has the trial.
        reason: Why, if it is not complete.
        value: Its best score, if it is.
        refused: Whether the training said that its input is wrong.
    """

    state: str
    reason: str = ''
    value: float | None = None
    refused: bool = False


class Training:
    """The training of a trial.

    Args:
        taken: The trial.
        plan: How it is judged.
        score: Name of the score, as the log has it.
        work_dir: Where it trains.
    """

    def __init__(self, taken: Taken, plan: Plan, score: str, work_dir: Path) -> None:
        self.taken, self.plan, self.score, self.work_dir = taken, plan, score, work_dir
        self.scores: list[float | None] = []
        self.losses: list[float | None] = []
        # Scores that the log has of each validation.
        self.offered: list[str] = []
        # Of an earlier worker, which may have died before it judged the last of them.
        self.reported = set(taken.reported)
        self.judged = max(self.reported, default=1) - 1

    def run(self, command: Sequence[str], call: Call) -> Outcome:
        """Train to the end, or until the scores speak against it.

        Args:
            command: Script and arguments.
            call: How it is run. It holds the trial's lock as long as it runs, and is
                told to end when this process dies.
        """
        if self.taken.tries >= TRIES:
            text = f'{TRIES} workers have ended in it'
            return Outcome('failed', f'{text}, memory may be short')
        early = self.look()  # a worker may have died after it had seen enough
        if early:
            return early
        call = replace(call, keep_open=self.taken.hold.descriptors, tied=True)
        prefix = f'trial {self.taken.number} | '
        job = Job([*command], None, prefix, call)
        try:
            while job.process.poll() is None:
                time.sleep(INTERVAL)
                early = patiently(self.look)
                if early:
                    return early
        finally:
            job.stop()
        return self.conclude(job.process.returncode, list(job.lines))

    def look(self) -> Outcome | None:
        """Report the scores that are new; return an outcome if the trial is to end."""
        if not self.taken.hold.stands():
            return Outcome('lost', 'another worker has gone on with it')
        self.read()
        if self.offered and not self.scores:
            known = ', '.join(self.offered)
            text = f'its validations have no {self.score}, but {known}'
            return Outcome('failed', f'error: --score: {text}', refused=True)
        trial = self.taken.trial
        for step, value in enumerate(self.scores, 1):
            if value is None:
                return Outcome('pruned', f'{self.score} is not a number')
            if step not in self.reported:
                trial.report(value, step)
                self.reported.add(step)
            if step <= self.judged:
                continue
            if step != self.plan.validations and trial.should_prune():
                text = f'{self.score} {value:.4f} at validation {step}'
                return Outcome('pruned', text)
            self.judged = step
        if len(self.losses) > 1 and self.losses[-2:] == [None, None]:
            return Outcome('pruned', 'the loss is not a number')
        return None

    def read(self) -> None:
        """Read scores and losses from the log of the run, if it has one yet."""
        try:
            curves = read_curves(self.work_dir)
        except InputError:
            return
        scale = 100 if self.score in PERCENT else 1
        of_validation = [step for step, _ in curves.get('mIoU', ())]
        self.offered = [
            name
            for name, points in curves.items()
            if of_validation and [at for at, _ in points] == of_validation
        ]
        self.scores = [v and round(v / scale, 8) for _, v in curves.get(self.score, ())]
        self.losses = [value for _, value in curves.get('loss', ())]

    def conclude(self, code: int, lines: Sequence[str]) -> Outcome:
        """Return how a run came to its end.

        What follows from the values counts as pruned, and the sampler keeps away from
        there; all else as failed.
        """
        if code in TOLD:
            return Outcome(
                'stopped', f'the training was told to stop (exit code {code})'
            )
        if code in KILLED:
            return Outcome('killed', 'the training was killed')
        early = patiently(self.look)
        if early:
            return early
        if code == 0:
            if self.losses and self.losses[-1] is None:
                return Outcome('pruned', 'the loss is not a number')
            if not self.scores:
                return Outcome('failed', f'its log has no {self.score}')
            known = [value for value in self.scores if value is not None]
            return Outcome(
                'complete', value=(min if self.plan.minimize else max)(known)
            )
        told = [line for line in lines if line.strip()]
        errors = [line for line in told if line.startswith('error: ')]
        reason = (errors or told or [f'exit code {code}'])[-1]
        if any(MEMORY.search(line) for line in told):
            return Outcome('pruned', f'out of memory ({reason})')
        if DIVERGED.search(reason):
            return Outcome('pruned', reason)
        return Outcome('failed', reason, refused=bool(errors))
