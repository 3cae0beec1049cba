"""What stays in one fold: look-alikes, folders, and groups out of a file."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmsegmentation.files import read_image, read_json, write_mask
from utils.duplicates import Look, look_at, near_duplicates
from utils.split import main


def draw_scene(seed: int) -> Image.Image:
    """Return a photograph of sorts: smooth light, and things in front of it."""
    rng = np.random.default_rng(seed)
    light = rng.integers(60, 200, (4, 4, 3), np.uint8)
    image = Image.fromarray(light).resize((96, 96), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top, wide, high = rng.integers(0, 60, 4).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw.rectangle((left, top, left + wide, top + high), fill=colour)
    return image


@pytest.fixture
def root(tmp_path):
    """Return a data root of eight scenes in two folders of two parts."""
    root = tmp_path / 'root'
    for number in range(8):
        part = 'train' if number < 6 else 'valid'
        add(root, part, f'b_{number % 4}/{number}.jpg', draw_scene(number))
    return root


def add(root, part, image_id, image, **options):
    path = root / part / 'images' / image_id
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    label_map = np.zeros((4, 4), np.uint8)
    label_map[: len(image_id) % 4] = 1
    write_mask((root / part / 'mask' / image_id).with_suffix('.png'), label_map)


@pytest.fixture
def split(run, root):
    def call(*options, folds=2):
        argv = (root, '--folds', folds, '--jobs', 1, '--overwrite', *options)
        code, printed, err = run(main, *argv)
        assert (code, err) == (0, '')
        images = read_json(root / 'folds/folds.json')['images']
        return printed, {
            i: fold for part in images.values() for i, fold in part.items()
        }

    return call


def test_content__copies_stay_together_across_parts(split, root):
    again = draw_scene(0).resize((128, 128)).point(lambda value: value * 0.95 + 3)
    add(root, 'valid', 'copy/again.jpg', again, quality=60)
    add(root, 'valid', 'copy/same.png', draw_scene(1))
    for seed in range(4):
        printed, folds = split('--seed', seed, folds=4)
        assert folds['copy/again.jpg'] == folds['b_0/0.jpg']
        assert folds['copy/same.png'] == folds['b_1/1.jpg']
    assert 'together: train/b_0/0.jpg, valid/copy/again.jpg' in printed
    assert printed.count('together: ') == 2


def test_content__is_not_looked_at_when_told(split, root):
    add(root, 'valid', 'copy/again.jpg', draw_scene(0))
    printed, folds = split('--group-by', 'nothing', folds=9)
    assert 'together' not in printed
    assert sorted(folds.values()) == list(range(9))


def test_content__other_scenes_and_plain_surfaces_are_no_copies(tmp_path):
    images = [draw_scene(seed) for seed in range(30)]
    images += [Image.new('RGB', (64, 64), (grey,) * 3) for grey in (100, 104, 0)]
    paths = [tmp_path / f'{number}.png' for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    looks = [look_at(read_image(path)) for path in paths]
    assert near_duplicates(looks)[0].tolist() == [*range(33)]


def test_content__equal_plain_surfaces_are_copies(tmp_path):
    for number, grey in enumerate((7, 9, 7, 7)):
        Image.new('RGB', (64, 64), (grey,) * 3).save(tmp_path / f'{number}.png')
    looks = [look_at(read_image(tmp_path / f'{number}.png')) for number in range(4)]
    assert near_duplicates(looks)[0].tolist() == [0, 1, 0, 0]


def test_content__nothing_at_all_has_no_groups():
    groups, lowest = near_duplicates([])
    assert groups.tolist() == lowest.tolist() == []


def frames(count, noise=3.0):
    """Return looks of frames of a camera that stands still."""
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (32, 32)).astype(np.float32)
    return [
        Look(str(i), 7, scene + rng.normal(0, noise, (32, 32)).astype(np.float32))
        for i in range(count)
    ]


def test_content__frames_of_one_scene_are_one_group_with_its_lowest_correlation():
    looks = frames(300)
    other = frames(302, noise=90)[300:]
    groups, lowest = near_duplicates([other[0], *looks, other[1], looks[5]])
    assert groups.tolist() == [0, *[1] * 300, 2, 1]
    grey = np.corrcoef([look.grey.ravel() for look in looks])
    assert lowest.tolist() == pytest.approx([1, grey.min(), 1], abs=1e-5)


def test_content__frames_of_one_scene_take_no_memory_by_the_pair():
    looks = frames(1500)
    near_duplicates(looks[:2])  # imports
    tracemalloc.start()
    near_duplicates(looks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs at once, a million, took 109 MB.
    assert peak < 30e6


def test_folder__stays_together(split):
    printed, folds = split('--group-by', 'folder', folds=4)
    assert folds['b_0/0.jpg'] == folds['b_0/4.jpg']
    assert folds['b_2/2.jpg'] == folds['b_2/6.jpg']
    assert sorted(folds[f'b_{i}/{i}.jpg'] for i in range(4)) == [0, 1, 2, 3]
    assert printed.count('together: ') == 4


def test_file__groups_and_what_looks_alike_are_joined(split, root, tmp_path):
    add(root, 'valid', 'copy/again.jpg', draw_scene(0))
    table = tmp_path / 'groups.csv'
    table.write_text('image_id,group\nb_0/0.jpg,x\n"b_3/7.jpg",x\nb_1/1.jpg,y\n')
    printed, folds = split('--groups', table, folds=7)
    assert folds['b_0/0.jpg'] == folds['b_3/7.jpg'] == folds['copy/again.jpg']
    assert len(set(folds.values())) == 7
    assert 'together: train/b_0/0.jpg, valid/b_3/7.jpg, valid/copy/again.jpg' in printed


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('b_0/0.jpg,x\nb_9/9.jpg,x\n', "names 'b_9/9.jpg', which is in no part"),
        ('b_0/0.jpg,x\nb_0/0.jpg,y\n', "names 'b_0/0.jpg' twice"),
        ('b_0/0.jpg,x\nb_1/1.jpg\n', 'row 2 has 1 fields'),
        ('file,g\nb_0/0.jpg,x\n', "begins with 'file,g', which is neither 'image_id,g"),
        ('b_0/0.jpg,x,y\n', 'row 1 has 3 fields'),
        (b'\xff\xfe\x00', 'not readable as CSV'),
    ],
)
def test_file__wrong_rows_are_named(misuse, root, tmp_path, text, message):
    table = tmp_path / 'groups.csv'
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    argv = (root, '--folds', 2, '--jobs', 1, '--groups', table)
    misuse(main, rf'groups\.csv: {message}', *argv)
    assert not (root / 'folds').exists()
