"""Turn weights of other projects into ours, and say what did not match.

From timm, transformers, torchvision, facebookresearch (ConvNeXt) and Microsoft (BEiT):
backbones of ConvNeXt and BEiT, and whole UPerNets on them.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.checkpoints import check_checkpoint, shown_modules
from mmsegmentation.command import InputError, Parser, run_command, waiting
from mmsegmentation.early import (
    check_are_checkpoints,
    check_is_config,
    check_writable,
)
from mmsegmentation.files import refuse_existing, whole_file
from mmsegmentation.pretrained import start_from_scratch
from mmsegmentation.runtime import MISUSES, quiet, read_config, silence

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmsegmentation.models.fitting import Fit
    from mmsegmentation.models.translate import Translation, Weights

PROJECTS = 'timm, transformers, torchvision, facebookresearch, Microsoft or OpenMMLab'


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/convert_checkpoint.py', description=__doc__)
    add = parser.add_argument
    add('source', type=Path, help='weights to convert, .pth, .bin or .safetensors')
    add('--config', required=True, help='config file of the model that takes them')
    add('--out', required=True, type=Path, metavar='FILE', help='checkpoint to write')
    add(
        '--backbone-only',
        action='store_true',
        help='write no heads, and names without the prefix "backbone."',
    )
    add('--overwrite', action='store_true', help='replace FILE')
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help='config changes')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the checkpoint and print what became of each weight."""
    args = parse_args(argv)
    silence()
    refuse_existing(args.out, args.overwrite)
    if args.out.resolve() == args.source.resolve():
        raise InputError(args.out, 'is the source', 'name another file for --out')
    check_is_config(args.config)
    if not args.source.is_dir():
        check_are_checkpoints([args.source])
    check_writable(args.out)
    cfg = read_config(args.config, args.cfg_options, ['model'])
    with waiting(f'converting {args.source}'):
        translation = read_source(args.source)
        model = build_model(cfg, args.config)
        result = fit_backbone(translation, model, args)
        weights = result.weights
        if args.backbone_only:
            weights = _of_backbone(weights)
        write(args, weights)
    for line in report(result, translation, args.backbone_only):
        print(line)
    print(f'written: {args.out}, {len(weights)} weights')
    print(f'use: {_use(result, model, args)}')
    return 0


def read_source(path: Path) -> 'Translation':
    """Read a checkpoint under our names, as data only.

    Raises:
        InputError: It cannot be read, or nobody's names are in it.
    """
    with quiet():
        from mmsegmentation.models.translate import translate, unwrap

    if path.is_dir():
        raise InputError(path, 'is a folder', 'name the file in it that holds weights')
    given = unwrap(check_checkpoint(str(path)))
    if not given:
        raise InputError(path, 'holds no weights', 'name a checkpoint')
    result = translate(given)
    if result.source is None:
        raise InputError(
            path,
            f'has no names of a known ConvNeXt or BEiT, {next(iter(given))} first',
            f'name weights of {PROJECTS}',
        )
    return result


def build_model(cfg: 'Config', name: str) -> Any:
    """Build the segmentor of a config, without weights.

    Raises:
        InputError: The config misuses a part, or names one that does not exist.
    """
    with quiet():
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS

        init_default_scope('mmseg')
        start_from_scratch(cfg)
        try:
            return MODELS.build(cfg.model)
        except MISUSES as error:
            raise InputError(
                name, f'does not build ({error})', 'correct the config'
            ) from None


