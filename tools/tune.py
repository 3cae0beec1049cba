"""Search for better values of a config: a study of trials that workers share.

    python tools/tune.py CONFIG SPACE --study NAME --trials 50

SPACE is a YAML file that names what is searched; configs/tuning has some. Each trial is
an ordinary run of tools/train.py in a folder of its own; one that falls behind is ended
early. Start the command again, or on more machines at once, and the study goes on: a
trial whose worker was killed is taken up where its last checkpoint is. The best comes
out as best.py, which tools/train.py takes; index.html shows the study.
"""

import os
import shlex
import socket
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.command import InputError, Parser, run_command
from mmsegmentation.device import add_device_option
from tools import jobs
from tools.jobs import PROGRAMS, Call, do, program_of, shown
from tools.steps import check_place

if TYPE_CHECKING:
    from mmengine.config import Config

    from tools.tuning.space import Searched
    from tools.tuning.study import SharedStudy, Taken
    from tools.tuning.training import Outcome

NEEDS = 'model', 'train_dataloader', 'val_dataloader', 'train_cfg', 'optim_wrapper'
MARKER = 'study.json'
# So many failures in a row are nobody's chance.
FAILURES = 3


def parse_args(argv: Sequence[str] | None) -> Namespace:
    summary = __doc__.split('\n')[0]
    parser = Parser(prog='tools/tune.py', description=summary)
    add = parser.add_argument
    add('config', metavar='CONFIG', help='the config that is to become better')
    add('space', metavar='SPACE', help='YAML file, see configs/tuning/')
    text = 'its name; that of SPACE if not given'
    add('--study', metavar='NAME', help=text)
    text = 'database: sqlite:///FILE or postgresql://HOST/NAME; WORK_DIR.db if none'
    add('--storage', metavar='URL', help=text)
    add('--work-dir', type=Path, metavar='D', help='work_dirs/tune/NAME if none')
    text = 'trials of the whole study, failed ones included'
    add('--trials', type=int, default=20, metavar='N', help=text)
    text = 'how values are drawn: by what scored before, or by chance'
    add('--sampler', choices=['tpe', 'random'], default='tpe', help=text)
    text = 'what ends trials early, by their validation scores'
    add(
        '--pruner', choices=['median', 'hyperband', 'none'], default='median', help=text
    )
    add('--seed', type=int, default=0, metavar='S', help='of the draws, 0 or more')
    add('--score', default='mIoU', metavar='KEY', help='a validation score of the log')
    add('--minimize', action='store_true', help='low scores are good')
    add('--data-root', metavar='ROOT', help='the data; RECYCLE_DATA if none')
    add('--fold', type=int, metavar='K', help='as of tools/train.py')
    add('--folds', metavar='DIR', help='as of tools/train.py')
    add_device_option(parser)
    add('--amp', action='store_true', help='as of tools/train.py')
    add('--from-scratch', action='store_true', help='use no pretrained weights')
    add('--launcher', choices=[*PROGRAMS], default='none', help='of each training')
    text = f'what starts it, such as "{PROGRAMS["pytorch"]}"'
    add('--launch', metavar='WORDS', help=text)
    text = 'config changes that all trials share'
    add('--cfg-options', nargs='+', default=[], metavar='K=V', help=text)
    args = parser.parse_args(argv)
    args.study = args.study or Path(args.space).stem
    args.work_dir = args.work_dir or Path('work_dirs/tune') / args.study
    args.storage = args.storage or f'sqlite:///{args.work_dir}.db'
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Work on a study until no trial is left for this worker."""
    args = parse_args(argv)
    check_arguments(args)
    check_place(args.work_dir, MARKER)
    worker = Worker(args)
    worker.work()
    worker.conclude()
    return 0


def check_arguments(args: Namespace) -> None:
    """Refuse what is wrong by itself.

    Raises:
        InputError: A number is out of range, or a name cannot be one of a folder.
    """
    if args.trials < 1:
        raise InputError('--trials', f'is {args.trials}', 'give 1 or more')
    if args.seed < 0:
        raise InputError('--seed', f'{args.seed} is negative', 'give 0 or more')
    if Path(args.study).name != args.study or args.study == '..':
        raise InputError('--study', f'{args.study!r} is no plain name', 'write a word')
    if '?' in str(args.work_dir):
        # The address of a database, which is named after it, would end there.
        raise InputError('--work-dir', f'{args.work_dir} has a "?"', 'leave it out')


class Worker:
    """One of the processes that work on a study.

    Args:
        args: The arguments of the command.

    Raises:
        InputError: Config, space or storage cannot be used, or the study was begun in
            another way.
    """

    def __init__(self, args: Namespace) -> None:
        from mmsegmentation.early import check_data
        from mmsegmentation.runtime import import_parts, parse_config, silence
        from tools.tuning.space import read_space

        silence()
        self.args = args
        self.program = program_of(args.launcher, args.launch)
        self.base = parse_config(args.config, (), NEEDS, args.data_root)
        self.cfg = parse_config(args.config, args.cfg_options, NEEDS, args.data_root)
        if args.fold is None:
            check_data(self.cfg, ('train_dataloader', 'val_dataloader'))
        import_parts(self.cfg)
        self.space: list[Searched] = read_space(args.space, self.cfg)
        self.study: SharedStudy = self._open()
        self._claim_folder()

    def _open(self) -> 'SharedStudy':
        from mmsegmentation.resume import noted_checkpoint
        from tools.tuning.record import trial_name
        from tools.tuning.study import Plan, SharedStudy

        args = self.args
        plan = Plan(
            args.sampler,
            args.pruner,
            args.seed,
            args.minimize,
            args.trials,
            validations_of(self.cfg),
        )
        names = 'sampler', 'pruner', 'seed', 'score', 'minimize', 'fold', 'amp'
        settings = {name: getattr(args, name) for name in (*names, 'from_scratch')}
        settings['cfg_options'] = sorted(args.cfg_options)
        settings['config'] = f'{Path(args.config).name} ({self._fingerprint()})'
        settings['data_root'] = names_of_data(self.cfg)

        def progress(number: int) -> str:
            path = noted_checkpoint(args.work_dir / trial_name(number))
            return path.name if path else ''

        return SharedStudy(
            args.storage, args.study, plan, self.space, settings, progress
        )

    def _fingerprint(self) -> str:
        """Return a short text that tells configs apart, wherever their data are."""
        content = {k: v for k, v in self.base.to_dict().items() if k != 'work_dir'}
        text = repr(content).replace(repr(self.base.get('data_root')), '')
        return _digest(text)

    def _claim_folder(self) -> None:
        from mmsegmentation.files import read_json
        from tools.tuning.record import write_record

        path = self.args.work_dir / MARKER
        if path.is_file():
            content = read_json(path)
            if not isinstance(content, dict) or content.get('id') != self.study.id:
                raise InputError(
                    self.args.work_dir,
                    'holds another study than that of the storage',
                    'name another --work-dir',
                )
        write_record(self.study, self.args)

    def work(self) -> None:
        """Take trial after trial, until there is none left.

        Raises:
            InputError: The first trainings, or several in a row, failed.
        """
        while taken := self.study.take():
            outcome = self.train(taken)
            if outcome.state in ('stopped', 'killed', 'lost'):
                self.study.give_back(taken)
                stopped = outcome.state == 'stopped'
                more = '; start this command again to go on' if stopped else ''
                print(f'trial {taken.number}: {outcome.reason}{more}', flush=True)
                if stopped:
                    raise SystemExit(130)
                continue
            if outcome.refused and not self._has_trained():
                self.study.give_back(taken)
                raise InputError(
                    f'trial {taken.number}',
                    outcome.reason.removeprefix('error: '),
                    'no trial of the study has trained yet',
                )
            facts = {'worker': f'{socket.gethostname()}:{os.getpid()}'}
            if outcome.reason:
                facts['reason'] = outcome.reason
            self.study.finish(taken, outcome.state, outcome.value, facts)
            self.note(taken, outcome)
            self._check_failures()

    def train(self, taken: 'Taken') -> 'Outcome':
        """Train a trial, from where it is."""
        from tools.tuning.child import write_child
        from tools.tuning.record import trial_name
        from tools.tuning.training import Training

        args = self.args
        name = trial_name(taken.number)
        work_dir = args.work_dir / name
        config = work_dir.with_suffix('.py')
        say = f'Trial {taken.number} of the study {args.study}.'
        write_child(
            config, args.config, self.base, self.config_of(taken.drawn), self.keys, say
        )
        command = ['tools/train.py', config, *self.words, '--work-dir', work_dir]
        if args.launcher != 'none':
            command += ['--launcher', args.launcher]
        if any(work_dir.glob('*/vis_data')):
            command.append('--resume')
        drawn = '  '.join(f'{name} {_short(v)}' for name, v in taken.drawn.items())
        print(f'trial {taken.number}: {drawn}', flush=True)
        call = Call(program=self.program)
        typed = [str(jobs.HOME / command[0]), *map(str, command[1:])]
        return Training(taken, self.study.plan, args.score, work_dir).run(typed, call)

    @property
    def keys(self) -> list[str]:
        """The keys in which a trial's config differs from its parent."""
        given = [option.partition('=')[0] for option in self.args.cfg_options]
        return given + [key for searched in self.space for key in searched.keys]

    @property
    def words(self) -> list[str]:
        """Arguments that all trainings have."""
        words = []
        for name in ('data_root', 'fold', 'folds', 'device'):
            if (value := getattr(self.args, name)) is not None:
                words += [f'--{name.replace("_", "-")}', str(value)]
        words += ['--amp'] if self.args.amp else []
        return words + (['--from-scratch'] if self.args.from_scratch else [])

    @property
    def words_of_best(self) -> list[str]:
        """Arguments of a training by best.py."""
        # Two studies would share the folder that is named after the file.
        return [*self.words, '--work-dir', f'work_dirs/{self.args.study}_best']

    def config_of(self, drawn: dict[str, Any]) -> 'Config':
        """Return the config with what was drawn in its place."""
        from copy import deepcopy

        cfg = deepcopy(self.cfg)
        cfg.merge_from_dict(
            {
                key: searched.value(drawn[searched.name])
                for searched in self.space
                for key in searched.keys
            }
        )
        return cfg

    def _has_trained(self) -> bool:
        trained = 'COMPLETE', 'PRUNED'
        return any(trial.state.name in trained for trial in self.study.trials())

    def _check_failures(self) -> None:
        trials = self.study.trials()
        ended = [trial for trial in trials if trial.datetime_complete]
        ended.sort(key=lambda trial: str(trial.datetime_complete))
        last = ended[-FAILURES:]
        if len(last) == FAILURES and all(t.state.name == 'FAIL' for t in last):
            raise InputError(
                f'trial {last[-1].number}',
                f'failed as the {FAILURES - 1} before it: '
                f'{last[-1].user_attrs.get("reason", "")}',
                'correct the cause, and start again',
            )

    def note(self, taken: 'Taken', outcome: 'Outcome') -> None:
        """Keep what is known after a trial, and say it."""
        from tools.tuning.child import write_child
        from tools.tuning.record import best_docstring, write_record

        content = write_record(self.study, self.args)
        best = content['best']
        if best is not None:
            path = self.args.work_dir / 'best.py'
            say = best_docstring(content, self.words_of_best, path)
            cfg = self.config_of(content['trials'][best]['values'])
            write_child(path, self.args.config, self.base, cfg, self.keys, say)
        ended = sum(bool(trial['ended']) for trial in content['trials'])
        score = outcome.value
        text = outcome.state if score is None else f'{self.args.score} {score:.4f}'
        text += f' ({outcome.reason})' if outcome.reason else ''
        print(
            f'trial {taken.number}: {text}; {ended} of {self.args.trials}', flush=True
        )

    def conclude(self) -> None:
        """Write the page, and say what is the best."""
        from tools.tuning.record import write_record

        content = write_record(self.study, self.args)
        folder = self.args.work_dir
        do('utils/study.py', folder)
        running = [t['number'] for t in content['trials'] if t['state'] == 'running']
        if running:
            names = ', '.join(map(str, running))
            print(f'under way in other workers: trial {names}')
        if content['best'] is None:
            print('no trial is complete')
            return
        best = content['trials'][content['best']]
        print(f'best: trial {best["number"]}  {self.args.score} {best["value"]:.4f}')
        words = [shown(folder / 'best.py'), *self.words_of_best]
        print(f'python {shown(jobs.HOME / "tools/train.py")} {shlex.join(words)}')


def _short(value: Any) -> Any:
    return f'{value:.4g}' if isinstance(value, float) else value


def names_of_data(cfg: 'Config') -> str:
    """Return a short text that tells data apart, wherever they are, by their names."""
    root = Path(cfg.get('data_root') or os.devnull)
    folders = [root / part / 'images' for part in ('train', 'valid')]
    found = [path for folder in folders for path in folder.rglob('*')]
    names = sorted(path.relative_to(root).as_posix() for path in found)
    digest = _digest('\n'.join(names))
    return f'of {len(names)} files ({digest})'


def _digest(text: str) -> str:
    from hashlib import sha256

    return f'sha256 {sha256(text.encode()).hexdigest()[:16]}'


def validations_of(cfg: 'Config') -> int | None:
    """Return how often a training by a config is validated, None if it does not say."""
    loop = cfg.train_cfg
    length = loop.get('max_iters') or loop.get('max_epochs')
    interval = loop.get('val_interval', 1)
    if not isinstance(length, int) or not isinstance(interval, int) or interval < 1:
        return None
    first = max(loop.get('val_begin', 1), 1)
    steps = {*range(interval, length + 1, interval), length}
    return sum(step >= first for step in steps)


if __name__ == '__main__':
    run_command(main)
