"""Near-duplicates: what is found, what is not, and what is a leak."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from utils.data_page.images import Task, find_tasks, measure
from utils.data_page.similarity import find_groups


def scene(seed):
    """Return a picture of 30 random boxes."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 160, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(30):
        y, x = rng.integers(0, 120), rng.integers(0, 160)
        image[y : y + 40, x : x + 40] = rng.integers(0, 256, 3)
    return Image.fromarray(image)


@pytest.fixture
def search(tmp_path):
    """Find groups among pictures by part and name: (exact, leak, names)."""

    def call(pictures):
        root, out = tmp_path / 'root', tmp_path / 'out'
        for (part, name), picture in pictures.items():
            path = root / part / 'images' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=60)
        parts = [p for p in ('train', 'valid', 'test', 'pseudo') if (root / p).is_dir()]
        tasks = find_tasks(root, parts, out, 2, 64)[0]
        facts = [measure(task) for task in tasks]
        return [
            (
                g.exact,
                g.leak,
                [f'{facts[i].part}/{facts[i].image_id}' for i in g.members],
            )
            for g in find_groups(facts)
        ]

    return call


def test_exact__are_found_within_and_across_parts_leaks_first(search):
    found = search(
        {
            ('train', 'a.png'): scene(1),
            ('train', 'b.bmp'): scene(1),
            ('train', 'c.png'): scene(2),
            ('valid', 'd.png'): scene(2),
            ('valid', 'e.png'): scene(3),
        }
    )
    assert found == [
        (True, True, ['train/c.png', 'valid/d.png']),
        (True, False, ['train/a.png', 'train/b.bmp']),
    ]


@pytest.mark.parametrize(
    'change',
    [
        lambda picture: picture.resize((90, 70)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
        lambda picture: picture.crop((1, 1, 159, 119)),
        lambda picture: picture,
    ],
    ids=['smaller', 'darker', 'a pixel less', 'as JPEG'],
)
def test_near__copies_are_found(search, change):
    pictures = {('train', f'{i}.png'): scene(i) for i in range(5)}
    found = search(pictures | {('test', 'copy.jpg'): change(scene(3))})
    assert found == [(False, True, ['train/3.png', 'test/copy.jpg'])]


def test_near__many_scenes_are_all_different(search):
    assert search({('train', f'{i}.png'): scene(i) for i in range(60)}) == []


def test_plain__images_match_only_where_all_pixels_do(search):
    greys = [Image.new('RGB', (50, 40), (value,) * 3) for value in (0, 90, 91, 255)]
    pictures = {('train', f'{i}.png'): grey for i, grey in enumerate(greys)}
    ramp = np.linspace(100, 104, 50).astype(np.uint8)
    ramp = np.broadcast_to(ramp[None, :, None], (40, 50, 3))
    pictures[('train', 'ramp.png')] = Image.fromarray(np.ascontiguousarray(ramp))
    pictures[('train', 'pmar.png')] = Image.fromarray(ramp[:, ::-1].copy())
    found = search(pictures | {('valid', 'same.png'): greys[1]})
    assert found == [(True, True, ['train/1.png', 'valid/same.png'])]


def test_same_bytes_of_another_shape__are_another_image(tmp_path):
    folder = tmp_path / 'train/images'
    folder.mkdir(parents=True)
    for name, size in (('wide.png', (20, 10)), ('high.png', (10, 20))):
        Image.new('RGB', size, (5, 5, 5)).save(folder / name)
    contents = {
        measure(Task(tmp_path, 'train', name, False, tmp_path, 't', 2, 64)).look.content
        for name in ('wide.png', 'high.png')
    }
    assert len(contents) == 2


def test_chain__joins_all_copies_into_one_group(search):
    copies = {('train', f'{i}.jpg'): scene(4).resize((160 - i, 120)) for i in range(4)}
    found = search(copies)
    assert found == [(False, False, [f'train/{i}.jpg' for i in range(4)])]


def test_pseudo__is_no_leak_of_test(search):
    assert search({('test', 'a.png'): scene(1), ('pseudo', 'a.png'): scene(1)}) == []
