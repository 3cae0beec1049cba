"""Averages of checkpoints: the numbers by hand, and only such as are worth keeping."""

import shutil

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch.utils.data import DataLoader

from mmsegmentation.checkpoints import check_checkpoint
from mmsegmentation.engine import SeededInfiniteSampler
from mmsegmentation.files import read_json
from mmsegmentation.runtime import quiet, read_config
from mmsegmentation.sealed import MARK
from tools import average, soup, test
from tools.soup import Judge, Mean, Soup, best_alone, first_of, greedy, uniform

FEW = ('--bn-batches', 1)


@pytest.fixture
def members(trained):
    return [trained[1] / name for name in ('iter_2.pth', 'iter_4.pth')]


class Scripted(Judge):
    """Knows what each mean is worth, by its only weight."""

    def __init__(self, scores):
        super().__init__(None, None)
        self.scores = scores

    def score(self, weights):
        return self.scores[weights['w'].item()]


def reader(**values):
    return lambda name: {'w': torch.tensor(values[name], dtype=torch.float32)}


def alone(name, value, score):
    return Soup({'w': torch.tensor(value)}, [name], score)


def test_greedy__takes_what_does_not_lower_the_score(capsys):
    # From the best one on: b alone .5; b and c mean 4, worse; b and a mean 2, as good;
    # all three of b, a and d mean 3, better.
    judge = Scripted({4.0: 0.4, 2.0: 0.5, 3.0: 0.6})
    read, scores = reader(a=1.0, b=3.0, c=5.0, d=5.0), [0.3, 0.5, 0.4, 0.2]
    found = greedy('abcd', scores, alone('b', 3.0, 0.5), read, judge)
    assert found.taken == ['b', 'a', 'd']
    assert (found.weights['w'].item(), found.score) == (3.0, 0.6)
    assert capsys.readouterr().out.count('\n') == 3


def test_greedy__best_member_alone_is_kept_as_it_is():
    judge, read = Scripted({2.0: 0.1}), reader(a=1.0, b=3.0)
    best = best_alone('ab', [0.5, 0.5], read, judge)
    assert best == alone('a', 1.0, 0.5)
    assert greedy('ab', [0.5, 0.5], best, read, judge) is best


@pytest.mark.parametrize(('renewed', 'kept'), [(0.7, 9.0), (0.5, 3.0)])
def test_best__is_tried_with_the_statistics_that_means_get(
    renewed, kept, monkeypatch, capsys
):
    judge = Scripted({9.0: renewed})
    monkeypatch.setattr(judge, 'refresh', lambda weights: {'w': torch.tensor(9.0)})
    best = best_alone('ab', [0.3, 0.5], reader(a=1.0, b=3.0), judge)
    assert best == alone('b', kept, max(renewed, 0.5))
    assert capsys.readouterr().out == f'b, fresh statistics: mIoU {renewed:.4f}\n'


def test_uniform__takes_all():
    found = uniform(['a', 'b'], reader(a=1.0, b=3.0), Scripted({2.0: 0.1}))
    assert found == Soup({'w': torch.tensor(2.0)}, ['a', 'b'], 0.1)


def test_mean__is_exact_and_leaves_integers_alone():
    weight = torch.tensor([0.1, 1e-8, 3e7])
    mean = Mean({'w': weight, 'half': weight[:1].half(), 'n': torch.tensor(7)})
    for number in (9, 11):
        same = {'w': weight, 'half': weight[:1].half(), 'n': torch.tensor(number)}
        mean.add(same)
    found = mean.result()
    assert torch.equal(found['w'], weight)
    assert found['half'].dtype == torch.float16
    assert found['n'].item() == 7


def test_average__weights_and_statistics_by_hand(
    trained, members, shared_data, run, tmp_path
):
    out = tmp_path / 'mean.pth'
    options = ('--method', 'swa', '--anyway', '--out', out, *FEW)
    code, said, err = run(average.main, trained[0], *members, *options)
    assert code == 0, err
    assert 'batch norms: statistics of 1 training batches' in said
    content = check_checkpoint(str(out))
    assert MARK in out.read_bytes()[-80:]
    one, two = (check_checkpoint(str(path))['state_dict'] for path in members)
    found = content['state_dict']
    assert found.keys() == one.keys()
    cfg = read_config(trained[0])
    with quiet():
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    for name, _ in model.named_parameters():
        torch.testing.assert_close(found[name], (one[name] + two[name]) / 2)
    norms = [name for name in found if name.endswith('running_mean')]
    assert all(not torch.equal(found[n], (one[n] + two[n]) / 2) for n in norms)
    assert {found[n].item() for n in found if n.endswith('tracked')} == {1}
    assert [m['checkpoint'] for m in content['meta']['average']['members']] == [
        str(path) for path in members
    ]
    assert content['meta']['steps'] == 4  # the most, of 2 and 4


