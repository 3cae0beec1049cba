"""A study as one picture: history, importances, parallel coordinates."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmsegmentation.files import whole_file
from utils.page import shorten
from utils.study_page.charts import BLUE, GREY, ORANGE, RED, places
from utils.study_page.content import StudyRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_picture(path: Path, study: StudyRecord) -> None:
    """Write the picture as a PNG; replaced if it is there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), dpi=110, layout='constrained')
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.15))
    _draw_history(figure.add_subplot(grid[0, 0]), study)
    _draw_importances(figure.add_subplot(grid[0, 1]), study)
    _draw_parallel(figure.add_subplot(grid[1, :]), study)
    name, config = study.content['study'], study.content['config']
    figure.suptitle(plain(f'{name}: {Path(config).name}', 100))
    with whole_file(path, overwrite=True) as beside:
        figure.savefig(beside, format='png')


def _draw_history(axes: 'Axes', study: StudyRecord) -> None:
    from matplotlib.ticker import MaxNLocator

    for state, symbol, colour in (('complete', 'o', BLUE), ('pruned', 'x', ORANGE)):
        points = [
            (t['number'], t['value'] if state == 'complete' else t['scores'][-1])
            for t in study.of_state(state)
            if t['scores'] or state == 'complete'
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, marker=symbol, color=colour, label=state)
    best = study.best_so_far()
    if best:
        x, y = zip(*best, strict=True)
        axes.step(x, y, where='post', color=RED, label='best so far')
        axes.legend(frameon=False)
    axes.set(title='History', xlabel='trial', ylabel=plain(study.score))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_importances(axes: 'Axes', study: StudyRecord) -> None:
    ordered = sorted(study.content['importances'].items(), key=lambda pair: pair[1])
    axes.barh(range(len(ordered)), [share for _, share in ordered], color=BLUE)
    axes.set_yticks(range(len(ordered)), [plain(name) for name, _ in ordered])
    axes.set(title='Importances (PED-ANOVA)', xlabel='share')


def _draw_parallel(axes: 'Axes', study: StudyRecord) -> None:
    shown = [*study.axes, study.score_axis]
    ranked, top = study.ranked, len(study.top)
    for place, trial in reversed([*enumerate(ranked)]):
        colour, width = (RED, 2.5) if not place else (BLUE, 1.5)
        if place >= top:
            colour, width = GREY, 0.8
        axes.plot(places(shown, trial), color=colour, linewidth=width)
    for place, axis in enumerate(shown):
        axes.axvline(place, color='#c0c0c0', zorder=0)
        for at, text in axis.ends():
            side = 'left' if place < len(shown) - 1 else 'right'
            axes.text(place, at + 0.01, f' {plain(text, 16)} ', ha=side, fontsize=8)
    axes.set_xticks(range(len(shown)), [plain(axis.name, 18) for axis in shown])
    axes.set(title='Parallel coordinates of the complete trials', yticks=[])
    axes.set_ylim(-0.05, 1.1)
    for side in ('top', 'right', 'left'):
        axes.spines[side].set_visible(False)


def plain(text: str, longest: int = 28) -> str:
    """Return a text for Matplotlib, which would read TeX between dollar signs."""
    return shorten(text, longest).replace('$', r'\$')
