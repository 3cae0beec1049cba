from mmseg.models.losses.dice_loss import dice_loss
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import one_hot


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

        Args:
            cls_score: Logits, (N, classes, H, W).
            label: True class ids, (N, H, W) int64.
            weight: Factor of each pixel, (N, H, W), as a sampler of pixels gives it.
        """
        counted = (label != ignore_index).to(cls_score.dtype)
        if weight is not None:
            counted = counted * weight
        probs = cls_score.softmax(dim=1) * counted[:, None]
        ids = label.where(label != ignore_index, 0)
        truth = one_hot(ids, cls_score.shape[1]).movedim(-1, 1) * counted[:, None]
        present = truth.sum((0, 2, 3)) > 0
        if not present.any():
            return cls_score.sum() * 0
        # dice_loss has a value for each image: here a class stands in its place.
        by_class = [maps.transpose(0, 1)[present] for maps in (probs, truth)]
        return self.loss_weight * dice_loss(
            *by_class,
            weight=None,
            eps=self.eps,
            naive_dice=self.naive_dice,
            ignore_index=None,
        )
