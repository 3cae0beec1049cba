"""The loss of a decode head without its costliest part, which is no loss."""

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.utils import SampleList
from torch import Tensor, nn


class FastLossHead(BaseDecodeHead):
    """A decode head whose accuracy is found by a maximum instead of a sort.

    Labels may also come as uint8.
    """

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Return MMSegmentation's losses and ``acc_seg``, with the same numbers.

        Args:
            seg_logits: (N, classes, h, w), resized to the size of the labels here.
            batch_data_samples: Samples with ``gt_sem_seg``, (1, H, W).
        """
        seg_label = self._stack_batch_gt(batch_data_samples).long()
        seg_logits = resize(
            seg_logits,
            size=seg_label.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
        )
        seg_weight = None
        if self.sampler is not None:
            seg_weight = self.sampler.sample(seg_logits, seg_label)
        seg_label = seg_label.squeeze(1)
        parts = self.loss_decode
        losses: dict[str, Tensor] = {}
        for part in parts if isinstance(parts, nn.ModuleList) else [parts]:
            value = part(
                seg_logits,
                seg_label,
                weight=seg_weight,
                ignore_index=self.ignore_index,
            )
            name = str(part.loss_name)
            losses[name] = losses[name] + value if name in losses else value
        losses['acc_seg'] = self._accuracy(seg_logits, seg_label)
        return losses

    @torch.no_grad()
    def _accuracy(self, seg_logits: Tensor, seg_label: Tensor) -> Tensor:
        """Return the percentage of right pixels, (1,), as MMSegmentation's accuracy."""
        # A maximum over the classes; argmax alone is several times slower on a CPU.
        right = seg_logits.max(dim=1).indices == seg_label
        counted = seg_label != self.ignore_index
        eps = torch.finfo(torch.float32).eps
        hits = (right & counted).sum(dtype=torch.float32) + eps
        return (hits * (100.0 / (counted.sum() + eps))).reshape(1)
