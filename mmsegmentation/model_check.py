"""Checks of a built model against its data, before the first step."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch import Tensor, nn

# Height and width of the trial images if the size of the real ones is unknown.
ANY_SIZE = 512, 512


def check_model(runner: 'Runner') -> None:
    """Refuse a model that cannot be trained on the data of its run.

    Raises:
        InputError: The number of classes of a head differs from the data; the number of
            class weights of a loss differs from the outputs of its head; the input
            channels of a head differ from the maps of the backbone; or a batch norm
            would get a batch of one image.
    """
    from mmsegmentation.datasets.leaves import leaves_of
    from mmsegmentation.engine.unwrap import unwrapped

    model = unwrapped(runner.model)
    loader: Any = runner.train_dataloader
    leaf = next(iter(leaves_of(loader.dataset)), None)
    names = (getattr(leaf, 'metainfo', None) or {}).get('classes')
    for name, head in heads_of(model):
        if names:
            _check_classes(name, head, len(names))
        _check_class_weights(name, head)
    _try(model, *_smallest_batch(loader))


def heads_of(model: 'nn.Module') -> Iterator[tuple[str, Any]]:
    """Yield the decode heads of a segmentor with names such as ``auxiliary_head.0``.

    Auxiliary heads that override the loss are left out, because they may learn
    something else than the labels. STDC's head, for example, learns edges.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    from mmsegmentation.models.fast_loss import FastLossHead

    plain = BaseDecodeHead.loss_by_feat, FastLossHead.loss_by_feat
    for name, head in model.named_modules():
        of_data = name.startswith('decode_head') or (
            name.startswith('auxiliary_head')
            and getattr(type(head), 'loss_by_feat', None) in plain
        )
        if of_data and isinstance(head, BaseDecodeHead):
            yield name, head


def num_classes_of(head: Any) -> int:
    """Return the number of classes of a head; a head with one output has two."""
    if getattr(head, 'out_channels', None) == 1:
        return max(2, head.num_classes)
    return getattr(head, 'num_classes', 0)


def _check_classes(name: str, head: Any, count: int) -> None:
    own = num_classes_of(head)
    if own in (0, count):
        return
    way_out = f'set it to {count}'
    if head.out_channels == 1:
        way_out = f'set it to {count} and remove out_channels'
    raise InputError(
        f'model.{name}.num_classes',
        f'the head has {own} classes, but the data set has {count}',
        way_out,
    )


def _check_class_weights(name: str, head: Any) -> None:
    from torch import nn

    parts = head.loss_decode
    for loss in parts if isinstance(parts, nn.ModuleList) else [parts]:
        weights = getattr(loss, 'class_weight', None)
        if isinstance(weights, Sequence) and len(weights) != head.out_channels:
            raise InputError(
                f'model.{name}.loss_decode.class_weight',
                f'has {len(weights)} numbers, but the head has {head.out_channels} '
                'outputs',
                'set one weight for each output',
            )


def _smallest_batch(loader: Any) -> tuple[int, bool]:
    """Return the size of a process' smallest batch, and whether it is a remainder."""
    size = loader.batch_size or 0
    endless = 'Infinite' in type(loader.sampler).__name__
    if not size or endless or loader.drop_last:
        return size, False
    rest = len(loader.sampler) % size
    return (rest, True) if rest else (size, False)


def _try(model: 'nn.Module', batch: int, is_rest: bool) -> None:
    """Send a batch through backbone and heads on PyTorch's meta device.

    This computes shapes only and takes a fraction of a second. Parts that do not
    support it are not checked.
    """
    import torch
    from mmengine.dist import get_world_size
    from mmengine.model import is_model_wrapper

    if not batch or any(is_model_wrapper(part) for part in model.modules()):
        return
    modes = {part: part.training for part in model.modules()}
    if get_world_size() > 1:
        model.eval()  # in training, batch norms would wait for the other processes
    size = getattr(model.data_preprocessor, 'size', None)
    try:
        images = torch.empty(batch, 3, *(size or ANY_SIZE), device='meta')
        _try_parts(model, images)
    except InputError as error:
        if size or 'channels' in str(error):
            raise
    except Exception as error:  # parts of a config may raise any error
        if 'more than 1 value per channel' in str(error):
            raise _too_small(batch, is_rest) from None
    finally:
        for part, mode in modes.items():
            part.training = mode


def _try_parts(model: Any, images: 'Tensor') -> None:
    maps = _on_meta(model.backbone, images)
    giver = 'backbone'
    if model.with_neck:
        wanted = getattr(model.neck, 'in_channels', None)
        if isinstance(wanted, Sequence):
            _check_channels('neck', list(wanted), maps, giver)
        maps, giver = _on_meta(model.neck, maps), 'neck'
    for name, head in heads_of(model):
        index = head.in_index
        chosen = index if isinstance(index, Sequence) else [index]
        if any(not -len(maps) <= i < len(maps) for i in chosen):
            raise InputError(
                f'model.{name}.in_index',
                f'is {index}, but the {giver} returns maps of these channels: '
                f'{_channels(maps)}',
                f'use indices from 0 to {len(maps) - 1}',
            )
        wanted = head.in_channels
        wanted = list(wanted) if isinstance(wanted, Sequence) else wanted
        _check_channels(name, wanted, [maps[i] for i in chosen], giver)
        if '.' not in name or not name.startswith('decode_head'):
            _on_meta(head, maps)  # heads of a cascade need the results of earlier ones


def _check_channels(
    name: str, wanted: int | list[int], maps: Sequence['Tensor'], giver: str
) -> None:
    found = _channels(maps)
    if wanted == found or (isinstance(wanted, int) and wanted == sum(found)):
        return
    right = found if isinstance(wanted, list) else sum(found)
    raise InputError(
        f'model.{name}.in_channels',
        f'is {wanted}, but the {giver} returns maps of these channels: {found}',
        f'set it to {right}, or choose another {giver}',
    )


def _channels(maps: Sequence['Tensor']) -> list[int]:
    return [features.shape[1] for features in maps]


def _on_meta(module: Any, given: Any) -> Any:
    import torch
    from torch.func import functional_call

    values = (*module.named_parameters(), *module.named_buffers())
    shapes = {name: torch.empty_like(value, device='meta') for name, value in values}
    return functional_call(module, shapes, (given,))


def _too_small(batch: int, is_rest: bool) -> InputError:
    what = (
        f'the last batch of an epoch holds {batch} image, but a batch norm needs two '
        'values of each channel'
    )
    if is_rest:
        return InputError('train_dataloader', what, 'set drop_last=True in it')
    return InputError(
        f'train_dataloader.batch_size={batch}',
        'a batch norm over maps of 1 x 1 needs two images or more',
        "set it to 2, or norm_cfg=dict(type='GN', num_groups=32) in the heads",
    )
