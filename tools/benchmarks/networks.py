"""Both networks as we build them and as MMSegmentation does, with the same weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsegmentation.models.fast_linear import FastLinear

HOME = Path(__file__).resolve().parents[2]
SIZES = {'convnext': 512, 'beit': 640}
TITLES = {'convnext': 'UPerNet ConvNeXt-T', 'beit': 'UPerNet BEiT-B'}
STOCK = {
    'FastEncoderDecoder': 'EncoderDecoder',
    'FastUPerHead': 'UPerHead',
    'FastFCNHead': 'FCNHead',
    'FastBEiT': 'BEiT',
    'FastSegDataPreProcessor': 'SegDataPreProcessor',
    'SyncBN': 'BN',
}


def model_cfg(name: str, size: int, *, stock: bool) -> ConfigDict:
    """Return the model of ``_base_/models`` for square images, whole at test.

    Args:
        name: A key of ``SIZES``.
        stock: In MMSegmentation's own parts. Its ConvNeXt is another project's, so ours
            serves both, there with PyTorch's own linear layers.
    """
    cfg = Config.fromfile(HOME / f'_base_/models/upernet_{name}.py').model
    cfg.test_cfg = dict(mode='whole')
    cfg.data_preprocessor.size = (size, size)
    if name == 'beit':
        cfg.backbone.img_size = (size, size)
    names = STOCK if stock else {'SyncBN': 'BN'}
    return _renamed(cfg, names)


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, dict):
        renamed = {key: _renamed(value, names) for key, value in part.items()}
        if isinstance(part.get('type'), str):
            renamed['type'] = names.get(part['type'], part['type'])
        return ConfigDict(renamed)
    if isinstance(part, list | tuple):
        return type(part)(_renamed(each, names) for each in part)
    return part


def build_pair(name: str, size: int, device: str) -> tuple[Any, Any]:
    """Return our model and MMSegmentation's with the same random weights."""
    # It would list every weight that is initialised.
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.manual_seed(0)
    stock = MODELS.build(model_cfg(name, size, stock=True))
    for layer in stock.modules():
        if type(layer) is FastLinear:
            layer.__class__ = nn.Linear  # type: ignore[assignment]
    stock.init_weights()
    for head in (stock.decode_head, stock.auxiliary_head):
        nn.init.normal_(head.conv_seg.weight, std=0.1)
    ours = MODELS.build(model_cfg(name, size, stock=False))
    ours.load_state_dict(stock.state_dict())
    return ours.to(device), stock.to(device)


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a share of the peer's largest value."""
    scale = theirs.abs().max().clamp_min(1e-30)
    return float((ours.float() - theirs.float()).abs().max() / scale)


def gradients_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return what a backward pass left behind; nothing where a weight has none."""
    return [t.grad if t.grad is not None else torch.zeros_like(t) for t in tensors]
