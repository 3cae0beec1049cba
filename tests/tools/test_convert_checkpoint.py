"""Weights of other projects: under our names the same tensors and the same features."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmsegmentation.checkpoints import check_checkpoint, load_weights
from tools import convert_checkpoint

DEPTHS, CHANNELS = (1, 1, 2, 1), (8, 12, 16, 20)
CONVNEXT = dict(
    type='ConvNeXt',
    arch=dict(depths=DEPTHS, channels=CHANNELS),
    out_indices=(0, 1, 2, 3),
    gap_before_final_norm=False,
)
GRN = dict(use_grn=True, layer_scale_init_value=0.0)
BEIT = dict(
    type='FastBEiT',
    img_size=(12, 12),
    patch_size=4,
    embed_dims=8,
    num_layers=2,
    num_heads=2,
    mlp_ratio=2,
    out_indices=(0, 1),
    norm_cfg=dict(type='LN', eps=1e-6),
)


def segmentor(backbone: dict, classes: int = 3, channels: int = 8) -> dict:
    """Return the config of a UPerNet, on the neck of a BEiT where it is one."""
    widths = list(CHANNELS) if 'arch' in backbone else [backbone['embed_dims']] * 4
    norm_cfg = dict(type='BN')
    shared = dict(num_classes=classes, norm_cfg=norm_cfg, align_corners=False)
    model = dict(
        type='EncoderDecoder',
        backbone=backbone,
        decode_head=dict(
            type='UPerHead',
            in_channels=widths,
            in_index=[0, 1, 2, 3],
            channels=channels,
            **shared,
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=widths[2],
            in_index=2,
            channels=4,
            num_convs=1,
            concat_input=False,
            **shared,
        ),
        test_cfg=dict(mode='whole'),
    )
    if 'arch' not in backbone:
        model['neck'] = dict(
            type='Feature2Pyramid', embed_dim=widths[0], norm_cfg=norm_cfg
        )
    return model


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randomise(model: nn.Module) -> Any:
    """Give each parameter and statistic a value that shows in the result."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                low = 0.5 if name.endswith('running_var') else -0.2
                value.copy_(torch.empty_like(value).uniform_(low, low + 0.5))
    model.eval()  # MMSegmentation's BEiT returns None from it
    return model


@pytest.fixture
def convert(run, tmp_path) -> Callable[..., tuple[str, Path]]:
    """Convert weights, or a file of them; return what is said and the written file."""

    def call(source: Any, model: dict, *options: str) -> tuple[str, Path]:
        path, config = tmp_path / 'source.pth', tmp_path / 'config.py'
        if isinstance(source, Path):
            path = source
        else:
            torch.save(source, path)
        config.write_text(f'model = {model!r}\n')
        out = tmp_path / f'ours{len(list(tmp_path.glob("ours*")))}.pth'
        arguments = (path, '--config', config, '--out', out, *options)
        code, said, err = run(convert_checkpoint.main, *arguments)
        assert (code, err) == (0, '')
        assert f'written: {out}, ' in said
        return said, out

    return call


def written(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


def build_backbone(config: dict, path: Path, **more: Any) -> nn.Module:
    """Build a backbone that starts from a file, as a config would name it."""
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    backbone = MODELS.build({**config, 'init_cfg': init_cfg, **more})
    backbone.init_weights()
    backbone.eval()
    return backbone


def build_segmentor(config: dict, path: Path) -> nn.Module:
    """Build a whole model with all of its weights, as tools/test.py does."""
    model = MODELS.build(config)
    load_weights(model, check_checkpoint(str(path)), str(path))
    model.eval()
    return model


def close(mine: Any, theirs: Any, dtype: torch.dtype = torch.float32) -> None:
    """Compare tensors, or sequences of as many: 1e-5 in fp32, 1e-10 in fp64."""
    limit = 1e-5 if dtype == torch.float32 else 1e-10
    if isinstance(mine, torch.Tensor):
        mine, theirs = [mine], [theirs]
    assert len(mine) == len(theirs) > 0
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=limit, atol=limit)


