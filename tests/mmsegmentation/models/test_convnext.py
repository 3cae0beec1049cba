import re

import pytest
import torch
import torchvision
from mmseg.registry import MODELS
from torch import nn

from mmsegmentation.models import ConvNeXt
from mmsegmentation.models.convnext import ARCHITECTURES

TINY = dict(depths=[1, 1, 2, 1], channels=[8, 12, 16, 20])
MAPS = dict(out_indices=(0, 1, 2, 3), gap_before_final_norm=False)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randomise(model: nn.Module) -> nn.Module:
    """Give each parameter values that show in the result, gamma among them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1 + 0.05)
    model.eval()
    return model


@pytest.fixture
def peer() -> type[nn.Module]:
    """Return mmpretrain's class; where transformers is too new it does not import."""
    try:
        from mmpretrain.models import ConvNeXt as Theirs
    except (ImportError, TypeError):
        pytest.skip('mmpretrain cannot be imported')
    return Theirs


def our_name(name: str) -> str | None:
    """Return our name of torchvision's parameter; None for the classifier's."""
    match = re.fullmatch(r'features\.(\d+)\.(.+)', name)
    if match is None:
        return None
    part, rest = int(match[1]), match[2]
    if part % 2 == 0:
        return f'downsample_layers.{part // 2}.{rest}'
    block, inner = rest.split('.', 1)
    for theirs, ours in {
        'layer_scale': 'gamma',
        'block.0.': 'depthwise_conv.',
        'block.2.': 'norm.',
        'block.3.': 'pointwise_conv1.',
        'block.5.': 'pointwise_conv2.',
    }.items():
        inner = inner.replace(theirs, ours)
    return f'stages.{part // 2}.{block}.{inner}'


def test_convnext__same_features_as_torchvision() -> None:
    theirs = randomise(torchvision.models.convnext_tiny())
    ours = ConvNeXt('tiny', **MAPS).eval()
    weights = {
        our_name(name): tensor.reshape(-1) if 'layer_scale' in name else tensor
        for name, tensor in theirs.state_dict().items()
        if our_name(name)
    }
    missing = ours.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert {k.split('.')[0] for k in missing.missing_keys} == {
        'norm0',
        'norm1',
        'norm2',
        'norm3',
    }
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        maps = ours(images)
        x = images
        for stage in range(4):
            x = theirs.features[2 * stage + 1](theirs.features[2 * stage](x))
            expected = nn.functional.layer_norm(
                x.permute(0, 2, 3, 1), x.shape[1:2], eps=1e-6
            ).permute(0, 3, 1, 2)
            torch.testing.assert_close(maps[stage], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'arguments',
    [
        {},
        MAPS,
        dict(linear_pw_conv=False, **MAPS),
        dict(use_grn=True, layer_scale_init_value=0.0, **MAPS),
        dict(use_grn=True, linear_pw_conv=False, **MAPS),
        dict(norm_cfg=dict(type='LN2d', eps=1e-2), act_cfg=dict(type='ReLU'), **MAPS),
        dict(stem_patch_size=2, in_channels=4, out_indices=[1, -1]),
    ],
)
def test_convnext__same_maps_as_mmpretrain(arguments: dict, peer: type) -> None:
    theirs = randomise(peer(TINY, **arguments))
    ours = ConvNeXt(TINY, **arguments).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, arguments.get('in_channels', 3), 64, 64)
    with torch.inference_mode():
        for mine, their in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(mine, their, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_convnext__same_parameters_as_mmpretrain(arch: str, peer: type) -> None:
    ours = ConvNeXt(arch, **MAPS).state_dict()
    theirs = peer(arch, **MAPS).state_dict()
    assert [(k, v.shape) for k, v in ours.items()] == [
        (k, v.shape) for k, v in theirs.items()
    ]


def test_convnext__registered_in_mmseg() -> None:
    assert MODELS.get('ConvNeXt') is ConvNeXt


def test_convnext__sizes_of_the_maps() -> None:
    maps = ConvNeXt(TINY, **MAPS)(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (1, 8, 16, 24),
        (1, 12, 8, 12),
        (1, 16, 4, 6),
        (1, 20, 2, 3),
    ]


def test_convnext__channels_last_gives_the_same_maps() -> None:
    model = randomise(ConvNeXt(TINY, **MAPS))
    image = torch.rand(2, 3, 64, 64)
    expected = model(image)
    model.to(memory_format=torch.channels_last)
    for mine, other in zip(
        model(image.to(memory_format=torch.channels_last)), expected, strict=True
    ):
        assert mine.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_convnext__checkpointing_gives_the_same_gradients() -> None:
    plain = ConvNeXt(TINY, **MAPS)
    saving = ConvNeXt(TINY, with_cp=True, **MAPS)
    randomise(plain)
    saving.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 32, 32)
    for model in (plain, saving):
        model(image)[-1].square().sum().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_convnext__drop_path_grows_to_the_last_block() -> None:
    model = ConvNeXt(TINY, drop_path_rate=0.4)
    rates = [
        getattr(block.drop_path, 'drop_prob', 0.0)
        for stage in model.stages
        for block in stage
    ]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_convnext__frozen_stages_stay_frozen_in_training() -> None:
    model = ConvNeXt(TINY, frozen_stages=2, norm_cfg=dict(type='BN')).train()
    frozen = {
        '.'.join(name.split('.')[:2])
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    assert frozen == {
        'downsample_layers.0',
        'downsample_layers.1',
        'stages.0',
        'stages.1',
    }
    assert not model.stages[1].training
    assert model.stages[2].training


def test_convnext__loads_a_checkpoint_with_the_prefix_of_a_model(tmp_path) -> None:
    source = randomise(ConvNeXt(TINY))
    path = tmp_path / 'model.pth'
    weights = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    torch.save({'state_dict': weights}, path)
    model = ConvNeXt(
        TINY,
        init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'),
    )
    model.init_weights()
    torch.testing.assert_close(
        model.stages[3][0].gamma, source.stages[3][0].gamma, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='medium'), 'arch must be one of .* got .medium.'),
        (dict(arch=dict(depths=[1])), 'arch must hold depths and channels'),
        (dict(arch=dict(depths=[1], channels=[4, 8])), 'a depth and channels per st'),
        (dict(out_indices=4), r'out_indices must be in \[-4, 3\], got 4'),
        (dict(frozen_stages=5), r'frozen_stages must be in \[0, 4\], got 5'),
    ],
)
def test_convnext__refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvNeXt(**arguments)
