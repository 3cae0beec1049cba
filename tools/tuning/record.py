"""What a study has found: a record for the page, and the best as a config file."""

import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsegmentation.files import write_json
from tools.tuning.study import SharedStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MARKER = 'study.json'
STATES = {
    'COMPLETE': 'complete',
    'PRUNED': 'pruned',
    'FAIL': 'failed',
    'RUNNING': 'running',
    'WAITING': 'waiting',
}


def trial_name(number: int) -> str:
    """Return what the folder of a trial is called.

    >>> trial_name(7)
    'trial_0007'
    """
    return f'trial_{number:04}'


def write_record(study: SharedStudy, args: Namespace) -> dict[str, Any]:
    """Write ``study.json``, which ``utils/study.py`` shows; return what it says."""
    plan, trials = study.plan, study.trials()
    best = best_of(trials, plan.minimize)
    content = {
        'id': study.id,
        'study': args.study,
        'config': args.config,
        'score': args.score,
        'minimize': plan.minimize,
        'sampler': plan.sampler,
        'pruner': plan.pruner,
        'seed': plan.seed,
        'wanted': plan.total,
        'validations': plan.validations,
        'space': {searched.name: searched.record() for searched in study.space},
        'best': best and best.number,
        'importances': importances_of(study, trials),
        'trials': [_trial(trial) for trial in trials],
    }
    write_json(args.work_dir / MARKER, content)
    return content


def best_of(trials: Sequence['FrozenTrial'], minimize: bool) -> 'FrozenTrial | None':
    """Return the complete trial with the best score, the earliest of equal ones."""
    complete = [trial for trial in trials if trial.state.name == 'COMPLETE']
    sign = 1 if minimize else -1
    return min(complete, key=lambda t: (sign * (t.value or 0), t.number), default=None)


def importances_of(
    study: SharedStudy, trials: Sequence['FrozenTrial']
) -> dict[str, float]:
    """Return how much of the differences in score each searched value explains.

    PED-ANOVA (Watanabe et al., 2023), over the complete trials: what sets the best
    tenth apart from all. Shares add up to 1; empty where there is nothing to tell yet.
    """
    from optuna.importance import get_param_importances

    scores = {trial.value for trial in trials if trial.state.name == 'COMPLETE'}
    if len(scores) < 2:
        return {}
    return {k: float(v) for k, v in get_param_importances(study.study).items()}


def _trial(trial: 'FrozenTrial') -> dict[str, Any]:
    facts: Mapping[str, Any] = trial.user_attrs
    state = STATES[trial.state.name]
    return {
        'number': trial.number,
        'state': state,
        'value': trial.value if state == 'complete' else None,
        'reason': facts.get('reason', ''),
        'values': dict(trial.params),
        'scores': [
            trial.intermediate_values[k] for k in sorted(trial.intermediate_values)
        ],
        'started': _text(trial.datetime_start),
        'ended': _text(trial.datetime_complete),
        'worker': facts.get('worker', ''),
        'work_dir': trial_name(trial.number),
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec='seconds') if moment else None


def best_docstring(content: Mapping[str, Any], words: Sequence[str], path: Path) -> str:
    """Return what the config file of the best trial says of itself.

    Args:
        content: What :func:`write_record` returned.
        words: Further arguments of the training.
        path: The config file.
    """
    trial = content['trials'][content['best']]
    ended = [t for t in content['trials'] if t['ended']]
    return '\n'.join(
        [
            f'The best of {len(ended)} trials of the study {content["study"]}.',
            '',
            f'Parent: {content["config"]}',
            f'Run:    python tools/train.py {shlex.join([path.as_posix(), *words])}',
            f'Result: best validation {content["score"]} {trial["value"]:.4f} in '
            f'{trial["work_dir"]}, of which this is the choice: a little flattered.',
        ]
    )
