"""Small prediction folders, data roots, and the raw folder that one is made of."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from mmsegmentation.classes import CLASSES
from mmsegmentation.files import mask_name, read_json, read_mask, write_mask
from mmsegmentation.predictions import finish_predictions, write_prediction
from utils.prepare_data import main as prepare

HEIGHT, WIDTH = 6, 8
PARTS = {'train': 'train.json', 'valid': 'val.json', 'test': 'test.json'}


@pytest.fixture
def make_predictions(tmp_path: Path) -> Callable[..., Path]:
    """Write a prediction folder; ``confidence`` is one value, maps by id, or None."""

    def make(
        name: str,
        label_maps: dict[str, Sequence],
        confidence: int | dict[str, Sequence] | None = 200,
        classes: Sequence[str] = CLASSES,
        **origin: object,
    ) -> Path:
        folder = tmp_path / name
        for image_id, rows in label_maps.items():
            label_map = np.array(rows, np.uint8)
            sure = None
            if isinstance(confidence, dict):
                sure = np.array(confidence[image_id], np.uint8)
            elif confidence is not None:
                sure = np.full_like(label_map, confidence)
            write_prediction(folder, image_id, label_map, sure)
        finish_predictions(folder, classes, list(label_maps), origin)
        return folder

    return make


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[..., Path]:
    """Write one part of a data root: photographs by size, or masks by rows."""

    def make(part: str, label_maps: dict[str, Sequence], masks: bool = True) -> Path:
        root = tmp_path / 'root'
        for number, (image_id, rows) in enumerate(label_maps.items()):
            label_map = np.array(rows, np.uint8)
            path = root / part / 'images' / image_id
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = np.full((*label_map.shape, 3), 10 * number + len(part), np.uint8)
            Image.fromarray(grey).save(path, format='PNG')
            if masks:
                write_mask(root / part / 'mask' / mask_name(image_id), label_map)
        return root

    return make


class Raw:
    """A small raw folder that is right until a test spoils it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder.parent / 'made' / 'root'
        self.json = {
            'train': part({10: 'a/1.jpg', 3: 'b/1.jpg'}, [(70, 3, 2), (4, 10, 5)]),
            'valid': part({10: 'a/2.jpg'}, [(9, 10, 1)]),
            'test': part({8: 'a/3.jpg'}, []),
        }
        for number, row in enumerate(self.rows('images')):
            self.draw(row['file_name'], 30 * number)
        self.write()

    def rows(self, key: str) -> list[dict]:
        return [row for content in self.json.values() for row in content[key]]

    def draw(self, name: str, grey: int, width: int = WIDTH) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (width, HEIGHT), (grey, grey, grey)).save(path)
        return path

    def spoil_image(self, **fields: object) -> None:
        self.json['train']['images'][0].update(fields)

    def spoil_object(self, **fields: object) -> None:
        self.json['train']['annotations'][0].update(fields)

    def spoil_outline(self, segmentation: object) -> None:
        self.spoil_object(segmentation=segmentation)

    def write(self) -> None:
        for name, content in self.json.items():
            (self.folder / PARTS[name]).write_text(json.dumps(content))

    @staticmethod
    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left, top, right, top, right, bottom, left, bottom]

    @property
    def argv(self) -> tuple:
        return self.folder, '--out', self.out, '--jobs', 1

    def made(self, name: str) -> np.ndarray:
        return read_mask(self.out / name)

    def report(self) -> dict:
        return read_json(self.out / 'dataset.json')


def part(names: dict[int, str], objects: list[tuple[int, int, int]]) -> dict[str, Any]:
    """Return COCO JSON; ``objects`` are annotation, image and category ids."""
    images = [
        {'id': number, 'file_name': name, 'width': WIDTH, 'height': HEIGHT}
        for number, name in names.items()
    ]
    categories = [{'id': i, 'name': n} for i, n in enumerate(CLASSES) if i]
    annotations = [
        {
            'id': number,
            'image_id': image,
            'category_id': category,
            'segmentation': [Raw.box(1, 1, 5, 4)],
            'area': 12.0,
        }
        for number, image, category in objects
    ]
    return {'images': images, 'categories': categories, 'annotations': annotations}


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path / 'raw')


