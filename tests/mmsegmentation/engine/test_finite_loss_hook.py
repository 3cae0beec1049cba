import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.command import InputError
from mmsegmentation.engine import FiniteLossHook, QuietRunner
from mmsegmentation.files import read_json
from tests.forked import run_two

NAN, INF = math.nan, math.inf


def weights_of(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def adam(**more):
    return {'optimizer': {'type': 'AdamW', 'lr': 0.01}, **more}


@pytest.mark.parametrize('bad', [NAN, INF, -INF])
def test_skipped_step__changes_nothing_of_the_state(train, bad):
    """The run is the one that never had this step: weights and moments of Adam."""
    common = dict(runner_type=QuietRunner, optim_wrapper=adam(), per_epoch=1)
    plain = train([], [4] * 2, [0.1, 0.2], **common)
    hook = FiniteLossHook(max_skips=1)
    runner = train([hook], [4] * 3, [0.1, bad, 0.2], **common)
    assert hook.skipped == 1
    assert weights_of(runner).keys() == weights_of(plain).keys()
    for name, weight in weights_of(plain).items():
        assert torch.equal(weight, runner.model.state_dict()[name]), name
    moments = runner.optim_wrapper.optimizer.state_dict()['state']
    assert {float(state['step']) for state in moments.values()} == {2.0}


def test_stop__names_the_step_and_keeps_the_state_before_it(train, tmp_path):
    with pytest.raises(InputError, match=r'^step 3: the loss .*nan.*iter_2\.pth.*rate'):
        train([FiniteLossHook()], [4] * 4, [0.1, 0.2, NAN], runner_type=QuietRunner)
    content = check_checkpoint(str(tmp_path / 'run/iter_2.pth'))
    assert content['meta']['iter'] == 2
    (record,) = read_json(tmp_path / 'run/not_finite.json')
    assert record['step'] == 3
    assert record['losses'] == {'loss': 'nan'}
    assert not (tmp_path / 'run/iter_3.pth').exists()
    # The step comes again when the run goes on: still one record.
    go_on = dict(end=4, resume=True, runner_type=QuietRunner)
    train([FiniteLossHook(max_skips=1)], [4] * 3, [NAN, 0.1], **go_on)
    (record,) = read_json(tmp_path / 'run/not_finite.json')
    assert record['step'] == 3


def test_stop__writes_the_checkpoint_that_was_not_due(train, tmp_path):
    rare = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 100}
    common = dict(runner_type=QuietRunner, checkpoint=rare, val_cfg=None)
    common |= dict(val_dataloader=None, val_evaluator=None)
    with pytest.raises(InputError, match=r'iter_2\.pth'):
        train([FiniteLossHook()], [4] * 4, [0.1, 0.2, NAN], **common)
    two = train([], [4] * 2, [0.1, 0.2], **{**common, 'work_dir': str(tmp_path / 'o')})
    kept = check_checkpoint(str(tmp_path / 'run/iter_2.pth'))['state_dict']
    for name, weight in weights_of(two).items():
        assert torch.equal(kept[name], weight), name


def test_accumulation__drops_all_that_the_step_had_gathered(train):
    common = dict(runner_type=QuietRunner, optim_wrapper=adam(accumulative_counts=2))
    hook = FiniteLossHook(max_skips=1)
    runner = train([hook], [4] * 4, [0.1, 0.1, NAN, 0.1], **common)
    assert hook.skipped == 1
    moments = runner.optim_wrapper.optimizer.state_dict()['state']
    assert {float(state['step']) for state in moments.values()} == {1.0}
    assert all(w.isfinite().all() for w in runner.model.state_dict().values())


def test_gradient__that_is_not_finite_is_refused_where_it_is_clipped(train, tmp_path):
    def spoil(model, *_):
        if spoil.step == 1:
            model.head.weight.register_hook(lambda grad: grad * NAN)
        spoil.step += 1

    spoil.step = 0
    handles = []

    class Spoiler(FiniteLossHook):
        def before_train(self, runner):
            super().before_train(runner)
            handles.append(runner.model.register_forward_pre_hook(spoil))

    clip = adam(clip_grad={'max_norm': 1.0})
    with pytest.raises(InputError, match=r'step 2: .*gradient_norm nan'):
        train([Spoiler()], [4] * 3, runner_type=QuietRunner, optim_wrapper=clip)
    spoil.step = 0
    # Without a norm to read it is noticed before anything is written.
    with pytest.raises(InputError, match=r'weights are no longer finite .*clip_grad'):
        train([Spoiler()], [4] * 3, runner_type=QuietRunner, optim_wrapper=adam())
    assert not (tmp_path / 'run/iter_2.pth').exists()


