import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mmsegmentation.models.shared_loss import sum_of_all


@MODELS.register_module()
class ClasswiseDiceLoss(nn.Module):
    """MMSegmentation's Dice of each class by itself, over the pixels with a label.

    MMSegmentation's ``DiceLoss`` pools all classes of an image, so that the background
    outweighs them, and takes a pixel of ``ignore_index`` for one in which every class
    is wrong. Here the classes that occur in the batch count alike, as in its
    ``LovaszLoss``; each one's value is that of its ``dice_loss``.
    After V-Net (Milletari et al., 2016, https://arxiv.org/abs/1606.04797).

    Args:
        naive_dice: Sums instead of sums of squares below the line.
        eps: Keeps the fraction finite.
        loss_weight: Factor of the loss.
        loss_name: Its name in the log; MMEngine sums what begins with ``loss``.
    """

    def __init__(
        self,
        naive_dice: bool = False,
        eps: float = 1e-3,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dice',
    ) -> None:
        super().__init__()
        self.naive_dice = naive_dice
        self.eps = eps
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Return the mean over the classes that occur; 0 where no pixel has a label.

        In distributed training the sums run over the pixels of all processes. In
        evaluation each process counts its own pixels only.

        Args:
            cls_score: Logits, (N, classes, H, W).
            label: True class ids, (N, H, W) int64.
            weight: Factor of each pixel, (N, H, W), as a sampler of pixels gives it.
        """
        # Half precision could not count the pixels.
        dtype = torch.promote_types(cls_score.dtype, torch.float32)
        cls_score, counted = cls_score.to(dtype), (label != ignore_index).to(dtype)
        if weight is not None:
            counted = counted * weight
        probs = cls_score.softmax(dim=1) * counted[:, None]
        ids = label.where(label != ignore_index, 0)
        truth = one_hot(ids, cls_score.shape[1]).movedim(-1, 1) * counted[:, None]
        power = 1 if self.naive_dice else 2
        terms = probs * truth, probs**power, truth**power, truth
        sums = torch.stack([term.sum((0, 2, 3)) for term in terms])
        if self.training:
            sums = sum_of_all(sums)
        both, predicted, true, pixels = sums
        present = pixels > 0
        if not present.any():
            return cls_score.sum() * 0
        # The eps is added where MMSegmentation's dice_loss adds it.
        above, below = (self.eps, self.eps) if self.naive_dice else (0, 2 * self.eps)
        dice = (2 * both + above) / (predicted + true + below)
        return self.loss_weight * (1 - dice[present]).mean()
