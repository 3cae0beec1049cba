"""The peers themselves, with random weights: a converted file gives the same features.

Left out where they are not installed; see requirements-bench.txt.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmsegmentation.checkpoints import check_checkpoint, load_weights
from tools import convert_checkpoint

pytestmark = pytest.mark.filterwarnings('ignore')

DEPTHS, CHANNELS = [1, 1, 2, 1], [8, 12, 16, 20]
CONVNEXT = dict(
    type='ConvNeXt',
    arch=dict(depths=DEPTHS, channels=CHANNELS),
    out_indices=(0, 1, 2, 3),
    gap_before_final_norm=False,
)
GRN = dict(use_grn=True, layer_scale_init_value=0.0)
BEIT = dict(
    type='FastBEiT',
    img_size=(24, 24),
    patch_size=4,
    embed_dims=16,
    num_layers=5,
    num_heads=2,
    mlp_ratio=2,
    out_indices=(0, 1, 2, 4),
    norm_cfg=dict(type='LN', eps=1e-6),
)
TYPES = pytest.mark.parametrize(
    ('dtype', 'limit'), [(torch.float32, 1e-5), (torch.float64, 1e-10)]
)


def segmentor(backbone: dict) -> dict:
    """Return the config of a UPerNet, on the neck of a BEiT where it is one."""
    convnext = 'arch' in backbone
    widths = CHANNELS if convnext else [backbone['embed_dims']] * 4
    norm_cfg = dict(type='BN')
    shared = dict(num_classes=5, norm_cfg=norm_cfg, align_corners=False)
    uper = dict(type='UPerHead', in_channels=widths, in_index=[0, 1, 2, 3], channels=16)
    fcn = dict(type='FCNHead', in_channels=widths[2], in_index=2, channels=4)
    neck = dict(type='Feature2Pyramid', embed_dim=widths[0], norm_cfg=norm_cfg)
    return dict(
        type='EncoderDecoder',
        backbone=backbone,
        decode_head=dict(**uper, **shared),
        auxiliary_head=dict(num_convs=1, concat_input=False, **fcn, **shared),
        test_cfg=dict(mode='whole'),
        **({} if convnext else {'neck': neck}),
    )


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip('transformers', minversion='4.57')


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip('timm')


def randomise(model: nn.Module) -> Any:
    """Give each parameter and statistic a value that shows in the result."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                low = 0.5 if name.endswith('running_var') else -0.2
                value.copy_(torch.empty_like(value).uniform_(low, low + 0.45))
    model.eval()
    return model


@pytest.fixture
def convert(run, tmp_path) -> Callable[..., Path]:
    """Save a peer the way its users do, and convert the file."""

    def call(peer: nn.Module, config: dict, taken: str = '') -> Path:
        if hasattr(peer, 'save_pretrained'):
            peer.save_pretrained(tmp_path / 'peer')
            path = tmp_path / 'peer' / 'model.safetensors'
        else:
            path = tmp_path / 'peer.pth'
            torch.save(peer.state_dict(), path)
        (tmp_path / 'config.py').write_text(f'model = {config!r}\n')
        out = tmp_path / 'ours.pth'
        arguments = (path, '--config', tmp_path / 'config.py', '--out', out)
        code, said, err = run(convert_checkpoint.main, *arguments)
        assert (code, err) == (0, '')
        assert taken in said
        return out

    return call


def load(config: dict, path: Path, dtype: torch.dtype) -> Any:
    """Build a whole model, or a backbone alone, that starts from a file."""
    if 'decode_head' in config:
        model = MODELS.build(config).to(dtype)
        load_weights(model, check_checkpoint(str(path)), str(path))
    else:
        init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
        model = MODELS.build(config | dict(init_cfg=init_cfg)).to(dtype)
        model.init_weights()
    model.eval()
    return model


