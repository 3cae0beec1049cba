import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SoftmaxFocalLoss(nn.Module):
    """Cross entropy over all classes, times ``(1 - p) ** gamma``.

    ``p`` is the probability of the true class: pixels that are sure already count
    little. With ``gamma`` 0 it is the cross entropy. MMSegmentation's ``FocalLoss`` is
    another: a sigmoid for each class alone, which needs mmcv's compiled operators.
    After Focal Loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002).

    Args:
        gamma: How much less sure pixels count, 0 or more.
        loss_weight: Factor of the loss.
        loss_name: Its name in the log; MMEngine sums what begins with ``loss``.

    Raises:
        ValueError: ``gamma`` is negative.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f'gamma must be 0 or more, got {gamma}')
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Return the mean over all pixels that are not ignored; 0 where all are.

        Of several processes in training they are those of all; the mean of their
        results counts. In evaluation each stands for itself.

        Args:
            cls_score: Logits, (N, classes, H, W).
            label: True class ids, (N, H, W) int64.
            weight: Factor of each pixel, (N, H, W).
        """
        losses = F.cross_entropy(
            cls_score, label, ignore_index=ignore_index, reduction='none'
        )
        doubt = -torch.expm1(-losses)  # 1 - p, exact where p is close to 1
        # The slope of 0 ** gamma is endless below a gamma of 1.
        doubt = doubt.clamp(min=torch.finfo(doubt.dtype).tiny)
        losses = doubt**self.gamma * losses
        if weight is not None:
            losses = losses * weight
        count = (label != ignore_index).sum().double()
        if self.training:
            all_reduce(count, 'mean')
        return self.loss_weight * losses.sum() / count.clamp(min=1).to(losses.dtype)
