"""Training curves: what MMEngine wrote to ``vis_data`` beside a checkpoint."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmsegmentation.command import InputError
from utils.error_page.sources import short_names
from utils.lineage import Origin, family_of

# Of a line; all else in it is a curve.
PLACES = ('step', 'iter', 'epoch')
Curves = dict[str, list[tuple[float, float | None]]]


def curves_of(name: str, origin: Origin, logs: Sequence[Path]) -> dict[str, Curves]:
    """Return the curves of a model, or of each member of a vote or of joined folds.

    Args:
        name: The model's.
        origin: What its ``predictions.json`` says, for the work directories.
        logs: Logs or work directories to read instead.

    Returns:
        By the model's name, with that of the work directory if there are several;
        empty where no log is beside a checkpoint.

    Raises:
        InputError: One of ``logs`` is none.
    """
    places = list(logs) or work_directories(origin)
    keys = [name]
    if len(places) > 1:
        shorts = short_names([place.resolve() for place in places])
        keys = [f'{name}: {short}' for short in shorts]
    return {
        key: read_curves(place)
        for key, place in zip(keys, places, strict=bool(places))
        if logs or _files_in(place)
    }


def work_directories(origin: Origin) -> list[Path]:
    """Return where the checkpoints of a prediction and its members stand, each once."""
    found = (relative.get('checkpoint') for relative in family_of(origin))
    return list(dict.fromkeys(Path(c).parent for c in found if isinstance(c, str)))


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


def read_curves(place: Path) -> Curves:
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
    curves: Curves = {}
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
