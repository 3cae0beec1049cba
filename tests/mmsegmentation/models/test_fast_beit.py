import re

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.backbones import BEiT
from mmseg.registry import MODELS
from torch import nn

from mmsegmentation.command import InputError
from mmsegmentation.models import FastBEiT
from mmsegmentation.models.fast_beit import _places

SMALL = dict(
    patch_size=4,
    embed_dims=8,
    num_layers=2,
    num_heads=2,
    mlp_ratio=2,
    out_indices=(0, 1),
    init_values=0.1,
)
HEADS = {'head.weight': torch.zeros(5, 8), 'fc_norm.bias': torch.zeros(8)}


def microsofts_name(name: str) -> str:
    for pattern, theirs in {
        r'^layers\.': 'blocks.',
        r'\.ln(\d)': r'.norm\1',
        r'\.ffn\.layers\.0\.0': '.mlp.fc1',
        r'\.ffn\.layers\.1': '.mlp.fc2',
        r'\.projection': '.proj',
    }.items():
        name = re.sub(pattern, theirs, name)
    return name


def write_microsofts_file(path, model: BEiT) -> str:
    weights = {microsofts_name(k): v for k, v in model.state_dict().items()}
    torch.save({'model': weights | HEADS}, path)
    return str(path)


@pytest.fixture
def source() -> BEiT:
    torch.manual_seed(0)
    model = BEiT(img_size=28, **SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    model.eval()
    return model


def test_beit__loads_microsofts_file(tmp_path, source: BEiT) -> None:
    path = write_microsofts_file(tmp_path / 'beit.pth', source)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    model = FastBEiT(img_size=28, init_cfg=init_cfg, **SMALL)
    model.init_weights()
    model.eval()
    image = torch.rand(1, 3, 28, 28)
    for mine, theirs in zip(model(image), source(image), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_beit__starts_from_a_stock_checkpoint_of_a_whole_model(
    tmp_path, source: BEiT
) -> None:
    """What MMSegmentation saves: its own names, a prefix, and the heads beside."""
    weights = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    weights['decode_head.conv_seg.weight'] = torch.zeros(11, 8, 1, 1)
    path = tmp_path / 'iter_1.pth'
    torch.save({'meta': {}, 'state_dict': weights}, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    model = FastBEiT(img_size=28, init_cfg=init_cfg, **SMALL)
    model.init_weights()
    model.eval()
    assert model.state_dict().keys() == source.state_dict().keys()
    image = torch.rand(1, 3, 28, 28)
    for mine, theirs in zip(model(image), source(image), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_beit__resizes_the_table_and_keeps_the_class_tokens(
    tmp_path, source: BEiT
) -> None:
    path = write_microsofts_file(tmp_path / 'beit.pth', source)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    model = FastBEiT(img_size=80, init_cfg=init_cfg, **SMALL)
    model.init_weights()
    old = source.layers[0].attn.relative_position_bias_table
    new = model.layers[0].attn.relative_position_bias_table
    assert new.shape == (39 * 39 + 3, 2)
    torch.testing.assert_close(new[-3:], old[-3:])
    old_map, new_map = old[:-3].reshape(13, 13, 2), new[:-3].reshape(39, 39, 2)
    # A spline passes through its points: distances 0 and 1 step, and the corners.
    torch.testing.assert_close(new_map[19, 19], old_map[6, 6])
    torch.testing.assert_close(new_map[19, 20], old_map[6, 7])
    torch.testing.assert_close(new_map[0, 38], old_map[0, 12], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('old', 'new'), [(13, 39), (27, 79), (27, 63), (27, 13)])
def test_places__reach_the_ends_and_start_with_one(old: int, new: int) -> None:
    places = _places(old, new)
    middle = old // 2
    assert len(places) == old
    assert places[middle] == 0
    assert places[middle + 1] == 1
    np.testing.assert_allclose(places[[0, -1]], [-(new // 2), new // 2])


def test_beit__refuses_a_file_that_does_not_fit(tmp_path, source: BEiT) -> None:
    torch.save({'model': {'some.other': torch.zeros(1)}}, tmp_path / 'other.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'))
    model = FastBEiT(img_size=28, init_cfg=init_cfg, **SMALL)
    with pytest.raises(ValueError, match=r'does not fit this BEiT: \d+ of \d+ '):
        model.init_weights()


def test_beit__starts_from_scratch_without_a_file() -> None:
    torch.manual_seed(0)
    model = FastBEiT(img_size=28, **SMALL)
    model.init_weights()
    assert 0.01 < model.layers[0].attn.qkv.weight.std() < 0.03


@torch.no_grad()
@pytest.mark.parametrize(
    ('limit', 'kept'),
    [(None, 2), (0, 0), (19_999, 0), (20_000, 1), (39_999, 1), (40_000, 2)],
)
def test_beit__keeps_as_many_biases_as_it_may(source: BEiT, limit, kept) -> None:
    # 2 heads, 7 x 7 patches and the class token, 4 bytes: 20,000 a layer.
    model = FastBEiT(img_size=28, kept_bias_bytes=limit, **SMALL)
    model.load_state_dict(source.state_dict())
    model.eval()
    image = torch.rand(1, 3, 28, 28)
    first, again = model(image), model(image)
    assert [layer.attn._kept is not None for layer in model.layers] == [
        layer < kept for layer in range(2)
    ]
    for one, two, wanted in zip(first, again, source(image), strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, wanted)


def test_beit__refuses_a_negative_limit() -> None:
    with pytest.raises(ValueError, match='kept_bias_bytes must be >= 0, got -1'):
        FastBEiT(img_size=28, kept_bias_bytes=-1, **SMALL)


def whole_model(fast: bool, init_cfg: dict | None) -> nn.Module:
    """Build and initialise a segmentor with seed 0, of our types or of stock ones."""
    init_default_scope('mmseg')
    prefix = 'Fast' if fast else ''
    norm_cfg = dict(type='BN')
    torch.manual_seed(0)
    heads = dict(channels=4, num_classes=3, norm_cfg=norm_cfg)
    model = MODELS.build(
        dict(
            type=f'{prefix}EncoderDecoder',
            data_preprocessor=dict(type=f'{prefix}SegDataPreProcessor'),
            backbone=dict(
                type=f'{prefix}BEiT', img_size=28, init_cfg=init_cfg, **SMALL
            ),
            decode_head=dict(
                type=f'{prefix}UPerHead', in_channels=[8, 8], in_index=[0, 1], **heads
            ),
            auxiliary_head=dict(
                type=f'{prefix}FCNHead', in_channels=8, in_index=0, **heads
            ),
        )
    )
    model.init_weights()
    return model


@pytest.mark.parametrize('pretrained', [False, True])
def test_models__begin_with_the_random_weights_of_stock(tmp_path, source, pretrained):
    torch.save(source.state_dict(), tmp_path / 'beit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'beit.pth'))
    init_cfg = init_cfg if pretrained else None
    stock = whole_model(False, init_cfg).state_dict()
    after = torch.rand(1)
    ours = whole_model(True, init_cfg).state_dict()
    assert torch.rand(1) == after
    torch.testing.assert_close(ours, stock, rtol=0, atol=0)


def test_beit__is_built_with_the_random_weights_of_stock():
    found = []
    for kind in (BEiT, FastBEiT):
        torch.manual_seed(0)
        found.append(kind(img_size=28, **SMALL).state_dict())
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize('size', [(56, 56), (28, 24), (28, 56)])
def test_beit__refuses_images_of_another_size_with_the_way_out(size):
    model = FastBEiT(img_size=28, **SMALL)
    message = rf'images of \(28, 28\), but got \({size[0]}, {size[1]}\); set'
    with pytest.raises(InputError, match=message):
        model(torch.rand(1, 3, *size))
