"""Batch norm over the batches of all processes, where PyTorch's has no kernel."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


class CPUSyncBatchNorm(_BatchNorm):
    """PyTorch's ``SyncBatchNorm`` for the CPU, which that refuses.

    In training the mean and variance are those of all processes' batches together, as
    one process with the whole batch has them; so are the running ones. Every process
    must come by as often. With one process, and in evaluation, it is ``BatchNormNd``.
    There is no second derivative.

    Args: as PyTorch's ``SyncBatchNorm``.
    """

    @classmethod
    def in_place_of(cls, norm: _BatchNorm) -> 'CPUSyncBatchNorm':
        """Return one that has the settings, parameters and buffers of another norm."""
        new = cls(
            norm.num_features,
            norm.eps,
            norm.momentum,
            norm.affine,
            norm.track_running_stats,
        )
        new._parameters, new._buffers = norm._parameters, norm._buffers
        return new.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel.

        Args:
            x: (N, C, ...), with N of the process's own.
        """
        if not (self.training and distributed.is_initialized()):
            return super().forward(x)
        result, mean, variance, count = _Normalise.apply(
            x, self.weight, self.bias, self.eps
        )
        if self.track_running_stats:
            self._track(mean, variance * count / (count - 1))
        return result

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'expected (N, C, ...), got {input.dim()} dimensions')

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        part = self.momentum
        if part is None:
            part = 1 / int(self.num_batches_tracked)
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(now.to(running.dtype), part)


class _Normalise(Function):
    """Normalise; give the mean, the variance and the number of values too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, ...]:
        mean, variance, count = _of_all_processes(x)
        mean, variance = (v.to(_precision(x)) for v in (mean, variance))
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.count = float(count)
        found = mean, variance, count
        ctx.mark_non_differentiable(*found)
        return batch_norm(x, mean, variance, weight, bias, eps=eps), *found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        dims, view = _dims(x), (-1, *[1] * (x.dim() - 2))
        grad = grad.to(mean.dtype)
        unit = (x - mean.view(view)) * scale.view(view)
        of_bias, of_weight = grad.sum(dims), (grad * unit).sum(dims)
        # The mean and variance pass gradients on to the values of all processes.
        sums = torch.stack([of_bias, of_weight])
        distributed.all_reduce(sums)
        shift, slope = (s.view(view) for s in sums / ctx.count)
        of_x = (grad - shift - unit * slope).mul_(scale.view(view))
        if weight is None:
            return of_x.to(x.dtype), None, None, None
        of_x = of_x.mul_(weight.view(view)).to(x.dtype)
        return of_x, of_weight.to(weight), of_bias.to(weight), None


def sync_on_cpu(model: nn.Module, every: bool) -> None:
    """Synchronise the batch norms of a model by ``CPUSyncBatchNorm``.

    Args:
        every: Also those that PyTorch would not, as ``sync_bn`` of a config asks.
    """
    kinds = (_BatchNorm,) if every else (nn.SyncBatchNorm,)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kinds) and not isinstance(child, CPUSyncBatchNorm):
                parent.add_module(name, CPUSyncBatchNorm.in_place_of(child))


def _of_all_processes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each channel's mean and variance over all processes, and the count."""
    variance, mean = torch.var_mean(x.to(_precision(x)), _dims(x), correction=0)
    count = mean.new_full((1,), x.numel() / x.shape[1])
    own = torch.cat([mean, variance, count]).double()
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    sizes = [x.shape[1], x.shape[1], 1]
    means, variances, counts = torch.stack(parts).split(sizes, dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean, variance, total


def _dims(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _precision(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