def close(mine: Any, theirs: Any, limit: float, record: Callable) -> None:
    """Compare as many tensors, and record how far they are apart."""
    assert len(mine) == len(theirs) > 0
    for i, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        assert one.std() > 1e-3  # it shows something
        torch.testing.assert_close(one, other, rtol=limit, atol=limit)
        record(f'difference {i}', (one - other).abs().max().item())


def normed(maps: Any) -> list[torch.Tensor]:
    """Apply the norms that our backbone begins with."""
    return [
        nn.functional.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], eps=1e-6).permute(
            0, 3, 1, 2
        )
        for x in maps
    ]


@TYPES
def test_transformers__upernet_convnext(
    transformers, convert, dtype, limit, record_property
):
    backbone = transformers.ConvNextConfig(
        depths=DEPTHS,
        hidden_sizes=CHANNELS,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    theirs = transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=backbone,
            hidden_size=16,
            auxiliary_in_channels=CHANNELS[2],
            auxiliary_channels=4,
            num_labels=5,
        )
    )
    theirs = randomise(theirs.to(dtype))
    config = segmentor(CONVNEXT)
    ours = load(config, convert(theirs, config, 'use: python tools/test.py'), dtype)
    image = torch.rand(2, 3, 64, 96, dtype=dtype)
    with torch.inference_mode():
        their_maps, maps = theirs.backbone(image).feature_maps, ours.backbone(image)
        close(maps, their_maps, limit, record_property)
        logits = ours.encode_decode(image, [dict(img_shape=(64, 96))] * 2)
        close([logits], [theirs(image).logits], limit, record_property)
        auxiliary = ours.auxiliary_head(maps), theirs.auxiliary_head(their_maps)
        close(auxiliary[:1], auxiliary[1:], limit, record_property)


@pytest.mark.parametrize('version', [1, 2])
@TYPES
def test_transformers__convnext(
    transformers, convert, dtype, limit, version, record_property
):
    name = 'ConvNext' if version == 1 else 'ConvNextV2'
    settings = getattr(transformers, f'{name}Config')(
        depths=DEPTHS, hidden_sizes=CHANNELS, layer_norm_eps=1e-6
    )
    theirs = getattr(transformers, f'{name}ForImageClassification')(settings)
    theirs = randomise(theirs.to(dtype))
    config = CONVNEXT | (GRN if version == 2 else {})
    path = convert(theirs, segmentor(config), 'model has no such parts: classifier\n')
    image = torch.rand(2, 3, 64, 96, dtype=dtype)
    with torch.inference_mode():
        result = theirs.base_model(image, output_hidden_states=True)
        ours = load(config | dict(out_indices=(0, 1, 2)), path, dtype)
        close(ours(image), normed(result.hidden_states[1:4]), limit, record_property)
        last = dict(out_indices=(3,), gap_before_final_norm=True)
        ours = load(config | last, path, dtype)
        close(ours(image), [result.pooler_output], limit, record_property)


@pytest.mark.parametrize('tables', ['own', 'shared', 'both'])
@TYPES
def test_transformers__beit(
    transformers, convert, dtype, limit, tables, record_property
):
    settings = transformers.BeitConfig(
        image_size=24,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        layer_norm_eps=1e-6,
        use_relative_position_bias=tables != 'shared',
        use_shared_relative_position_bias=tables != 'own',
        use_mask_token=True,
    )
    theirs = randomise(transformers.BeitModel(settings).to(dtype))
    path = convert(theirs, segmentor(BEIT), 'embeddings, pooler.layernorm')
    ours = load(BEIT, path, dtype)
    image = torch.rand(2, 3, 24, 24, dtype=dtype)
    with torch.inference_mode():
        states = theirs(image, output_hidden_states=True).hidden_states[1:]
        maps = [states[i][:, 1:].mT.reshape(2, 16, 6, 6) for i in (0, 1, 2, 4)]
        close(ours(image), maps, limit, record_property)


