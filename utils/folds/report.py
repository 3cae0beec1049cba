"""How balanced folds are, beside random ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.folds.search import deviations, random_folds

RANDOM_SPLITS = 100


def largest_deviations(
    pixels: np.ndarray, folds: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Return how far a fold's pixel share of each class is from the whole, at most.

    Args:
        pixels: Pixels by image (or group) and class, (N, classes).
        folds: The fold of each, (N,), in [0, count).

    Returns:
        ``absolute``: the largest difference of shares, in [0, 1]; and ``relative``:
        that in units of the class's share of the whole, nan where there is no such
        class. Both (classes,) float64.
    """
    absolute = np.abs(deviations(pixels, folds, count)).max(0)
    share = pixels.sum(0) / pixels.sum()
    relative = np.full(absolute.shape, np.nan)
    np.divide(absolute, share, out=relative, where=share > 0)
    return {'absolute': absolute, 'relative': relative}


def describe_balance(
    pixels: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    count: int,
    classes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return the balance of folds and of 100 random splits of the same groups.

    Args:
        pixels: Pixels by image and class, (images, classes).
        folds: The fold of each image, (images,).
        groups: The group of each image, (images,), from 0 on.
        seed: Of the random splits.

    Returns:
        ``images`` by fold; ``classes``, each with its images, its share of the pixels,
        its images by fold and its largest deviations; and these over all classes,
        for these folds and for the random splits (best and median). Shares and
        absolute deviations are in [0, 1].
    """
    drawn = _draw_random(pixels, groups, count, seed)
    ours = largest_deviations(pixels, folds, count)
    images = _count_images(pixels, folds, count)
    rows = [
        {
            'name': name,
            **images[i],
            **{key: _number(ours[key][i]) for key in ours},
            'random': {key: _of_many([d[key][i] for d in drawn]) for key in ours},
        }
        for i, name in enumerate(classes)
    ]
    return {
        'images': np.bincount(folds, minlength=count).tolist(),
        'classes': rows,
        **{key: _number(np.nanmax(ours[key])) for key in ours},
        'random': {key: _of_many([np.nanmax(d[key]) for d in drawn]) for key in ours},
    }


def _draw_random(
    pixels: np.ndarray, groups: np.ndarray, count: int, seed: int
) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = np.bincount(groups)
    return [
        largest_deviations(pixels, random_folds(sizes, count, rng)[groups], count)
        for _ in range(RANDOM_SPLITS)
    ]


def _count_images(
    pixels: np.ndarray, folds: np.ndarray, count: int
) -> list[dict[str, Any]]:
    """Return the images of each class, in all and by fold, and its share of pixels."""
    there = pixels > 0
    by_fold = np.stack([there[folds == fold].sum(0) for fold in range(count)], 1)
    share = pixels.sum(0) / pixels.sum()
    return [
        {
            'images': int(there[:, i].sum()),
            'images_by_fold': by_fold[i].tolist(),
            'share': float(share[i]),
        }
        for i in range(pixels.shape[1])
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _of_many(values: Sequence[float]) -> dict[str, float | None]:
    return {
        'best': _number(np.min(values)),
        'median': _number(np.median(values)),
    }


def balance_table(balance: dict[str, Any]) -> str:
    """Return the balance as text: one line per class, then the largest deviations.

    Of a class in no image there is nothing to tell.
    """
    wide = max(16, *(len(row['name']) + 1 for row in balance['classes']))
    lines = [
        f'{"":<{wide}}{"":>8}{"% of":>8}{"images":>11}'
        "    largest deviation of a fold's share, % of pixels",
        f'{"class":<{wide}}{"images":>8}{"pixels":>8}{"by fold":>11}'
        f'{"these folds":>15}{"best random":>15}{"median random":>17}',
    ]
    for row in balance['classes']:
        if not row['images']:
            continue
        least, most = min(row['images_by_fold']), max(row['images_by_fold'])
        span = f'{least}-{most}' if least < most else str(least)
        drawn = row['random']['absolute']
        lines.append(
            f'{row["name"]:<{wide}}{row["images"]:>8,}{100 * row["share"]:>8.3f}'
            f'{span:>11}{100 * row["absolute"]:>15.4f}{100 * drawn["best"]:>15.4f}'
            f'{100 * drawn["median"]:>17.4f}'
        )
    for key, unit in (
        ('absolute', '% of pixels'),
        ('relative', "% of a class's share"),
    ):
        drawn = balance['random'][key]
        lines.append(
            f'largest deviation: {100 * balance[key]:.4f} {unit} '
            f'({RANDOM_SPLITS} random splits: best {100 * drawn["best"]:.4f}, median '
            f'{100 * drawn["median"]:.4f})'
        )
    return '\n'.join(lines)
