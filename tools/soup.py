"""Means of weights, and what they are worth on the validation part."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from mmsegmentation.checkpoints import load_weights
from mmsegmentation.command import progress

Weights = dict[str, Tensor]
Read = Callable[[str], Weights]


@dataclass(frozen=True)
class Soup:
    """A mean of members.

    Attributes:
        weights: By name, as a checkpoint has them.
        taken: The members, in the order in which they were taken.
        score: Its mIoU on the validation part, in [0, 1].
    """

    weights: Weights
    taken: list[str]
    score: float


class Mean:
    """The mean of members' weights, summed in float64.

    What is no float (counts, index tables) is that of the first member.
    """

    def __init__(self, first: Weights) -> None:
        self.count = 1
        self._first = first
        self._sums = {n: w.double() for n, w in first.items() if w.is_floating_point()}

    def add(self, weights: Weights) -> None:
        """Take in one more member."""
        self.count += 1
        for name in self._sums:
            self._sums[name] = self._sums[name] + weights[name].double()

    def result(self, more: Weights | None = None) -> Weights:
        """Return the mean, each weight in its own type.

        Args:
            more: A member that counts this once.
        """
        found = dict(self._first)
        for name, total in self._sums.items():
            if more is not None:
                total = total + more[name].double()
            mean = total / (self.count + (more is not None))
            found[name] = mean.to(self._first[name].dtype)
        return found


class Judge:
    """Scores weights by the test loop of a runner.

    Args:
        runner: As of :func:`tools.test.build_tester`, with an ``ExactIoUMetric``.
        batches: Gives batches of training images, always the same ones, for the
            statistics of batch norms; None leaves these as they are.
        count: Number of batches, for the progress bar.
    """

    def __init__(
        self,
        runner: Runner,
        batches: Callable[[], Iterable[dict]] | None,
        count: int | None = None,
    ) -> None:
        self.runner = runner
        self.batches = batches
        self.count = count

    def score(self, weights: Weights) -> float:
        """Return the mIoU of weights, in [0, 1].

        Raises:
            InputError: They do not fit the model.
        """
        load_weights(self.runner.model, weights, 'average')
        self.runner.test()
        metric: Any = self.runner.test_evaluator.metrics[-1]
        return metric.last_scores['mIoU']

    def refresh(self, weights: Weights) -> Weights:
        """Return a mean with batch norm statistics of its own.

        Those of the members belong to other weights than their mean.
        """
        if self.batches is None:
            return weights
        load_weights(self.runner.model, weights, 'average')
        torch.manual_seed(0)  # of dropout: the same mean has the same statistics
        batches = progress(self.batches(), 'statistics of batch norms', self.count)
        update_bn(batches, _TrainingPass(self.runner.model))
        own = self.runner.model.state_dict()
        return {name: own.get(name, old).cpu().clone() for name, old in weights.items()}


class _TrainingPass(nn.Module):
    """Takes a batch through a model as in training."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> Any:
        data = self.model.data_preprocessor(batch, True)
        return self.model(**data, mode='loss')


def has_running_statistics(model: nn.Module) -> bool:
    """Return whether a model has batch norms that keep statistics."""
    norms = (part for part in model.modules() if isinstance(part, _BatchNorm))
    return any(norm.track_running_stats for norm in norms)


def first_of(loader: DataLoader, count: int) -> Callable[[], Iterable[dict]]:
    """Return what gives the first ``count`` batches of a loader, again and again."""

    def batches() -> Iterable[dict]:
        if hasattr(loader.sampler, 'skip'):  # an endless one goes on where it was
            loader.sampler.skip(0)
        return islice(loader, count)

    return batches


def best_alone(
    names: Sequence[str], scores: Sequence[float], read: Read, judge: Judge
) -> Soup:
    """Return the best member, which a mean has to equal; of equal ones the first.

    Where means get fresh statistics of batch norms, it is tried with these too: what
    they bring is no merit of the mean.
    """
    score, name = max(scores), names[scores.index(max(scores))]
    weights = read(name)
    fresh = judge.refresh(weights)
    if fresh is weights:
        return Soup(weights, [name], score)
    renewed = judge.score(fresh)
    print(f'{name}, fresh statistics: mIoU {renewed:.4f}', flush=True)
    if renewed > score:
        return Soup(fresh, [name], renewed)
    return Soup(weights, [name], score)


def uniform(names: Sequence[str], read: Read, judge: Judge) -> Soup:
    """Return the even mean of all members, as SWA has it (Izmailov et al., 2018).

    Args:
        names: Of the members.
        read: Gives the weights of one.
    """
    mean = Mean(read(names[0]))
    for name in names[1:]:
        mean.add(read(name))
    weights = judge.refresh(mean.result())
    return Soup(weights, list(names), judge.score(weights))


def greedy(
    names: Sequence[str],
    scores: Sequence[float],
    start: Soup,
    read: Read,
    judge: Judge,
) -> Soup:
    """Return the greedy soup (Wortsman et al., 2022, https://arxiv.org/abs/2203.05482).

    From the best member on, each one is taken if the mean with it scores no less than
    the mean without it: the result is never below the best member.

    Args:
        names: Of the members; of equal ones the earlier one comes first.
        scores: Their mIoU.
        start: What :func:`best_alone` returned.
        read: Gives the weights of one.
    """
    mean, soup = Mean(read(start.taken[0])), start
    order = sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])
    for name in (name for name, _ in order if name not in start.taken):
        weights = read(name)
        mixed = judge.refresh(mean.result(weights))
        score = judge.score(mixed)
        print(f'  with {name}: mIoU {score:.4f}', flush=True)
        if score >= soup.score:
            mean.add(weights)
            soup = Soup(mixed, [*soup.taken, name], score)
    return soup
