"""What a checkpoint holds beside weights, over several processes."""

import torch
from torch import nn

from mmsegmentation.engine import run_state
from tests.forked import run_two


def test_gradients__of_two_processes_are_their_mean(tmp_path):
    """It is what the optimiser's next step would take, not their sum."""

    def act(rank):
        model = nn.Linear(2, 1, bias=False)
        model.weight.grad = torch.tensor([[1.0, -2.0]]) * (1 + 2 * rank)
        return run_state.gradients(model)['weight'].tolist()

    assert run_two(tmp_path, act) == [[[2.0, -4.0]]] * 2
