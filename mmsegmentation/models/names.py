"""What other projects call the parameters of ConvNeXt, BEiT and UPerNet."""

from dataclasses import dataclass

Renaming = tuple[tuple[str, str], ...]

# What wraps a model's names: processes, timm's features, open_clip, transformers, ours.
PREFIX = (
    r'^(module\.)?'
    r'(backbone\.|model\.|visual\.trunk\.|convnext(v2)?\.|beit\.|data2vec_vision\.)?'
)
# One table of positions for all layers, as pre-training has it.
SHARED_TABLE = 'shared.relative_position_bias_table'
# BEiT's tables are per layer here. A position of another kind has no place at all.
ABSOLUTE_POSITIONS = 'pos_embed', 'embeddings.position_embeddings'

# Heads have MMSegmentation's names nearly everywhere: transformers took them over.
HEADS: Renaming = (
    (r'^((decode|auxiliary)_head)\.classifier\.', r'\1.conv_seg.'),
    (r'^((decode|auxiliary)_head\..*)\.batch_norm\.', r'\1.bn.'),
    # Microsoft's pyramid is part of the backbone, MMSegmentation's is the neck.
    (r'^(backbone\.)?fpn1\.', 'neck.upsample_4x.'),
    (r'^(backbone\.)?fpn2\.', 'neck.upsample_2x.'),
)
HEAD_NAMES = 'decode_head.', 'auxiliary_head.', 'neck.'


@dataclass(frozen=True)
class Source:
    """A project whose names are known.

    Args:
        name: What its users call it.
        family: The backbone that it holds, ``ConvNeXt`` or ``BEiT``.
        sign: Pattern of a name that its files have, and no others' do.
        renamed: Patterns of names and what we write for them, one after the other.
    """

    name: str
    family: str
    sign: str
    renamed: Renaming = ()


_FACEBOOK: Renaming = (
    (r'\.dwconv\.', '.depthwise_conv.'),
    (r'\.pwconv(\d)\.', r'.pointwise_conv\1.'),
    # The norm of a classifier: mmpretrain's conversion puts it there too.
    (r'^norm\.', 'norm3.'),
)
_TIMM_CONVNEXT: Renaming = (
    (r'^(stem|stages)_', r'\1.'),  # of features_only=True
    (r'^stem\.', 'downsample_layers.0.'),
    (r'^stages\.(\d+)\.downsample\.', r'downsample_layers.\1.'),
    (r'^stages\.(\d+)\.blocks\.', r'stages.\1.'),
    (r'\.conv_dw\.', '.depthwise_conv.'),
    (r'\.mlp\.fc(\d)\.', r'.pointwise_conv\1.'),
    (r'\.mlp\.grn\.weight$', '.grn.gamma'),
    (r'\.mlp\.grn\.bias$', '.grn.beta'),
    (r'^(head\.norm|norm_pre)\.', 'norm3.'),
)
_TRANSFORMERS_CONVNEXT: Renaming = (
    (r'^embeddings\.patch_embeddings\.', 'downsample_layers.0.0.'),
    (r'^embeddings\.layernorm\.', 'downsample_layers.0.1.'),
    (r'^encoder\.stages\.(\d+)\.downsampling_layer\.', r'downsample_layers.\1.'),
    (r'^encoder\.stages\.(\d+)\.layers\.', r'stages.\1.'),
    (r'^layernorm\.', 'norm3.'),
    *((rf'^hidden_states_norms\.stage{i + 1}\.', f'norm{i}.') for i in range(4)),
    (r'\.layernorm\.', '.norm.'),
    (r'\.layer_scale_parameter$', '.gamma'),
    (r'\.grn\.weight$', '.grn.gamma'),
    (r'\.grn\.bias$', '.grn.beta'),
    *_FACEBOOK[:2],
)
_TORCHVISION: Renaming = (
    *((rf'^features\.{2 * i}\.', f'downsample_layers.{i}.') for i in range(4)),
    *((rf'^features\.{2 * i + 1}\.', f'stages.{i}.') for i in range(4)),
    (r'\.layer_scale$', '.gamma'),
    (r'\.block\.0\.', '.depthwise_conv.'),
    (r'\.block\.2\.', '.norm.'),
    (r'\.block\.3\.', '.pointwise_conv1.'),
    (r'\.block\.5\.', '.pointwise_conv2.'),
    (r'^classifier\.0\.', 'norm3.'),
)
_MICROSOFT: Renaming = (
    (r'^blocks\.', 'layers.'),
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^rel_pos_bias\.relative_position_bias_table$', SHARED_TABLE),
    (r'^norm\.', 'ln1.'),
    (r'\.norm(\d)\.', r'.ln\1.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)
_TRANSFORMERS_BEIT: Renaming = (
    (r'^embeddings\.cls_token$', 'cls_token'),
    (r'^embeddings\.patch_embeddings\.', 'patch_embed.'),
    (r'^encoder\.layer\.', 'layers.'),
    (r'^encoder\.relative_position_bias\.(.*)_table$', SHARED_TABLE),
    (r'^layernorm\.', 'ln1.'),
    (r'\.layernorm_before\.', '.ln1.'),
    (r'\.layernorm_after\.', '.ln2.'),
    (r'\.lambda_(\d)$', r'.gamma_\1'),
    (r'\.attention\.output\.dense\.', '.attn.proj.'),
    (r'\.intermediate\.dense\.', '.ffn.layers.0.0.'),
    (r'\.output\.dense\.', '.ffn.layers.1.'),
    (r'\.attention\.attention\.(relative_position_bias\.)?', '.attn.'),
    (r'\.attn\.query\.bias$', '.attn.q_bias'),
    (r'\.attn\.value\.bias$', '.attn.v_bias'),
)

_BLOCK = r'^stages\.\d+\.\d+\.'
SOURCES = (
    Source('OpenMMLab', 'ConvNeXt', _BLOCK + r'depthwise_conv\.'),
    Source('facebookresearch', 'ConvNeXt', _BLOCK + r'dwconv\.', _FACEBOOK),
    Source(
        'timm',
        'ConvNeXt',
        r'^stages[._]\d+\.blocks\.\d+\.conv_dw\.',
        _TIMM_CONVNEXT,
    ),
    Source(
        'transformers',
        'ConvNeXt',
        r'^encoder\.stages\.\d+\.layers\.\d+\.dwconv\.',
        _TRANSFORMERS_CONVNEXT,
    ),
    Source(
        'torchvision', 'ConvNeXt', r'^features\.\d+\.\d+\.layer_scale$', _TORCHVISION
    ),
    Source('OpenMMLab', 'BEiT', r'^layers\.\d+\.attn\.(q_bias|.*_bias_table)$'),
    Source(
        'Microsoft or timm',
        'BEiT',
        r'^blocks\.\d+\.attn\.(q_bias|.*_bias_table)$',
        _MICROSOFT,
    ),
    Source(
        'transformers', 'BEiT', r'^encoder\.layer\.\d+\.lambda_\d$', _TRANSFORMERS_BEIT
    ),
)
