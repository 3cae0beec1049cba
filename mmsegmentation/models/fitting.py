"""What a model takes of weights that were made elsewhere."""

from dataclasses import dataclass, field
from typing import Any

import torch

from mmsegmentation.models.fast_beit import resize_table
from mmsegmentation.models.names import ABSOLUTE_POSITIONS
from mmsegmentation.models.translate import INDEX, TABLE, Translation, Weights

# A backbone without one of these, or with one more, is another backbone.
TRUNK = tuple(
    f'backbone.{part}'
    for part in ('downsample_layers.', 'stages.', 'patch_embed.', 'layers.')
)


@dataclass
class Fit:
    """What of a translated checkpoint a model takes.

    Args:
        weights: What it takes, by its names.
        missing: Its names that the checkpoint lacks.
        wrong: Its names that have another shape there: that shape, and its own.
        unused: Names, as :func:`translate` wrote them, that the model lacks.
        resized: How many tables of positions were fitted to the model's window.
    """

    weights: Weights = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    wrong: dict[str, tuple[tuple, tuple]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    resized: int = 0


def fit(translation: Translation, model: Any) -> Fit:
    """Return what a segmentor takes of a translated checkpoint, in its own shapes.

    Raises:
        ValueError: A table of positions is of no square window.
    """
    result = Fit()
    own = model.state_dict()
    # Computed, but checkpoints have it; the same in all layers, and large: kept once.
    indices = [value for name, value in own.items() if name.endswith(INDEX)]
    for name, value in own.items():
        given = translation.weights.get(name)
        if name.endswith(INDEX):
            result.weights[name] = indices[0]
            continue
        if given is None:
            result.missing.append(name)
            continue
        if name.endswith(TABLE):
            table = resize_table(given, model.backbone.patch_shape)
            result.resized += table is not given
            given = table
        given = _without_ones(given, value)
        if given.shape == value.shape:
            result.weights[name] = given
        else:
            result.wrong[name] = tuple(given.shape), tuple(value.shape)
    result.unused = [name for name in translation.weights if name not in own]
    _drop_partial_heads(result)
    return result


def _drop_partial_heads(result: Fit) -> None:
    """Take nothing of a head that lacks more than its classifier."""
    lacking = [*result.missing, *result.wrong]
    partial = {name.split('.')[0] for name in lacking if '.conv_seg.' not in name}
    partial.discard('backbone')
    for name in list(result.weights):
        if name.split('.')[0] in partial:
            del result.weights[name]


def misfit(result: Fit) -> tuple[str, list[str]] | None:
    """Return why the backbone is not the one of the weights, and where that shows.

    None where it is; its output norms, which no classifier has, may be missing.
    """
    lacking = [name for name in [*result.missing, *result.wrong] if _is_trunk(name)]
    if lacking:
        return 'missing or of another shape', lacking
    needless = [name for name in result.unused if _is_trunk(name)]
    if needless:
        return 'without a place in it', needless
    positions = {f'backbone.{name}' for name in ABSOLUTE_POSITIONS}
    absolute = [name for name in result.unused if name in positions]
    if absolute:
        return 'of absolute positions, and it has relative ones alone', absolute
    return None


def _is_trunk(name: str) -> bool:
    # A bias of the keys adds the same to all scores of a query: softmax drops it.
    return name.startswith(TRUNK) and not name.endswith(('.k_bias', '.key.bias'))


def _without_ones(given: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Fit axes of length 1: a 1x1 convolution is a linear layer, (1, 1, 1, C) is (C).

    All else stays as it is.
    """
    sizes = [[size for size in each.shape if size != 1] for each in (given, own)]
    return given.reshape(own.shape) if sizes[0] == sizes[1] else given
