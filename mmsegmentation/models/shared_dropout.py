from typing import Any

from mmcv.cnn.bricks import DropPath
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn

DROPOUTS = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d


class SharedDropout(nn.Module):
    """A dropout whose mask is drawn for the batches of all processes together.

    The processes of a run start with one seed: by itself each would draw the same mask
    for its own images. Here each draws the masks of all and takes its own, so that they
    are those that one process would draw for the whole batch, whose images the samplers
    deal out in turn.

    Args:
        drop: The dropout of one process.
    """

    drop: Any

    def __init__(self, drop: nn.Module) -> None:
        super().__init__()
        self.drop = drop

    @property
    def p(self) -> float:
        """How much is dropped, in [0, 1]."""
        return self.drop.drop_prob if isinstance(self.drop, DropPath) else self.drop.p

    def forward(self, x: Tensor) -> Tensor:
        """Drop parts of ``x``, (N, ...), with N of the process's own."""
        if not self.training:
            return x
        # What a mask has in full; of its other dimensions it has one.
        full = x.dim()
        if isinstance(self.drop, DropPath):
            full = 1
        elif isinstance(self.drop, DROPOUTS[1:]):
            full = 2
        size = [n if i < full else 1 for i, n in enumerate(x.shape)]
        size[0] *= get_world_size()
        return x * self.drop(x.new_ones(size))[get_rank() :: get_world_size()]


def share_dropout(model: nn.Module) -> None:
    """Put a ``SharedDropout`` in the place of each dropout of a model that drops."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            kinds = () if isinstance(parent, SharedDropout) else (DropPath, *DROPOUTS)
            if isinstance(child, kinds) and SharedDropout(child).p:
                parent.add_module(name, SharedDropout(child))