def test_gradient__that_a_scaler_leaves_out_is_no_error(train):
    """A fused optimiser gets the step, and word not to make it."""

    class Scaled(FiniteLossHook):
        def before_train(self, runner):
            super().before_train(runner)
            runner.model.head.weight.register_hook(lambda grad: grad * INF)
            runner.optim_wrapper.optimizer.found_inf = torch.tensor(1.0)

    fused = adam(clip_grad={'max_norm': 1.0})
    fused['optimizer']['fused'] = True
    hook = Scaled()
    runner = train([hook], [4] * 2, runner_type=QuietRunner, optim_wrapper=fused)
    assert hook.skipped == 0
    assert all(w.isfinite().all() for w in runner.model.state_dict().values())


def test_batch_norm__keeps_its_statistics_of_before(train):
    class Normed(FiniteLossHook):
        def before_train(self, runner):
            body = runner.model.body
            runner.model.body = nn.Sequential(body, nn.BatchNorm2d(5))
            super().before_train(runner)

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            super().before_train_iter(runner, batch_idx, data_batch)
            if runner.iter == 1:
                data_batch['image'].fill_(NAN)

    hook = Normed(max_skips=1)
    runner = train([hook], [4] * 3, runner_type=QuietRunner)
    assert hook.skipped == 1
    norm = runner.model.body[1]
    assert norm.running_mean.isfinite().all()
    assert int(norm.num_batches_tracked) == 2


def test_count__goes_on_after_a_resume():
    hook = FiniteLossHook(max_skips=3)
    hook.load_state_dict({'skipped': 2, 'records': [{'step': 5}]})
    assert hook.state_dict() == {'skipped': 2, 'records': [{'step': 5}]}


def test_argument__negative_is_refused():
    with pytest.raises(ValueError, match=r'max_skips must be >= 0, got -1'):
        FiniteLossHook(max_skips=-1)


def divided(weight):
    """Return a model under the names that FSDP gives its parameters."""
    head = nn.Linear(1, 1, bias=False)
    head.weight.data.fill_(weight)
    return nn.ModuleDict({'_fsdp_wrapped_module': nn.ModuleDict({'head': head})})


def runner_of(model):
    hub = SimpleNamespace(get_info=lambda *_: '')
    return SimpleNamespace(model=model, iter=3, message_hub=hub)


def test_save__of_a_model_that_fsdp_divides_is_checked_too():
    hook = FiniteLossHook()
    hook._runner = runner = runner_of(divided(NAN))
    whole = {'state_dict': {'head.weight': torch.tensor([[NAN]])}}
    message = r'step 4: the weights are no longer finite \(head\.weight first\)'
    with pytest.raises(InputError, match=message):
        hook.before_save_checkpoint(runner, whole)
    hook.before_save_checkpoint(runner, {'state_dict': {}})  # of other processes


def test_spoilt_weights__of_one_process_stop_them_all(tmp_path):
    """Under FSDP each has a part of the weights."""

    def act(rank):
        hook = FiniteLossHook()
        hook._live, hook._runner = [], runner_of(divided(NAN if rank else 1.0))
        try:
            hook._refuse()
        except InputError as error:
            return str(error)

    texts = run_two(tmp_path, act)
    assert texts[0] == texts[1]
    assert 'step 4: the weights are no longer finite (head.weight first)' in texts[0]


def test_loss__of_one_process_alone_stops_them_all(tmp_path):
    """Or the others would make the step, with its gradients."""

    def act(rank):
        hook = FiniteLossHook()
        hook._runner = SimpleNamespace(cfg={})
        losses = {'loss_ce': torch.tensor(NAN if rank else 1.0)}
        hook._note_losses(nn.Identity(), (), losses)
        return math.isfinite(hook._reading())

    assert run_two(tmp_path, act) == [False, False]


def test_loss__is_the_mean_that_the_log_has():
    """The sum of a loss without entries is 0, its mean is not a number."""
    hook = FiniteLossHook()
    hook._note_losses(nn.Identity(), (), {'loss_ce': torch.tensor([1.0, 3.0])})
    assert hook._reading() == 2
    listed = [torch.tensor([1.0, 3.0]), torch.tensor([[5.0]])]
    losses = {'loss_a': listed, 'loss_b': torch.ones(4), 'loss_of_none': []}
    hook._note_losses(nn.Identity(), (), losses)
    assert hook._reading() == 2 + 5 + 1
    hook._note_losses(
        nn.Identity(), (), {'loss_ce': torch.ones(0), 'acc': torch.ones(0)}
    )
    assert math.isnan(hook._reading())