def normed(maps: Iterator[torch.Tensor], last: nn.LayerNorm | None) -> list:
    """Apply what our backbone does: fresh norms, and the classifier's on the last."""
    result = []
    for stage, x in enumerate(maps):
        weight, bias = (last.weight, last.bias) if last and stage == 3 else (None, None)
        x = x.permute(0, 2, 3, 1)
        x = nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-6)
        result.append(x.permute(0, 3, 1, 2))
    return result


# torchvision.


def make_torchvision() -> Any:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    after = [*CHANNELS[1:], None]
    blocks = zip(CHANNELS, after, DEPTHS, strict=True)
    return ConvNeXt([CNBlockConfig(*block) for block in blocks], num_classes=5)


def test_torchvision__same_features(convert):
    theirs = randomise(make_torchvision())
    said, path = convert(theirs.state_dict(), segmentor(CONVNEXT))
    assert said.splitlines()[:3] == [
        'source: ConvNeXt of torchvision, 65 weights',
        'not loaded, the model has no such parts: classifier.2',
        'missing in the source, these parts keep their initial weights: '
        'backbone.norm0, backbone.norm1, '
        'backbone.norm2, decode_head (25 modules), auxiliary_head.conv_seg, '
        'auxiliary_head.convs.0.conv, auxiliary_head.convs.0.bn',
    ]
    assert said.splitlines()[-1] == (
        f"use: backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{path}', "
        "prefix='backbone.'))"
    )
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        x, maps = image, []
        for stage in range(4):
            x = theirs.features[2 * stage + 1](theirs.features[2 * stage](x))
            maps.append(x)
        ours = build_backbone(CONVNEXT, path)
        close(ours(image), normed(maps, theirs.classifier[0]))
        classifier = build_backbone(
            CONVNEXT, path, gap_before_final_norm=True, out_indices=-1
        )
        pooled = theirs.classifier[0](theirs.avgpool(x)).flatten(1)
        close(classifier(image), [pooled])


def test_backbone_only__loads_without_a_prefix(convert):
    theirs = randomise(make_torchvision())
    said, path = convert(theirs.state_dict(), segmentor(CONVNEXT), '--backbone-only')
    assert 'decode_head' not in said
    assert said.endswith(f"init_cfg=dict(type='Pretrained', checkpoint='{path}'))\n")
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    ours = build_backbone(CONVNEXT, path, init_cfg=init_cfg)
    bias = ours.downsample_layers[0][0].bias
    close(bias, theirs.features[0][0].bias)
    assert all(not name.startswith('backbone.') for name in written(path))


# The originals, by tables written from their source code.


def facebooks_names(v2: bool) -> dict[str, str]:
    """Name by name as github.com/facebookresearch/ConvNeXt and ConvNeXt-V2 do."""
    names = {}
    for i in range(4):
        for layer in (0, 1):
            names[f'downsample_layers.{i}.{layer}'] = f'downsample_layers.{i}.{layer}'
        for j in range(DEPTHS[i]):
            block = f'stages.{i}.{j}'
            names[f'{block}.dwconv'] = f'{block}.depthwise_conv'
            names[f'{block}.norm'] = f'{block}.norm'
            names[f'{block}.pwconv1'] = f'{block}.pointwise_conv1'
            names[f'{block}.pwconv2'] = f'{block}.pointwise_conv2'
    names['norm'] = 'norm3'
    full = {
        f'{k}.{p}': f'{v}.{p}' for k, v in names.items() for p in ('weight', 'bias')
    }
    for i in range(4):
        for j in range(DEPTHS[i]):
            for scale in ('grn.gamma', 'grn.beta') if v2 else ('gamma',):
                full[f'stages.{i}.{j}.{scale}'] = f'stages.{i}.{j}.{scale}'
    return full


