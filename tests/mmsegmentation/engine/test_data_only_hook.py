"""A checkpoint is data: no text in it is run."""

import torch

from mmsegmentation.engine import DataOnlyHook


def test_hook__drops_the_text_that_a_resumed_run_would_execute(train, tmp_path):
    runner = train([], [1])
    path = tmp_path / 'run/iter_1.pth'
    content = torch.load(path, weights_only=False)
    content['meta']['config'] = f"open({str(tmp_path / 'witness')!r}, 'w').close()\n"
    torch.save(content, path)
    runner = train([DataOnlyHook()], [1, 2], end=2, resume=True)
    assert runner.iter == 2
    assert not (tmp_path / 'witness').exists()


def test_hook__takes_bare_weights(train):
    checkpoint = {'weight': torch.ones(1)}
    DataOnlyHook().after_load_checkpoint(None, checkpoint)
    assert list(checkpoint) == ['weight']
