"""The rounds of self-training as commands: train, predict, label, train on, compare."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from mmsegmentation.files import read_json, sha256_of
from mmsegmentation.folds import MARKER as FOLDS
from mmsegmentation.folds import open_folds
from mmsegmentation.parts import PSEUDO_MARKER
from mmsegmentation.predictions import MARKER as PREDICTIONS
from tools.jobs import PLAIN, Call, do
from tools.rounds import Model, Round
from tools.steps import Steps


class Cycle:
    """Runs the commands, in the order in which :meth:`run` calls for them.

    Args:
        args: The arguments of ``tools/self_train.py``.
        steps: What was done before.
        program: What runs the scripts that need a model.
        keep_open: Descriptors that hold the work folder.
    """

    def __init__(
        self,
        args: Namespace,
        steps: Steps,
        program: tuple[str, ...],
        keep_open: tuple[int, ...],
    ) -> None:
        self.args = args
        self.steps = steps
        self.plain = replace(PLAIN, keep_open=keep_open)
        self.launched = replace(self.plain, program=program)
        self.folds: list[int | None] = [*range(args.folds)] if args.folds else [None]

    def run(self) -> list[Round]:
        """Take all steps; return the rounds, of which only the last may have failed."""
        self.steps.content.pop('ended', None)  # of an earlier start
        for number in range(1, self.args.rounds + 1):
            for fold in self.folds:
                self.check_part(number, fold)
        self.split()
        rounds = [self.first()]
        for number in range(1, self.args.rounds + 1):
            found = self.next(number, rounds[-1])
            if found is None:
                break
            rounds.append(found)
            if not found.passed:
                break
        return rounds

    def check_part(self, number: int, fold: int | None) -> None:
        """Refuse a part of the data root that would be replaced without being asked.

        Raises:
            InputError: It is there, and this run did not make it.
        """
        path = self.args.data_root / self.part(number, fold)
        own = self.name(number, fold, 'label') in self.steps.content['steps']
        if path.exists() and not own and not self.steps.content['replaces']:
            raise InputError(
                path, 'exists, and is not of this run', 'name another --part'
            )

    def split(self) -> None:
        """Make folds, where there are none yet."""
        if not self.args.folds:
            return
        root, count = self.args.data_root, self.args.folds
        if not (root / 'folds' / FOLDS).is_file():
            do('utils/split.py', root, '--folds', count, call=self.plain)
        found = open_folds(root / 'folds').count
        if found != count:
            raise InputError(
                root / 'folds',
                f'holds {found} folds, not {count}',
                f'pass --folds {found}, or run utils/split.py again with --overwrite',
            )

    def first(self) -> Round:
        """Train and predict without pseudo labels."""
        models = []
        for fold in self.folds:
            model = Model(self.args.config, self.place(0, fold) / 'train', fold)
            scratch = ['--from-scratch'] if self.args.from_scratch else []
            self.train(model, scratch)
            models.append(model)
        return self.judge(0, models)

    def next(self, number: int, before: Round) -> Round | None:
        """Label with the models of a round, train on, and compare with that round.

        The new round is also compared with a training on real labels alone. It starts
        from the same models and has the same number of steps.

        Returns:
            The round, or None if a model labelled nothing or only background. Then
            nothing is trained.
        """
        parts = [self.label(number, model, before) for model in before.models]
        for part in parts:
            if lack := _lack_of(read_json(self.args.data_root / part / PSEUDO_MARKER)):
                what = f'round {number} is not trained: {lack.format(part)}'
                self.steps.keep(ended=what)
                return None
        real = self.arm(before, parts, number, real=True)
        found = self.arm(before, parts, number)
        pairs = {
            'pseudo_real': (found, real),
            'pseudo_before': (found, before),
            'real_before': (real, before),
        }
        verdicts = {
            name: self.gate(number, name, one.judged, two.judged)
            for name, (one, two) in pairs.items()
        }
        return replace(found, real=real, verdicts=verdicts)

    def arm(
        self, before: Round, parts: Sequence[str], number: int, real: bool = False
    ) -> Round:
        """Continue the training of each model of a round, and judge the results.

        Args:
            before: The round whose models are trained on.
            parts: Names of the parts with the pseudo labels, one for each model.
            number: Number of the new round.
            real: Train for the same number of steps without pseudo labels.
        """
        models = []
        for earlier, part in zip(before.models, parts, strict=True):
            place = self.place(number, earlier.fold, real)
            model = self.learn(place, earlier, part, real)
            if self.args.final_config:
                model = self.finish(place, model)
            models.append(model)
        return self.judge(number, models, real)

    def label(self, number: int, model: Model, before: Round) -> str:
        """Make the test part a part to train on; return its name.

        The labels of a fold are made by the fold's own model alone: those of another
        fold have seen what this one is judged by.
        """
        place = self.place(number, model.fold)
        self.predict(model, 'test', place / 'test')
        part = self.part(number, model.fold)
        self.check_part(number, model.fold)
        marker = self.args.data_root / part / PSEUDO_MARKER
        command: list[object] = ['utils/pseudo_label.py', place / 'test']
        command += ['--data-root', self.args.data_root, '--part', part]
        command += ['--fit', before.judged, '--precision', self.args.precision]
        command += ['--round', number, '--skip-labelled', '--allow-empty']
        for name in ('min_region', 'min_kept'):
            if value := getattr(self.args, name):
                command += [f'--{name.replace("_", "-")}', value]
        command += ['--soft'] if self.args.soft else []
        self.take(self.name(number, model.fold, 'label'), marker, command, self.plain)
        _check_labels(marker, place / 'test')
        return part

    def learn(self, place: Path, earlier: Model, part: str, real: bool) -> Model:
        """Train with the pseudo labels, or for as many steps without them."""
        model = Model(self.args.pseudo_config, place / 'train', earlier.fold)
        more = ['--pseudo-part', part, *(['--without-pseudo'] if real else [])]
        if self.args.fresh:
            more += ['--from-scratch'] if self.args.from_scratch else []
            self.train(model, more)
        else:
            self.train(model, more, earlier.checkpoint)
        return model

    def finish(self, place: Path, earlier: Model) -> Model:
        """Train on with real labels alone."""
        model = Model(self.args.final_config, place / 'final', earlier.fold)
        self.train(model, [], earlier.checkpoint)
        return model

    def train(self, model: Model, more: list[str], start: Path | None = None) -> None:
        """Train a model, or go on where that was cut off."""
        command: list[object] = ['tools/train.py', model.config]
        command += ['--work-dir', model.work_dir, '--data-root', self.args.data_root]
        command += [*_fold(model), *more]
        command += ['--amp'] if self.args.amp else []
        options = [*self.args.cfg_options]
        if start:
            options.append(f'load_from={start}')
        last = model.work_dir / 'last_checkpoint'

        def act(again: bool) -> None:
            anew = ['--resume' if last.is_file() else '--overwrite'] if again else []
            do(*command, *anew, *self.ending(options), call=self.launched)

        self.steps.take(self.relative(model.work_dir), last, act)

    def judge(self, number: int, models: Sequence[Model], real: bool = False) -> Round:
        """Predict what the models were not trained on; join that of folds."""
        parts = [self.place(number, model.fold, real) / 'valid' for model in models]
        for model, part in zip(models, parts, strict=True):
            self.predict(model, 'valid', part)
        if not self.args.folds:
            return Round(number, models, parts[0])
        joined = self.place(number, None, real) / 'out_of_fold'
        command = ['utils/join.py', *parts, '--data-root', self.args.data_root]
        command += ['--out', joined]
        self.take(self.relative(joined), joined / PREDICTIONS, command, self.plain)
        return Round(number, models, joined)

    def predict(self, model: Model, split: str, out: Path) -> None:
        """Predict a part of the data."""
        command: list[object] = ['tools/test.py', model.config, model.checkpoint]
        command += ['--split', split, '--data-root', self.args.data_root, '--out', out]
        command += _fold(model)
        command += ['--tta'] if self.args.tta else []
        ending = self.ending(self.args.cfg_options)
        name = self.relative(out)
        self.take(name, out / PREDICTIONS, command, self.launched, ending)

    def gate(self, number: int, name: str, one: Path, two: Path) -> dict[str, Any]:
        """Compare two predictions; return the verdict on the first of them."""
        path = self.place(number, None) / f'gate_{name}.json'
        command = ['utils/gate.py', one, two]
        command += ['--data-root', self.args.data_root, '--out', path]
        call = replace(self.plain, codes=(0, 1))

        def act(again: bool) -> None:
            # Exit code 1 says that it is not passed, and that Python broke down.
            path.unlink(missing_ok=True)
            do(*command, call=call)

        self.steps.take(self.relative(path.with_suffix('')), path, act)
        return read_json(path)

    def take(
        self,
        name: str,
        result: Path,
        command: Sequence[object],
        call: Call,
        ending: Sequence[object] = (),
    ) -> None:
        """Run a command that replaces its result only if told to."""

        def act(again: bool) -> None:
            do(*command, *(['--overwrite'] if again else []), *ending, call=call)

        self.steps.take(name, result, act)

    def ending(self, options: Sequence[str]) -> list[str]:
        """Return the last arguments of a command that needs a model."""
        launcher = self.args.launcher
        ending = [] if launcher == 'none' else ['--launcher', launcher]
        ending += ['--device', self.args.device] if self.args.device else []
        return ending + (['--cfg-options', *options] if options else [])

    def place(self, number: int, fold: int | None, real: bool = False) -> Path:
        """Return the folder of a round, of its arm on real labels, or of a fold."""
        folder = self.args.work_dir / f'round{number}' / ('real' if real else '')
        return folder if fold is None else folder / f'fold{fold}'

    def part(self, number: int, fold: int | None) -> str:
        """Return the name of the part of the data root that a round labels."""
        own = '' if fold is None else f'_fold{fold}'
        return f'{self.args.part}{own}_round{number}'

    def name(self, number: int, fold: int | None, what: str) -> str:
        """Return what to call a step."""
        return self.relative(self.place(number, fold) / what)

    def relative(self, path: Path) -> str:
        """Return the place of what a step makes, as the name of the step."""
        return path.relative_to(self.args.work_dir).as_posix()


def _fold(model: Model) -> list[str]:
    return [] if model.fold is None else ['--fold', str(model.fold)]


def _lack_of(content: dict[str, Any]) -> str:
    """Return why no model can learn from labels; empty if one can.

    Args:
        content: That of ``pseudo.json``.
    """
    kept = content.get('kept_pixels')
    if isinstance(kept, list) and not any(kept):
        return 'no pixel of {} is trusted'
    if content.get('images') == []:
        return 'no image of {} is kept'
    if isinstance(kept, list) and not any(kept[1:]):
        return '{} holds background alone'
    return ''


def _check_labels(marker: Path, predicted: Path) -> None:
    """Refuse labels that were made anew by someone else.

    Raises:
        InputError: They are not of the predictions that stand in ``predicted``.
    """
    content = read_json(marker)
    told = content.get('predictions') if isinstance(content, dict) else None
    sha256 = told.get('sha256') if isinstance(told, dict) else None
    if sha256 != sha256_of(predicted / PREDICTIONS):
        raise InputError(
            marker.parent,
            f'its labels are not of {predicted}',
            'another run may have replaced them: begin anew with another --part',
        )
