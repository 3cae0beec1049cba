"""The UPerNet ConvNeXt of Hugging Face's transformers, as a peer of predictions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import read_mask
from mmsegmentation.models.translate import translate


def build_peer(ours: Any, device: str) -> Any:
    """Return their ConvNeXt-T with random weights, and put the same into ``ours``."""
    from transformers import ConvNextConfig, UperNetConfig
    from transformers import UperNetForSemanticSegmentation as UperNet

    stages = ['stage1', 'stage2', 'stage3', 'stage4']
    backbone = ConvNextConfig(out_features=stages)
    torch.manual_seed(0)
    config = UperNetConfig(
        backbone_config=backbone,
        num_labels=len(CLASSES),
        hidden_size=512,
        auxiliary_in_channels=384,
    )
    theirs = UperNet(config).eval()
    torch.nn.init.normal_(theirs.decode_head.classifier.weight, std=0.1)
    ours.load_state_dict(translate(theirs.state_dict()).weights)
    return theirs.to(device)


def loop(peer: Any, root: Path, device: str) -> Callable[[], list[np.ndarray]]:
    """Return what predicts all images, writes masks and returns them."""
    images = sorted((root / 'test/images').glob('*.jpg'))
    out = root / 'transformers'
    out.mkdir()
    return partial(_predict, peer, images, out, device)


def _predict(peer: Any, images: list[Path], out: Path, device: str) -> list[np.ndarray]:
    mean = torch.tensor([123.675, 116.28, 103.53], device=device)[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375], device=device)[:, None, None]
    found = []
    for path in images:
        image = mmcv.imread(path, channel_order='rgb')
        batch = torch.from_numpy(image).to(device).permute(2, 0, 1)
        with torch.no_grad():
            logits = peer(((batch.float() - mean) / std)[None]).logits
        label_map = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
        mask = out / f'{path.stem}.png'
        cv2.imwrite(str(mask), label_map)
        found.append(read_mask(mask))
    return found