def test_average__is_worth_what_it_says_to_the_tester(
    trained, members, shared_data, run, tmp_path
):
    out = tmp_path / 'soup.pth'
    code, said, err = run(average.main, trained[0], *members, '--out', out, *FEW)
    assert code == 0, err
    alone = [line for line in said.splitlines() if line.startswith(str(members[0]))]
    assert alone[0].startswith(f'{members[0]}: mIoU 0.')
    noted = check_checkpoint(str(out))['meta']['average']
    assert said.splitlines()[-1] == f'written: {out}  mIoU {noted["mIoU"]:.4f}'
    assert noted['mIoU'] >= max(member['mIoU'] for member in noted['members'])
    code, _, err = run(test.main, trained[0], out, '--out', tmp_path / 'pred')
    assert code == 0, err
    assert read_json(tmp_path / 'pred/metrics.json')['mIoU'] == noted['mIoU']


def test_average__that_is_worse_is_not_written(
    trained, members, shared_data, run, tmp_path, monkeypatch
):
    worse = Soup({}, [str(path) for path in members], 0.25)
    best = Soup({}, [str(members[0])], 0.5)
    monkeypatch.setattr(average, 'cook', lambda args, judge: ([0.5, 0.4], best, worse))
    monkeypatch.setattr(average, 'build_judge', lambda *_: None)
    out = tmp_path / 'mean.pth'
    code, said, _ = run(average.main, trained[0], *members, '--out', out)
    assert code == 1
    assert said.splitlines()[-2].endswith('0.2500  -0.2500 to the best')
    assert said.splitlines()[-1].startswith('below its best member: nothing written')
    assert list(tmp_path.iterdir()) == []


def test_average__interrupted_leaves_nothing(
    trained, members, shared_data, tmp_path, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(soup.Judge, 'score', stop)
    argv = [trained[0], *map(str, members), '--out', str(tmp_path / 'mean.pth')]
    with pytest.raises(KeyboardInterrupt):
        average.main(argv)
    assert list(tmp_path.iterdir()) == []


def test_average__misuse_is_one_line(trained, members, shared_data, misuse, tmp_path):
    out = ('--out', tmp_path / 'out.pth')
    one, two = members
    misuse(average.main, r'iter_2\.pth: has none to be averaged', trained[0], one, *out)
    shutil.copy(one, tmp_path / 'copy.pth')
    copied = (trained[0], one, tmp_path / 'copy.pth')
    misuse(average.main, r'copy\.pth: is .*iter_2\.pth once more', *copied, *out)
    content = check_checkpoint(str(two))
    weights = content['state_dict']
    wide = {**weights, 'decode_head.conv_seg.weight': torch.zeros(12, 48, 1, 1)}
    torch.save({'state_dict': wide}, tmp_path / 'wide.pth')
    message = (
        r'wide\.pth: does not fit .*iter_2\.pth: 1 of \d+ weights .* '
        r'decode_head\.conv_seg\.weight first; name checkpoints of one config'
    )
    misuse(average.main, message, trained[0], one, tmp_path / 'wide.pth', *out)
    torch.save({'state_dict': {}}, tmp_path / 'empty.pth')
    message = r'empty\.pth: holds no weights'
    misuse(average.main, message, trained[0], one, tmp_path / 'empty.pth', *out)
    meta = {'knows_validation': True}
    torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'final.pth')
    message = r'final\.pth: was trained on the images of valid'
    misuse(average.main, message, trained[0], one, tmp_path / 'final.pth', *out)
    meta = {'fold': {'fold': 1, 'parts': ['train']}}
    torch.save({'state_dict': weights, 'meta': meta}, tmp_path / 'fold.pth')
    message = r'fold\.pth: is of another fold than'
    misuse(average.main, message, trained[0], one, tmp_path / 'fold.pth', *out)
    images = tmp_path / 'unlabelled/valid/images'
    shutil.copytree(shared_data / 'valid/images', images)
    named = (trained[0], one, two, *out, '--data-root', tmp_path / 'unlabelled')
    misuse(average.main, r'valid/mask: no such folder, so that nothing can', *named)
    named = (trained[0], one, two, '--out', tmp_path / 'out.bin')
    misuse(average.main, r'out\.bin: names no checkpoint; end it in \.pth', *named)
    misuse(average.main, r'copy\.pth: exists', *named[:-1], tmp_path / 'copy.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_batches__are_the_same_each_time():
    sampler = SeededInfiniteSampler(range(9), seed=1)
    batches = first_of(DataLoader(range(9), batch_size=2, sampler=sampler), 3)
    first, again = ([batch.tolist() for batch in batches()] for _ in range(2))
    assert first == again
    assert len(first) == 3
