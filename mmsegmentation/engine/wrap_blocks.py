from collections.abc import Sequence

from mmengine.registry import FUNCTIONS
from torch import nn

# Only what is called as it is can be a part of its own: a head is asked for its loss,
# and our heads take the weights out of their convolutions.
BLOCKS = 'ConvNeXtBlock', 'BEiTTransformerEncoderLayer'


@FUNCTIONS.register_module()
def wrap_blocks(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    names: Sequence[str] = BLOCKS,
) -> bool:
    """Tell whether FSDP gathers the weights of a module by themselves.

    The ``auto_wrap_policy`` of ``MMFullyShardedDataParallel`` for our backbones: block
    by block. What is not in a block is gathered once a step.

    Args:
        module: A part of the model.
        recurse: Whether the question is to look into the module, which always is so.
        nonwrapped_numel: Its weights that are in no block; not used.
        names: The classes that are wrapped.
    """
    return recurse or type(module).__name__ in names
