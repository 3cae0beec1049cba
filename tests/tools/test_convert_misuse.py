"""What cannot be converted: one line says why, and nothing is written."""

import pytest
import torch

from tools import convert_checkpoint

SMALL = """
model = dict(
    type='EncoderDecoder',
    backbone={backbone},
    decode_head=dict(
        type='FCNHead', in_channels=8, channels=4, num_classes=2, in_index=0
    ),
)
"""
CONVNEXT = """dict(
    type='ConvNeXt',
    arch=dict(depths=[1, 1], channels=[4, 8]),
    out_indices=[1],
    gap_before_final_norm=False,
)"""
BEIT = """dict(
    type='BEiT', img_size=(12, 12), patch_size=4, embed_dims=8, num_layers=1,
    num_heads=2, mlp_ratio=2,
)"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'convnext.py'
    path.write_text(SMALL.format(backbone=CONVNEXT))
    return path


@pytest.fixture
def beit(tmp_path):
    path = tmp_path / 'beit.py'
    path.write_text(SMALL.format(backbone=BEIT))
    return path


@pytest.fixture
def refused(misuse, config, tmp_path):
    """Convert a file, or weights, to a file that must not appear."""

    def call(message, source, *options, config=config):
        path = source
        if isinstance(source, dict):
            path = tmp_path / 'source.pth'
            torch.save(source, path)
        out = tmp_path / 'out.pth'
        arguments = (path, '--config', config, '--out', out, *options)
        misuse(convert_checkpoint.main, message, *arguments)
        assert not out.exists()
        assert not list(tmp_path.glob('.out*'))

    return call


def convnext(depths=(1, 1), channels=(4, 8)):
    """Return weights with facebookresearch's names."""
    weights = {}
    before = 3
    for i, (depth, width) in enumerate(zip(depths, channels, strict=True)):
        side = 4 if i == 0 else 2
        conv, norm = (0, 1) if i == 0 else (1, 0)
        weights[f'downsample_layers.{i}.{conv}.weight'] = (width, before, side, side)
        weights[f'downsample_layers.{i}.{conv}.bias'] = (width,)
        for part in ('weight', 'bias'):
            name = f'downsample_layers.{i}.{norm}.{part}'
            weights[name] = (width if i == 0 else before,)
        for j in range(depth):
            block = f'stages.{i}.{j}'
            weights[f'{block}.gamma'] = (width,)
            weights[f'{block}.dwconv.weight'] = (width, 1, 7, 7)
            weights[f'{block}.dwconv.bias'] = (width,)
            weights[f'{block}.norm.weight'] = (width,)
            weights[f'{block}.norm.bias'] = (width,)
            weights[f'{block}.pwconv1.weight'] = (4 * width, width)
            weights[f'{block}.pwconv1.bias'] = (4 * width,)
            weights[f'{block}.pwconv2.weight'] = (width, 4 * width)
            weights[f'{block}.pwconv2.bias'] = (width,)
        before = width
    return {name: torch.zeros(shape) for name, shape in weights.items()}


def microsoft(distances=28):
    """Return weights of a BEiT of one layer with Microsoft's names."""
    layer, wide = 'blocks.0', 16
    weights = {
        'cls_token': (1, 1, 8),
        'patch_embed.proj.weight': (8, 3, 4, 4),
        'patch_embed.proj.bias': (8,),
        f'{layer}.attn.relative_position_bias_table': (distances, 2),
        f'{layer}.attn.qkv.weight': (24, 8),
        f'{layer}.attn.proj.weight': (8, 8),
        f'{layer}.mlp.fc1.weight': (wide, 8),
        f'{layer}.mlp.fc1.bias': (wide,),
        f'{layer}.mlp.fc2.weight': (8, wide),
    }
    of_width = 'attn.q_bias attn.v_bias attn.proj.bias norm1.weight norm1.bias '
    of_width += 'norm2.weight norm2.bias gamma_1 gamma_2 mlp.fc2.bias'
    weights |= {f'{layer}.{name}': (8,) for name in of_width.split()}
    return {name: torch.zeros(shape) for name, shape in weights.items()}


def test_weights_of_this_file__are_taken(run, config, beit, tmp_path):
    for source, path in ((convnext(), config), (microsoft(), beit)):
        torch.save(source, tmp_path / 'source.pth')
        out = tmp_path / f'{path.stem}.pth'
        arguments = (tmp_path / 'source.pth', '--config', path, '--out', out)
        assert run(convert_checkpoint.main, *arguments)[0] == 0
        assert out.is_file()


def test_source__that_is_no_file(refused, tmp_path):
    refused(r'none\.pth: no such checkpoint; check the path', tmp_path / 'none.pth')
    refused('is a folder; name the file in it', tmp_path)