@pytest.mark.parametrize('v2', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_facebook__each_weight_under_our_name(convert, v2, prefix):
    config = CONVNEXT | (GRN if v2 else {})
    ours = randomise(MODELS.build(config)).state_dict()
    source = {}
    for theirs, name in facebooks_names(v2).items():
        value = ours[name]
        # V2 keeps them so that they broadcast.
        source[prefix + theirs] = value[None, None, None] if 'grn' in name else value
    heads = {'head.weight': torch.zeros(5, 20), 'head.bias': torch.zeros(5)}
    said, path = convert({'model': source | heads}, segmentor(config))
    assert 'source: ConvNeXt of facebookresearch, ' in said
    assert 'not loaded, the model has no such parts: head\n' in said
    result = written(path)
    assert len(result) == len(source)
    for name in facebooks_names(v2).values():
        torch.testing.assert_close(
            result[f'backbone.{name}'], ours[name], rtol=0, atol=0
        )


def microsofts_names(layers: int = 2) -> dict[str, str]:
    """Name by name as github.com/microsoft/unilm/tree/master/beit does."""
    names = {'cls_token': 'cls_token'}
    for part in ('weight', 'bias'):
        names[f'patch_embed.proj.{part}'] = f'patch_embed.projection.{part}'
    for i in range(layers):
        theirs, ours = f'blocks.{i}', f'layers.{i}'
        for part in ('weight', 'bias'):
            names[f'{theirs}.norm1.{part}'] = f'{ours}.ln1.{part}'
            names[f'{theirs}.norm2.{part}'] = f'{ours}.ln2.{part}'
            names[f'{theirs}.attn.proj.{part}'] = f'{ours}.attn.proj.{part}'
            names[f'{theirs}.mlp.fc1.{part}'] = f'{ours}.ffn.layers.0.0.{part}'
            names[f'{theirs}.mlp.fc2.{part}'] = f'{ours}.ffn.layers.1.{part}'
        for same in ('gamma_1', 'gamma_2', 'attn.q_bias', 'attn.v_bias'):
            names[f'{theirs}.{same}'] = f'{ours}.{same}'
        for same in ('attn.qkv.weight', 'attn.relative_position_bias_table'):
            names[f'{theirs}.{same}'] = f'{ours}.{same}'
    return names


def microsofts_file(model: nn.Module) -> dict[str, torch.Tensor]:
    ours = model.state_dict()
    return {theirs: ours[name] for theirs, name in microsofts_names().items()}


def test_microsoft__each_weight_under_our_name(convert):
    ours = randomise(MODELS.build(BEIT))
    source = microsofts_file(ours)
    index = {'blocks.0.attn.relative_position_index': torch.zeros(10, 10)}
    heads = {'fc_norm.weight': torch.zeros(8), 'head.weight': torch.zeros(5, 8)}
    said, path = convert({'model': source | index | heads}, segmentor(BEIT))
    assert said.startswith('source: BEiT of Microsoft or timm, ')
    assert 'not loaded, the model has no such parts: fc_norm, head\n' in said
    assert 'resized' not in said
    loaded = build_backbone(BEIT, path).state_dict()
    assert loaded.keys() == ours.state_dict().keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_microsoft__shared_table_goes_to_each_layer(convert):
    """As checkpoints of the pre-training alone have it."""
    source = microsofts_file(randomise(MODELS.build(BEIT)))
    table = source.pop('blocks.0.attn.relative_position_bias_table')
    source.pop('blocks.1.attn.relative_position_bias_table')
    source['rel_pos_bias.relative_position_bias_table'] = table
    more = {'mask_token': torch.zeros(1, 1, 8), 'lm_head.bias': torch.zeros(9)}
    said, path = convert({'model': source | more}, segmentor(BEIT))
    assert 'not loaded, the model has no such parts: mask_token, lm_head\n' in said
    for layer in build_backbone(BEIT, path).layers:
        close(layer.attn.relative_position_bias_table, table)


def test_microsoft__tables_are_resized_to_the_window(convert):
    source = microsofts_file(randomise(MODELS.build(BEIT)))
    larger = BEIT | dict(img_size=(28, 20))
    said, path = convert(source, segmentor(larger))
    assert 'position tables resized to the window of the config: 2\n' in said
    table = written(path)['backbone.layers.1.attn.relative_position_bias_table']
    theirs = source['blocks.1.attn.relative_position_bias_table']
    assert table.shape == (13 * 9 + 3, 2)
    close(table[-3:], theirs[-3:])
    # A spline passes through its points: the middle, and one step from it.
    close(table[:-3].reshape(13, 9, 2)[6, 4], theirs[:-3].reshape(5, 5, 2)[2, 2])
    close(table[:-3].reshape(13, 9, 2)[6, 5], theirs[:-3].reshape(5, 5, 2)[2, 3])
    build_backbone(larger, path)


def test_microsoft__whole_model_with_its_pyramid(convert):
    config = segmentor(BEIT | dict(out_indices=(0, 0, 1, 1)))
    ours = randomise(MODELS.build(config)).state_dict()
    source = {
        f'backbone.{k}': ours[f'backbone.{v}'] for k, v in microsofts_names().items()
    }
    for name, value in ours.items():
        if not name.startswith('backbone.'):
            name = name.replace('neck.upsample_4x', 'backbone.fpn1')
            source[name.replace('neck.upsample_2x', 'backbone.fpn2')] = value
    said, path = convert({'state_dict': source, 'meta': {}}, config)
    assert 'not loaded' not in said
    assert 'not in the source' not in said
    assert re.search(
        r'use: python tools/test\.py .*config\.py .*\.pth --out PRED', said
    )
    loaded = build_segmentor(config, path).state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_stock_beit__loads_what_backbone_only_writes(convert):
    source = randomise(MODELS.build(BEIT))
    stock = BEIT | dict(type='BEiT')
    said, _ = convert(microsofts_file(source), segmentor(stock))
    assert "use: with --backbone-only alone: MMSegmentation's own BEiT" in said
    _, path = convert(microsofts_file(source), segmentor(stock), '--backbone-only')
    image = torch.rand(1, 3, 12, 12)
    with torch.inference_mode():
        close(build_backbone(stock, path)(image), source(image))


def test_openmmlab__is_taken_as_it_is(convert):
    config = segmentor(CONVNEXT)
    ours = randomise(MODELS.build(config)).state_dict()
    said, path = convert({'state_dict': ours}, config)
    assert said.startswith('source: ConvNeXt of OpenMMLab, ')
    assert written(path).keys() == ours.keys()


def test_safetensors__is_read_like_the_others(convert, tmp_path):
    pytest.importorskip('safetensors')
    from safetensors.torch import save_file

    weights = randomise(make_torchvision()).state_dict()
    save_file(weights, tmp_path / 'model.safetensors')
    _, one = convert(tmp_path / 'model.safetensors', segmentor(CONVNEXT))
    _, other = convert(weights, segmentor(CONVNEXT))
    assert written(one).keys() == written(other).keys()
    for name, value in written(one).items():
        torch.testing.assert_close(value, written(other)[name], rtol=0, atol=0)


# Heads that differ.


def test_classes__that_differ_leave_the_classifier_out(convert):
    ours = randomise(MODELS.build(segmentor(CONVNEXT, classes=5))).state_dict()
    said, path = convert({'state_dict': ours}, segmentor(CONVNEXT, classes=3))
    assert 'not loaded, 5 classes and here 3: decode_head.conv_seg\n' in said
    assert 'not loaded, 5 classes and here 3: auxiliary_head.conv_seg\n' in said
    assert re.search(r'use: python tools/train\.py \S+ --cfg-options load_from=', said)
    kept = {name for name in ours if '.conv_seg.' not in name}
    assert written(path).keys() == kept


def test_head__of_another_width_is_left_out_whole(convert):
    ours = randomise(MODELS.build(segmentor(CONVNEXT))).state_dict()
    said, path = convert({'state_dict': ours}, segmentor(CONVNEXT, channels=6))
    pattern = r'not loaded, \d+ weights of another shape: decode_head, \S+ \(.*\) first'
    assert re.search(pattern, said)
    assert {name.split('.')[0] for name in written(path)} == {
        'backbone',
        'auxiliary_head',
    }
