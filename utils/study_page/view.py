"""What the page of a study shows: cards, charts and the table of its trials."""

from datetime import datetime
from typing import Any

from utils.page import Table
from utils.study_page.charts import (
    curve_chart,
    history_chart,
    importance_chart,
    parallel_chart,
    slice_chart,
)
from utils.study_page.content import StudyRecord, text_of

STATES = 'complete', 'pruned', 'failed', 'running', 'waiting'


def page_context(study: StudyRecord) -> dict[str, Any]:
    """Return what the template of the page reads."""
    columns, rows = trial_rows(study)
    table = Table(
        key='trials',
        caption=f'{len(rows)} trials, in order. The score of a complete one is its '
        'best; of another, its last.',
        columns=columns,
        rows=rows,
        formats={study.score: '.4f', 'minutes': '.1f', 'trial': 'd'}
        | {axis.name: '.4g' for axis in study.axes},
        csv='trials.csv',
    )
    best = study.content['best']
    return {
        'content': study.content,
        'best': None if best is None else study.trials[best],
        'counts': [(state, len(study.of_state(state))) for state in STATES],
        'history': history_chart(study),
        'curves': curve_chart(study),
        'importances': importance_chart(study),
        'parallel': parallel_chart(study),
        'slices': slice_chart(study),
        'table': table,
        'axes': len(study.axes) + 1,
        'keys': [
            (name, ', '.join(entry['keys']), _range(entry))
            for name, entry in study.content['space'].items()
        ],
        'text_of': text_of,
    }


def _range(entry: dict[str, Any]) -> str:
    if 'choices' in entry:
        return ' or '.join(map(text_of, entry['choices']))
    text = f'{text_of(entry["low"])} to {text_of(entry["high"])}'
    text += ' by its logarithm' if entry['log'] else ''
    return text + (f' in steps of {text_of(entry["step"])}' if entry['step'] else '')


def trial_rows(study: StudyRecord) -> tuple[list[str], list[list[Any]]]:
    """Return headings and rows of the table of trials."""
    names = [axis.name for axis in study.axes]
    columns = ['trial', study.score, 'state', *names, 'minutes', 'reason']
    rows = []
    for trial in study.trials:
        score = trial['value']
        if trial['state'] != 'complete':
            score = trial['scores'][-1] if trial['scores'] else None
        rows.append(
            [
                trial['number'],
                score,
                trial['state'],
                *(_cell(trial['values'].get(name)) for name in names),
                _minutes(trial['started'], trial['ended']),
                trial['reason'],
            ]
        )
    return columns, rows


def _cell(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number or value is None else text_of(value)


def _minutes(start: str | None, end: str | None) -> float | None:
    if not (start and end):
        return None
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return round(passed.total_seconds() / 60, 2)