def test_source__that_is_no_checkpoint(refused, tmp_path):
    text = tmp_path / 'text.bin'
    text.write_text('not weights')
    refused(r'text\.bin: not a readable checkpoint .*; copy it again', text)
    torn = tmp_path / 'torn.pth'
    torch.save(convnext(), tmp_path / 'whole.pth')
    torn.write_bytes((tmp_path / 'whole.pth').read_bytes()[:2000])
    refused(r'torn\.pth: not a readable checkpoint \(', torn)
    refused(r'source\.pth: holds no weights; name a checkpoint', {'model': 3})


def test_source__of_safetensors_that_is_damaged(refused, tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    refused('no such checkpoint', tmp_path / 'none.safetensors')
    path, torn = tmp_path / 'whole.safetensors', tmp_path / 'torn.safetensors'
    save_file(convnext(), path)
    for size in (0, 5, 100, path.stat().st_size - 1):
        torn.write_bytes(path.read_bytes()[:size])
        refused(r'torn\.safetensors: not a readable checkpoint \(', torn)
    torch.save(convnext(), torn)
    refused(r'torn\.safetensors: not a readable checkpoint \(', torn)


def test_source__that_would_run_code(refused, smuggled):
    refused('holds more than weights and numbers, and is not run', smuggled)


def test_source__of_another_architecture(refused):
    message = (
        r'has no names of a known ConvNeXt or BEiT, layer1\.0\.conv1\.weight first; '
        'name weights of timm, transformers, torchvision, '
    )
    refused(message, {'layer1.0.conv1.weight': torch.zeros(4, 3, 3, 3)})


def test_config__of_another_backbone(refused, config, beit):
    message = r'beit\.py: its backbone is no ConvNeXt, and \S+ holds one; name a config'
    refused(message, convnext(), config=beit)
    message = (
        r'convnext\.py: its backbone is no BEiT, and \S+ holds one; .*configs/beit'
    )
    refused(message, microsoft(), config=config)


def test_config__without_a_backbone_that_is_known(refused, tmp_path):
    path = tmp_path / 'resnet.py'
    path.write_text(SMALL.format(backbone="dict(type='ResNet', depth=18)"))
    refused('its backbone is no ConvNeXt', convnext(), config=path)
    path.write_text("default_scope = 'mmseg'")
    refused(r'resnet\.py: has no model; add it', convnext(), config=path)
    refused('no such config', convnext(), config=tmp_path / 'none.py')
    path.write_text(SMALL.format(backbone="dict(type='NoSuchNet')"))
    refused(r'resnet\.py: does not build \(', convnext(), config=path)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        (
            convnext(depths=(2, 1)),
            r'9 weights are without a place in it, stages\.0\.1\.gamma first',
        ),
        (
            convnext(channels=(4, 6)),
            r'11 weights are missing or of another shape, '
            r'downsample_layers\.1\.1\.weight first',
        ),
        (
            {k: v for k, v in convnext().items() if 'gamma' not in k},
            r'2 weights are missing or of another shape, '
            r'backbone\.stages\.0\.0\.gamma first',
        ),
    ],
    ids=['deeper', 'narrower', 'no scale'],
)
def test_backbone__of_another_size(refused, source, message):
    refused(rf'does not fit the backbone of \S+convnext\.py: {message}; name', source)


def test_beit__of_absolute_positions(refused, beit):
    source = microsoft() | {'pos_embed': torch.zeros(1, 10, 8)}
    message = 'weights are of absolute positions, .*pos_embed first'
    refused(message, source, config=beit)


def test_beit__of_a_window_that_is_not_square(refused, beit):
    message = 'a table of 35 positions is of no square window, and not of 3 x 3 patches'
    refused(message, microsoft(distances=35), config=beit)


def test_out__that_exists_or_is_the_source(misuse, config, tmp_path):
    source, out = tmp_path / 'source.pth', tmp_path / 'out.pth'
    torch.save(convnext(), source)
    out.write_text('mine')
    arguments = (source, '--config', config, '--out')
    main = convert_checkpoint.main
    misuse(main, r'out\.pth: exists; pass --overwrite', *arguments, out)
    assert out.read_text() == 'mine'
    before = source.read_bytes()
    misuse(main, 'is the source; name another', *arguments, source, '--overwrite')
    assert source.read_bytes() == before


def test_overwrite__replaces(run, config, tmp_path):
    source, out = tmp_path / 'source.pth', tmp_path / 'out.pth'
    torch.save(convnext(), source)
    out.write_text('old')
    arguments = (source, '--config', config, '--out', out, '--overwrite')
    assert run(convert_checkpoint.main, *arguments)[0] == 0
    assert 'state_dict' in torch.load(out, weights_only=True)