@TYPES
def test_transformers__upernet_beit(
    transformers, convert, dtype, limit, record_property
):
    """Their ``out_indices`` count from 1, the embedding first: 2 is our 0."""
    settings = transformers.BeitConfig(
        image_size=24,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        layer_norm_eps=1e-6,
        use_relative_position_bias=True,
        out_indices=[2, 3, 4, 5],
        auxiliary_channels=4,
        num_labels=5,
    )
    theirs = transformers.BeitForSemanticSegmentation(settings)
    theirs = randomise(theirs.to(dtype))
    config = segmentor(BEIT | dict(out_indices=(0, 1, 2, 3)))
    ours = load(config, convert(theirs, config, 'use: python tools/test.py'), dtype)
    image = torch.rand(2, 3, 24, 24, dtype=dtype)
    with torch.inference_mode():
        mine = ours.decode_head(ours.extract_feat(image))
        close([mine], [theirs(image).logits], limit, record_property)


@pytest.mark.parametrize('features_only', [False, True])
@pytest.mark.parametrize('kind', ['v1', 'v2', 'conv_mlp'])
@TYPES
def test_timm__convnext(
    timm, convert, dtype, limit, kind, features_only, record_property
):
    theirs = timm.create_model(
        'convnextv2_atto' if kind == 'v2' else 'convnext_atto',
        depths=DEPTHS,
        dims=CHANNELS,
        conv_mlp=kind == 'conv_mlp',
        features_only=features_only,
    )
    theirs = randomise(theirs.to(dtype))
    config = CONVNEXT | (GRN if kind == 'v2' else {})
    path = convert(theirs, segmentor(config), 'source: ConvNeXt of timm, ')
    image = torch.rand(2, 3, 64, 96, dtype=dtype)
    with torch.inference_mode():
        if features_only:
            maps = theirs(image)
            close(
                load(config, path, dtype)(image), normed(maps), limit, record_property
            )
            return
        maps = theirs.forward_intermediates(image, intermediates_only=True)
        ours = load(config | dict(out_indices=(0, 1, 2)), path, dtype)
        close(ours(image), normed(maps[:3]), limit, record_property)
        last = dict(out_indices=(3,), gap_before_final_norm=True)
        pooled = theirs.forward_head(maps[3], pre_logits=True)
        ours = load(config | last, path, dtype)
        close(ours(image), [pooled], limit, record_property)


@pytest.mark.parametrize('features_only', [False, True])
@TYPES
def test_timm__beit(timm, convert, dtype, limit, features_only, record_property):
    theirs = timm.create_model(
        'beit_base_patch16_224',
        img_size=24,
        patch_size=4,
        embed_dim=16,
        depth=5,
        num_heads=2,
        mlp_ratio=2,
        features_only=features_only,
        **(dict(out_indices=(0, 1, 2, 4)) if features_only else {}),
    )
    theirs = randomise(theirs.to(dtype))
    path = convert(theirs, segmentor(BEIT), 'source: BEiT of Microsoft or timm, ')
    ours = load(BEIT, path, dtype)
    image = torch.rand(2, 3, 24, 24, dtype=dtype)
    with torch.inference_mode():
        if features_only:
            maps = theirs(image)
        else:
            maps = theirs.forward_intermediates(
                image, indices=[0, 1, 2, 4], intermediates_only=True
            )
        close(ours(image), maps, limit, record_property)


def test_timm__convnext_with_another_stem_is_refused(timm, misuse, tmp_path):
    theirs = timm.create_model('convnext_atto_ols', depths=DEPTHS, dims=CHANNELS)
    torch.save(theirs.state_dict(), tmp_path / 'peer.pth')
    (tmp_path / 'config.py').write_text(f'model = {segmentor(CONVNEXT)!r}\n')
    arguments = (tmp_path / 'peer.pth', '--config', tmp_path / 'config.py')
    message = r'does not fit the backbone .* weights are .*, stem\.'
    main = convert_checkpoint.main
    misuse(main, message, *arguments, '--out', tmp_path / 'ours.pth')
