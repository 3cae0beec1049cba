"""Draw pieces of rubbish on a littered floor: one outline and one surface a class.

A scene stands in for a photograph where none may be shipped. Its objects differ by
shape and by texture, so that a small network learns them in a minute.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Surface = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """How a class looks.

    Attributes:
        radius: Half the longer side, as a share of the image: smallest and largest.
        outlines: Closed curves in [-1, 1], (points, 2) as x and y; y points down.
        surface: RGB in [0, 255], (H, W, 3), of object coordinates x and y, (H, W).
        opacity: What share of the floor it hides.
    """

    radius: tuple[float, float]
    outlines: Callable[[np.random.Generator], list[np.ndarray]]
    surface: Surface
    opacity: float = 1.0


@dataclass(frozen=True)
class Thing:
    """One object in place.

    Attributes:
        category_id: Its class.
        mask: Its pixels, those below other things too, (size, size) bool.
        box: Rows and columns around it and its shadow.
        colours: RGB within ``box``, in [0, 255].
    """

    category_id: int
    mask: np.ndarray
    box: tuple[slice, slice]
    colours: np.ndarray


def draw_scene(
    size: int, categories: list[int], rng: np.random.Generator
) -> tuple[np.ndarray, list[Thing]]:
    """Return an RGB image, (size, size, 3) uint8, and what lies on it.

    Larger things lie below smaller ones, as the labels of the competition assume.
    """
    image = _floor(size, rng)
    things = [_place(category, size, rng) for category in categories]
    things.sort(key=lambda thing: thing.mask.sum(), reverse=True)
    for thing in things:
        below, mask = image[thing.box], thing.mask[thing.box].astype(np.float32)
        shadow = cv2.GaussianBlur(mask, (0, 0), size / 64)
        below *= 1 - 0.35 * np.roll(shadow, size // 64, (0, 1))[..., None]
        cover = KINDS[thing.category_id].opacity * mask[..., None]
        below += (thing.colours - below) * cover
    light = 1 + 0.25 * _clouds((size, size), 2, rng)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image * light[..., None] + 5 * noise
    return np.clip(image, 0, 255).astype(np.uint8), things


def _place(category: int, size: int, rng: np.random.Generator) -> Thing:
    kind = KINDS[category]
    radius = max(rng.uniform(*kind.radius) * size, 4.0)
    if rng.random() < 0.15:
        radius = max(radius / 2, 4.0)
    centre = rng.uniform(0.1, 0.9, 2) * size
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    canvas = np.zeros((size, size), np.uint8)
    for outline in kind.outlines(rng):
        corners = np.rint(outline * radius @ turn.T + centre).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 1)
    box = _box_around(canvas, margin=size // 16)
    rows, columns = np.mgrid[box].astype(np.float32)
    right, down = columns - np.float32(centre[0]), rows - np.float32(centre[1])
    (cos, _), (sin, _) = (turn / radius).astype(np.float32)
    colours = kind.surface(right * cos + down * sin, down * cos - right * sin, rng)
    brightness = np.float32(rng.uniform(0.85, 1.1))
    return Thing(category, canvas > 0, box, colours * brightness)


def _box_around(canvas: np.ndarray, margin: int) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(canvas)
    size = len(canvas)
    return (
        slice(max(top - margin, 0), min(top + height + margin, size)),
        slice(max(left - margin, 0), min(left + width + margin, size)),
    )


def _clouds(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise in [-1, 1], (H, W) as ``shape``, ``cells`` waves a side."""
    coarse = rng.uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
    noise = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return noise.clip(-1, 1)