@pytest.fixture
def refused(run: Callable, raw: Raw) -> Callable[..., str]:
    """Prepare what must be refused: listed in full, one line of error, no output."""

    def call(*listed: str) -> str:
        raw.write()
        code, out, err = run(prepare, *raw.argv)
        assert code == 2
        assert err.startswith(f'error: {raw.folder}: {len(listed)} problem')
        assert err.count('\n') == 1
        problems = [line for line in out.splitlines() if line.startswith('problem: ')]
        assert len(problems) == len(listed), problems
        for text in listed:
            assert any(text in problem for problem in problems), (text, problems)
        assert not raw.out.parent.exists()
        return out

    return call


@pytest.fixture
def accepted(run: Callable, raw: Raw) -> Callable[..., dict]:
    """Prepare what must be accepted; return ``dataset.json``."""

    def call(*argv: object) -> dict:
        raw.write()
        code, out, err = run(prepare, *raw.argv, *argv)
        assert (code, err) == (0, '')
        report = raw.report()
        for text in report['problems']:
            assert f'warning: {text}\n' in out
        return report

    return call


class Opened:
    """Pages in a browser; what went wrong in them is kept, and tested at the end."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.problems: list[str] = []

    def __call__(self, path: Path, width: int = 1440, scheme: str = 'light') -> Any:
        """Open a page from disk, and wait until its charts are drawn."""
        page = self.browser.new_page(
            viewport={'width': width, 'height': 900}, color_scheme=scheme
        )
        # Patience costs nothing where the machine is free.
        page.set_default_timeout(180_000)
        page.on('pageerror', lambda error: self.problems.append(f'error: {error}'))
        page.on('console', self._console)
        page.on('requestfailed', lambda r: self.problems.append(f'failed: {r.url}'))
        page.on('request', lambda r: self._request(r.url, path.resolve().parent))
        page.goto(path.resolve().as_uri(), wait_until='commit')
        page.wait_for_selector('html[data-ready=yes]')
        return page

    def _console(self, message: Any) -> None:
        if message.type == 'error':
            self.problems.append(f'console: {message.text}')

    def _request(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        inside = parts.scheme == 'file' and Path(unquote(parts.path)).is_relative_to(
            folder
        )
        if not inside and parts.scheme not in ('data', 'blob'):
            self.problems.append(f'left the folder: {url}')


@pytest.fixture(scope='session')
def browser() -> Iterator[Any]:
    """Give a headless Chromium; skip where there is none."""
    api = pytest.importorskip('playwright.sync_api', reason='needs playwright')
    program = shutil.which('chromium') or shutil.which('chromium-browser')
    if program is None:
        pytest.skip('needs Chromium, as in the package chromium of Debian')
    switches = ('sandbox', 'first-run')
    disabled = ('gpu', 'quic', 'background-networking', 'component-update', 'sync')
    args = [f'--no-{name}' for name in switches]
    args += [f'--disable-{name}' for name in disabled]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=args)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opened]:
    """Open pages; at the end no console error, no request that left their folder."""
    opened = Opened(browser)
    yield opened
    for context in browser.contexts:
        context.close()
    assert opened.problems == []


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system in memory; skip where that is not permitted."""
    mounted: list[Path] = []

    def call(options: str) -> Path:
        folder = tmp_path / f'mounted{len(mounted)}'
        folder.mkdir()
        command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip('needs mount')
        if done.returncode:
            pytest.skip(f'mounting is not permitted: {done.stderr.strip()}')
        mounted.append(folder)
        return folder

    yield call
    for folder in mounted:
        subprocess.run(['umount', str(folder)], check=True)
