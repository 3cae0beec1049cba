"""Write the weights of a checkpoint as safetensors, which other programs read."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmsegmentation.checkpoints import META, check_checkpoint
from mmsegmentation.command import InputError, Parser, run_command, waiting
from mmsegmentation.early import check_are_checkpoints, check_writable
from mmsegmentation.files import refuse_existing, sha256_of, write_whole
from mmsegmentation.runtime import silence

# Keys of ``meta`` that are stored with the weights. They describe the training data.
ORIGIN = 'fold', 'knows_validation', 'pseudo', 'cfg', 'epoch', 'iter'


def parse_args(argv: Sequence[str] | None) -> Namespace:
    parser = Parser(prog='tools/export.py', description=__doc__)
    add = parser.add_argument
    add('checkpoint', type=Path, help='checkpoint of a run')
    add('--out', required=True, type=Path, metavar='FILE', help='.safetensors to write')
    add('--overwrite', action='store_true', help='replace FILE')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file and say what is in it."""
    args = parse_args(argv)
    silence()
    if args.out.suffix != '.safetensors':
        raise InputError(args.out, 'names no known format', 'end it in .safetensors')
    refuse_existing(args.out, args.overwrite)
    check_are_checkpoints([args.checkpoint])
    check_writable(args.out)
    with waiting(f'reading {args.checkpoint}'):
        content = check_checkpoint(str(args.checkpoint))
        weights = content.get('state_dict', content)
        write_whole(args.out, encode(weights, describe(content, args.checkpoint)))
    print(f'written: {args.out}, {len(weights)} weights')
    return 0


def describe(content: dict[str, Any], path: Path) -> dict[str, str]:
    """Return the meta data of the file: its source, its epoch or step, its classes.

    The key ``meta`` describes the training data as JSON. With it, commands refuse to
    judge the model on images that it was trained on.
    """
    meta = content.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    classes = (meta.get('dataset_meta') or {}).get('classes') or ()
    found = {'epoch': meta.get('epoch'), 'iter': meta.get('iter')}
    origin = {key: meta[key] for key in ORIGIN if key in meta}
    return {
        META: json.dumps(origin),
        'format': 'pt',
        'source': path.name,
        'source_sha256': sha256_of(path),
        'classes': json.dumps(list(classes)),
        **{key: str(value) for key, value in found.items() if value is not None},
    }


def encode(weights: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """Return weights as safetensors, each under its name and in a place of its own.

    Raises:
        InputError: A value is no tensor.
    """
    import torch
    from safetensors.torch import save

    for name, value in weights.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(name, 'is no weight', 'name a checkpoint of a run')
    own = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    return save(own, metadata)


if __name__ == '__main__':
    run_command(main)