def _floor(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a bare floor: tiles or planks, stains, and litter of no class."""
    grey = rng.uniform(70, 170)
    tint = rng.uniform(-14, 14, 3).astype(np.float32)
    floor = np.full((size, size, 3), grey, np.float32) + tint
    for cells, strength in ((3, 18), (12, 12), (50, 10)):
        floor += strength * _clouds((size, size), cells, rng)[..., None]
    step = int(rng.uniform(0.12, 0.35) * size)
    for line in range(rng.integers(step), size, step):
        floor[line : line + max(size // 128, 1)] *= 0.75
        if rng.random() < 0.7:
            floor[:, line : line + max(size // 128, 1)] *= 0.75
    for _ in range(rng.integers(4, 14)):
        start, end = rng.integers(0, size, 2), rng.integers(-size // 10, size // 10, 2)
        colour = float(np.clip(grey + rng.uniform(-60, 60), 30, 200))
        points = [tuple(map(int, p)) for p in (start, start + end)]
        cv2.line(floor, points[0], points[1], (colour,) * 3, int(rng.integers(1, 3)))
    return floor


# Outlines


def _polygon(*points: tuple[float, float]) -> list[np.ndarray]:
    return [np.array(points, np.float64)]


def _blob(
    rng: np.random.Generator, points: int, jitter: float, radius: float = 1.0
) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radii = radius * (1 - jitter * rng.random(points))
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1)


def _rounded(width: float, height: float, power: float = 6) -> list[np.ndarray]:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x, y = np.cos(angles), np.sin(angles)
    outline = [np.sign(v) * np.abs(v) ** (2 / power) for v in (x, y)]
    return [np.stack([outline[0] * width, outline[1] * height], 1)]


def _scraps(rng: np.random.Generator) -> list[np.ndarray]:
    """Return one to three pieces: an object may have several parts."""
    places = ((0, 0), (0.95, 0.5), (-0.8, 0.8))[: rng.integers(1, 4)]
    radii = (0.85, 0.4, 0.4)
    return [
        _blob(rng, 14, 0.45, radius) + place
        for radius, place in zip(radii, places, strict=False)
    ]


def _sheet(rng: np.random.Generator) -> list[np.ndarray]:
    corners = np.array([(-0.75, -1), (0.75, -1), (0.75, 1), (-0.75, 1)])
    return [corners + rng.uniform(-0.15, 0.15, (4, 2))]


def _carton(rng: np.random.Generator) -> list[np.ndarray]:
    return _polygon(
        (-0.55, 1), (0.55, 1), (0.55, -0.45), (0.2, -0.8), (0.2, -1), (-0.2, -1),
        (-0.2, -0.8), (-0.55, -0.45),
    )  # fmt: skip


def _can(rng: np.random.Generator) -> list[np.ndarray]:
    return _rounded(rng.uniform(0.5, 0.6), 1)


def _bottle(rng: np.random.Generator) -> list[np.ndarray]:
    neck, body = rng.uniform(0.13, 0.18), rng.uniform(0.38, 0.5)
    half = [(body, 1), (body, -0.1), (neck, -0.5), (neck, -1)]
    return _polygon(*half, *[(-x, y) for x, y in reversed(half)])


def _cup(rng: np.random.Generator) -> list[np.ndarray]:
    foot = rng.uniform(0.4, 0.55)
    return _polygon((-foot, 1), (foot, 1), (0.85, -0.9), (0, -1), (-0.85, -0.9))


def _block(rng: np.random.Generator) -> list[np.ndarray]:
    return _rounded(1, rng.uniform(0.55, 0.9), 12)


def _bag(rng: np.random.Generator) -> list[np.ndarray]:
    body = _blob(rng, 24, 0.18, 0.9)
    knot = np.array([(-0.25, -0.7), (-0.55, -1.05), (0, -0.85), (0.55, -1.05)])
    return [body, np.vstack([knot, [(0.25, -0.7)]])]


def _capsule(rng: np.random.Generator) -> list[np.ndarray]:
    return _rounded(0.42, 1, 8)


def _shirt(rng: np.random.Generator) -> list[np.ndarray]:
    half = [(0.5, 1), (0.5, -0.1), (0.75, 0.15), (1, -0.3), (0.55, -0.9), (0.25, -0.9)]
    return _polygon(*half, (0, -0.7), *[(-x, y) for x, y in reversed(half)])


# Surfaces


def _mix(share: np.ndarray, low: tuple, high: tuple) -> np.ndarray:
    """Blend two RGB colours: ``low`` where ``share`` is 0, ``high`` where it is 1."""
    weight = np.asarray(share, np.float32)[..., None]
    first, last = np.array(low, np.float32), np.array(high, np.float32)
    return first + (last - first) * weight


def _crumpled(x, y, rng):
    noise = _clouds(x.shape, 12, rng)
    return _mix(noise > 0.1, (84, 46, 18), (176, 104, 40))


def _printed(x, y, rng):
    lines = (np.sin(y * 22) > 0.45) & (np.abs(x) < 0.55)
    return _mix(lines, (238, 236, 226), (120, 122, 130))


def _milk(x, y, rng):
    colours = _mix(y > 0.1, (40, 150, 70), (235, 245, 235))
    drop = (x**2 + (y - 0.5) ** 2) < 0.06
    return np.where(drop[..., None], np.array((30, 90, 190)), colours)


def _tin(x, y, rng):
    shine = np.exp(-(((x + 0.2) / 0.13) ** 2)) + 0.5 * np.exp(-(((x - 0.3) / 0.1) ** 2))
    colours = _mix(shine.clip(0, 1), (105, 110, 122), (245, 248, 252))
    label = np.abs(y) < 0.45
    return np.where(label[..., None], colours * (1.0, 0.25, 0.2), colours)


def _bottle_glass(x, y, rng):
    shine = np.exp(-(((x + 0.18) / 0.07) ** 2))
    return _mix(shine, (22, 62, 28), (170, 215, 160))


def _clear(x, y, rng):
    ribs = 0.5 + 0.5 * np.sin(y * 16)
    return _mix(ribs, (60, 170, 215), (175, 228, 245))


def _foam(x, y, rng):
    beads = np.sin(x * 24) * np.sin(y * 24) > 0.45
    return _mix(beads, (250, 246, 205), (214, 196, 120))


def _film(x, y, rng):
    folds = np.abs(_clouds(x.shape, 6, rng)) < 0.12
    return _mix(folds, (226, 150, 190), (255, 225, 240))


def _cell(x, y, rng):
    colours = _mix(y < -0.35, (18, 18, 22), (240, 140, 0))
    return np.where((y < -0.86)[..., None], np.array((215, 215, 205)), colours)


def _woven(x, y, rng):
    return _mix(np.sin(y * 15) > 0, (46, 44, 150), (150, 130, 225))


KINDS = {
    1: Kind((0.13, 0.19), _scraps, _crumpled),
    2: Kind((0.12, 0.21), _sheet, _printed),
    3: Kind((0.12, 0.19), _carton, _milk),
    4: Kind((0.12, 0.18), _can, _tin),
    5: Kind((0.15, 0.24), _bottle, _bottle_glass),
    6: Kind((0.11, 0.18), _cup, _clear),
    7: Kind((0.12, 0.20), _block, _foam),
    8: Kind((0.16, 0.27), _bag, _film, opacity=0.8),
    9: Kind((0.10, 0.15), _capsule, _cell),
    10: Kind((0.16, 0.25), _shirt, _woven),
}
