"""What a person is told of pseudo labels, as text."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from utils.pseudo.thresholds import LEAST_IMAGES

if TYPE_CHECKING:
    from utils.pseudo.fitting import Fitted


# Share of kept pixels that are no background, below which this is said.
FEW = 0.001


def fit_table(fitted: 'Fitted', classes: Sequence[str]) -> str:
    """Return the fitted thresholds, one line per class, and what is not kept."""
    fit = fitted.fit
    lines = [
        f'fitted on {len(fitted.image_ids)} images of {fitted.source.folder} '
        f'to precision {fitted.asked:g}',
        f'{"class":<16}{"threshold":>10}{"precision":>11}{"at least":>10}{"kept":>8}',
    ]
    never = []
    columns = fit.thresholds, fit.precision, fit.least, fit.kept
    for name, limit, precision, least, kept in zip(classes, *columns, strict=True):
        lines.append(
            f'{name:<16}{_limit(limit):>10}{_share(precision):>11}{_share(least):>10}'
            f'{_share(kept):>8}'
        )
        if limit > 1:
            never.append(name)
    if never:
        lines.append(
            'not kept, because no threshold reliably reaches the precision (lower end '
            f'of its 95 % interval over at least {LEAST_IMAGES} images): '
            f'{", ".join(never)}'
        )
    if fitted.note:
        lines.append(fitted.note)
    return '\n'.join(lines)


def kept_table(summary: dict[str, Any]) -> str:
    """Return thresholds and kept shares, one line per class."""
    lines = [f'{"class":<16}{"threshold":>10}{"predicted":>14}{"kept":>14}{"share":>8}']
    keys = ('classes', 'thresholds', 'predicted_pixels', 'kept_pixels', 'kept_share')
    for name, limit, predicted, kept, share in zip(
        *(summary[key] for key in keys), strict=True
    ):
        cell, limit = _share(share), _limit(limit)
        lines.append(f'{name:<16}{limit:>10}{predicted:>14,}{kept:>14,}{cell:>8}')
    return '\n'.join(lines)


def left_out(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each reason why labels or images are lacking."""
    kept = summary['kept_pixels']
    if sum(kept[1:]) < FEW * sum(kept):
        yield (
            f'warning: of the kept pixels, {sum(kept[1:]):,} of {sum(kept):,} are '
            f'another class than {summary["classes"][0]}: a model that learns from '
            'this part may forget all others'
        )
    if count := len(summary['dropped']):
        least = summary['min_kept']
        why = (
            f'with less than {least:.1%} trusted'
            if least
            else 'without a trusted pixel'
        )
        yield f'left out: {count} {why}'
    if count := len(summary['labelled']):
        yield f'left out: {count} that a labelled part holds too'


def _limit(value: float | None) -> str:
    """Return a threshold, rounded down: given as it is printed, it keeps the same.

    >>> _limit(230 / 255), _limit(0.57), _limit(None)
    ('0.901', '0.570', 'none')
    """
    if value is None or value > 1:
        return 'none'
    return f'{math.floor(1000 * value + 1e-9) / 1000:.3f}'


def _share(value: float | None) -> str:
    return '-' if value is None or value != value else f'{value:.1%}'
