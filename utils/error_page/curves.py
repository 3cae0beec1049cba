"""Training curves: what MMEngine wrote to ``vis_data`` beside a checkpoint."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError

# Of a line; all else in it is a curve.
PLACES = ('step', 'iter', 'epoch')


def find_log(origin: dict[str, Any]) -> Path | None:
    """Return the work directory that a prediction's checkpoint stands in.

    Args:
        origin: What ``predictions.json`` says.

    Returns:
        None where there is no checkpoint, or no log beside it.
    """
    checkpoint = origin.get('checkpoint')
    if not isinstance(checkpoint, str):
        return None
    folder = Path(checkpoint).parent
    return folder if _files_in(folder) else None


def _files_in(place: Path) -> list[Path]:
    """Return one log of every run in ``place``, earliest first."""
    if place.is_file():
        return [place]
    logs = [*place.glob('vis_data/*.json'), *place.glob('*/vis_data/*.json')]
    runs = sorted({path.parent for path in logs})
    if not runs and place.name == 'vis_data':
        runs = [place]
    # scalars.json has the same lines as the file that is named after the time.
    return [path for run in runs for path in sorted(run.glob('*.json'))[-1:]]


def read_curves(place: Path) -> dict[str, list[tuple[float, float | None]]]:
    """Return the curves of a run by name, as (step, value); null is no finite number.

    A resumed run goes on where it left: what an earlier run logged from there on was
    lost with it, and is left out.

    Args:
        place: A log, a ``vis_data`` folder, or a work directory.

    Raises:
        InputError: There is no log, or no line of it has a step.
    """
    files = _files_in(place)
    if not files:
        raise InputError(place, 'holds no vis_data/*.json', 'name a work directory')
    curves: dict[str, list[tuple[float, float | None]]] = {}
    for path in files:
        lines = list(_lines_of(path))
        first = min((step for step, _ in lines), default=math.inf)
        for name in curves:
            curves[name] = [point for point in curves[name] if point[0] < first]
        for step, values in lines:
            for name, value in values.items():
                known = value if math.isfinite(value) else None
                curves.setdefault(name, []).append((step, known))
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        raise InputError(place, 'logs no step of training', 'name another log')
    return curves


def _lines_of(path: Path) -> Iterator[tuple[float, dict[str, float]]]:
    for text in path.read_text('utf-8', errors='replace').splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            # A killed run leaves a torn last line.
            continue
        if not isinstance(line, dict):
            continue
        numbers = {
            name: float(value)
            for name, value in line.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        step = next((numbers[name] for name in PLACES if name in numbers), None)
        if step is not None:
            yield step, {n: v for n, v in numbers.items() if n not in PLACES}
