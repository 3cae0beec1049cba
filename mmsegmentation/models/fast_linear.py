"""Products by oneDNN, which PyTorch uses for convolutions and not for matrices."""

import torch
from mmcv.cnn import Linear
from torch import Tensor, nn
from torch.nn import functional

# Multiplications below which the product is too small to tell.
LEAST_WORK = 1 << 22
PLAIN = nn.Linear, Linear


class FastLinear(nn.Linear):
    """A linear layer that on a CPU is computed by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) of (..., in_features)."""
        return linear(x, self.weight, self.bias)


def use_fast_linear(module: nn.Module) -> None:
    """Make each plain linear layer of a module a :class:`FastLinear`, weights kept."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and type(layer) in PLAIN:
                # Without weights of its own: no random number is drawn.
                fast = FastLinear(layer.in_features, layer.out_features, device='meta')
                fast.weight, fast.bias = layer.weight, layer.bias
                setattr(parent, name, fast)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``functional.linear(x, weight, bias)``, on a CPU by oneDNN.

    PyTorch multiplies float32 matrices by MKL, which on processors of AMD leaves
    AVX-512 alone; oneDNN, by which it convolves, does not, and is there twice as fast
    (where AVX2 is all there is, both are alike). So the product is a 1x1 convolution
    over the rows of ``x``, in the backward pass too. Sums are rounded in another order.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,), if any.

    Returns:
        (..., N).
    """
    if not _pays(x, weight):
        return functional.linear(x, weight, bias)
    # All in one line of pixels: one column of them has a slow gradient for the weight.
    rows = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    product = functional.conv2d(rows, weight[:, :, None, None], bias)
    return product.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.numel() * len(weight) >= LEAST_WORK
        and not torch.is_autocast_enabled('cpu')
        and not torch.compiler.is_compiling()
        and not torch.onnx.is_in_onnx_export()
    )