def fit_backbone(translation: 'Translation', model: Any, args: Namespace) -> 'Fit':
    """Return what the model takes; its backbone must be the one of the weights.

    Raises:
        InputError: It is of another family, or of another size.
    """
    from mmsegmentation.models.fitting import fit, misfit
    from mmsegmentation.models.translate import find_source

    ours, source = find_source(model.state_dict()), translation.source
    assert source is not None
    if ours is None or ours.family != source.family:
        raise InputError(
            args.config,
            f'its backbone is no {source.family}, and {args.source} holds one',
            f'name a config of configs/{source.family.lower()}',
        )
    try:
        result = fit(translation, model)
    except ValueError as error:
        raise InputError(args.source, str(error), 'name other weights') from None
    wrong = misfit(result)
    if wrong:
        what, names = wrong
        first = ' and '.join(translation.origins.get(names[0], names[:1]))
        raise InputError(
            args.source,
            f'does not fit the backbone of {args.config}: {len(names)} weights are '
            f'{what}, {first} first',
            'name a config of the same size, or weights of the same kind',
        )
    return result


def _of_backbone(weights: 'Weights') -> 'Weights':
    start = 'backbone.'
    pairs = [(name, v) for name, v in weights.items() if name.startswith(start)]
    return {name.removeprefix(start): value for name, value in pairs}


def write(args: Namespace, weights: 'Weights') -> None:
    """Write weights as a checkpoint, whole or not at all."""
    import torch

    # A view would be written with all that lies behind it.
    own = {
        name: value if _is_whole(value) else value.clone()
        for name, value in weights.items()
    }
    with whole_file(args.out, overwrite=args.overwrite) as beside:
        torch.save({'state_dict': own}, beside)


def _is_whole(value: Any) -> bool:
    return value.untyped_storage().nbytes() == value.nbytes


def report(
    result: 'Fit', translation: 'Translation', backbone_only: bool
) -> Iterable[str]:
    """Say what of the source went nowhere, and what of the model got nothing."""
    source, origins = translation.source, translation.origins
    assert source is not None
    count = sum(map(len, origins.values()))
    yield f'source: {source.family} of {source.name}, {count} weights'
    if result.resized:
        yield f'position tables resized to the window of the config: {result.resized}'
    unused = [name for ours in result.unused for name in origins[ours]]
    if unused:
        yield f'not loaded, the model has no such parts: {shown_modules(unused)}'
    ours = 'backbone.' if backbone_only else ''
    missing = [name for name in result.missing if name.startswith(ours)]
    if missing:
        yield (
            'missing in the source, these parts keep their initial weights: '
            f'{shown_modules(missing)}'
        )
    parts: dict[str, list[str]] = {}
    for name in result.wrong:
        if name.startswith(ours):
            parts.setdefault(name.split('.')[0], []).append(name)
    for part, names in parts.items():
        yield f'not loaded, {_difference(part, names, result)}'


def _difference(part: str, names: list[str], result: 'Fit') -> str:
    """Say how the shapes of a part differ."""
    there, here = result.wrong[names[0]]
    if all('.conv_seg.' in name for name in names) and there[1:] == here[1:]:
        return f'{there[0]} classes and here {here[0]}: {part}.conv_seg'
    first = f'{names[0]} {there} first, here {here}'
    return f'{len(names)} weights of another shape: {part}, {first}'


def _use(result: 'Fit', model: Any, args: Namespace) -> str:
    """Say what the written file is good for."""
    lacking = [
        name
        for name in [*result.missing, *result.wrong]
        if not name.startswith('auxiliary_head.')
    ]
    start = f"init_cfg=dict(type='Pretrained', checkpoint='{args.out}'"
    if args.backbone_only:
        return f'backbone=dict({start}))'
    options = ' '.join(args.cfg_options)
    if not lacking:
        more = f' --cfg-options {options}' if options else ''
        return f'python tools/test.py {args.config} {args.out} --out PRED{more}'
    if all('.conv_seg.' in name for name in lacking):
        options = f'load_from={args.out} {options}'.rstrip()
        return f'python tools/train.py {args.config} --cfg-options {options}'
    if type(model.backbone).__module__.startswith('mmseg.'):
        return "with --backbone-only alone: MMSegmentation's own BEiT reads no prefix"
    return f"backbone=dict({start}, prefix='backbone.'))"


if __name__ == '__main__':
    run_command(main)
