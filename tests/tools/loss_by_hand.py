"""The loss of a checkpoint over the validation part, by PyTorch's functions alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS
from torch.nn.functional import cross_entropy, interpolate

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.runtime import quiet, read_config


def loss_by_hand(
    config: str,
    path: Path,
    class_weight: torch.Tensor | None = None,
    options: Sequence[str] = (),
) -> np.ndarray:
    """Return the mean over images of both heads' cross entropies."""
    cfg = read_config(config, options)
    with quiet():
        model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
    model.load_state_dict(check_checkpoint(str(path))['state_dict'])
    losses = []
    for i in range(len(dataset)):
        data = model.data_preprocessor(pseudo_collate([dataset[i]]), False)
        truth = data['data_samples'][0].gt_sem_seg.data.long()
        with torch.no_grad():
            maps = model.backbone(data['inputs'])
            heads = (model.decode_head(maps), model.auxiliary_head(maps))
        found = []
        for logits in heads:
            logits = interpolate(logits, size=truth.shape[1:], mode='bilinear')
            found.append(cross_entropy(logits, truth, class_weight, ignore_index=255))
        losses.append((found[0].item(), 0.4 * found[1].item()))
    return np.mean(losses, axis=0)
