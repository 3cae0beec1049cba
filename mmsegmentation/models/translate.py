"""Other projects' checkpoints under our names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from mmsegmentation.models.names import (
    HEAD_NAMES,
    HEADS,
    PREFIX,
    SHARED_TABLE,
    SOURCES,
    Renaming,
    Source,
)

INDEX = 'relative_position_index'
TABLE = 'relative_position_bias_table'
QKV = '.attn.query.weight', '.attn.key.weight', '.attn.value.weight'

Weights = dict[str, torch.Tensor]


@dataclass
class Translation:
    """Weights under our names, those of a whole model.

    Args:
        source: Whose names the checkpoint had; None where they are not known.
        weights: What our names would be; no model may have some of them.
        origins: The names in the checkpoint, for each of ours.
    """

    source: Source | None
    weights: Weights = field(default_factory=dict)
    origins: dict[str, list[str]] = field(default_factory=dict)


def unwrap(content: Mapping) -> Weights:
    """Return the weights of a checkpoint, without what else it holds."""
    for key in ('state_dict', 'model', 'module'):
        content = content.get(key, content)
        if not isinstance(content, Mapping):
            return {}
    return {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}


def find_source(names: Iterable[str]) -> Source | None:
    """Return whose names these are; None where nobody's that we know.

    >>> find_source(['backbone.stages.0.0.dwconv.weight']).name
    'facebookresearch'
    """
    bare = [re.sub(PREFIX, '', name) for name in names]
    for source in SOURCES:
        if any(re.search(source.sign, name) for name in bare):
            return source
    return None


def translate(given: Weights) -> Translation:
    """Return weights under our names: ``backbone.`` and those of the heads.

    What a model computes for itself is left out; all else is kept, under the name it
    had if it is nobody's.
    """
    result = Translation(find_source(given))
    if result.source is None:
        return result
    for name, value in given.items():
        if not name.endswith(INDEX):
            ours = _our_name(name, result.source)
            result.weights[ours] = value
            result.origins[ours] = [name]
    if result.source.family == 'BEiT':
        _join_queries(result)
        _share_table(result)
    return result


def _our_name(name: str, source: Source) -> str:
    head = _renamed(name.removeprefix('module.'), HEADS)
    if head.startswith(HEAD_NAMES):
        return head
    return 'backbone.' + _renamed(re.sub(PREFIX, '', name), source.renamed)


def _renamed(name: str, renamed: Renaming) -> str:
    for pattern, replacement in renamed:
        name = re.sub(pattern, replacement, name)
    return name


def _join_queries(result: Translation) -> None:
    """Write one weight for queries, keys and values, as BEiT has it."""
    starts = [n.removesuffix(QKV[0]) for n in result.weights if n.endswith(QKV[0])]
    for start in starts:
        parts = [start + end for end in QKV if start + end in result.weights]
        if len(parts) == len(QKV):
            ours = f'{start}.attn.qkv.weight'
            result.weights[ours] = torch.cat([result.weights.pop(p) for p in parts])
            result.origins[ours] = [o for p in parts for o in result.origins.pop(p)]


def _share_table(result: Translation) -> None:
    """Give each layer the table that all share, added to its own where it has one."""
    shared = result.weights.pop(f'backbone.{SHARED_TABLE}', None)
    if shared is None:
        return
    origin = result.origins.pop(f'backbone.{SHARED_TABLE}')
    layers = {m[1] for n in result.weights if (m := re.match(r'(.*)\.gamma_1$', n))}
    for layer in layers:
        ours = f'{layer}.attn.{TABLE}'
        own = result.weights.get(ours)
        result.weights[ours] = shared.clone() if own is None else own + shared
        result.origins[ours] = result.origins.get(ours, []) + origin
