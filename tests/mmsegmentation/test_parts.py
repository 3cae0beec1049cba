"""Which part of a data root holds an image."""

import shutil

import pytest

from mmsegmentation.command import InputError
from mmsegmentation.parts import (
    check_pseudo_part,
    check_unseen,
    find_masks,
    locate,
    named_parts,
)

FOLD = {'fold': 0, 'folds': 2, 'parts': ['train', 'valid']}


@pytest.fixture
def root(tmp_path):
    """Return a data root; a name in two parts, one of them without labels."""
    for name in (
        'train/images/a.jpg', 'train/mask/a.png',
        'valid/images/b.jpg', 'valid/mask/b.png',
        'test/images/a.jpg', 'test/images/c.jpg',
        'pseudo/images/c.jpg', 'pseudo/mask/c.png',
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ('origin', 'split', 'parts'),
    [
        ({}, None, None),
        ({'method': 'out of fold', 'folds': 5}, None, None),
        ({'split': 'valid', 'fold': None}, None, ('valid',)),
        ({'split': 'valid', 'fold': FOLD}, None, ('train', 'valid')),
        ({'split': 'test', 'fold': FOLD}, None, ('test',)),
        ({'split': 'valid', 'fold': FOLD}, 'train', ('train',)),
    ],
)
def test_named_parts__valid_is_a_part_or_the_role_of_a_fold(origin, split, parts):
    assert named_parts(origin, split) == parts


def test_locate__photograph_and_mask_are_of_one_part(root):
    places = locate(root, ['a.jpg', 'b.jpg', 'c.jpg'], None)
    assert {i: place.part.name for i, place in places.items()} == {
        'a.jpg': 'train',
        'b.jpg': 'valid',
        'c.jpg': 'test',
    }
    assert places['a.jpg'].photo == root / 'train/images/a.jpg'
    assert places['a.jpg'].mask == root / 'train/mask/a.png'
    assert places['c.jpg'].mask is None


def test_locate__what_a_killed_command_left_behind_is_no_part(root):
    shutil.copytree(root / 'valid', root / '.pseudo.0123')
    assert locate(root, ['b.jpg'], None)['b.jpg'].part.name == 'valid'


def test_locate__no_pseudo_part_counts_whatever_its_name(root):
    (root / 'pseudo').rename(root / 'pseudo_fold0_round1')
    assert locate(root, ['c.jpg'], None)['c.jpg'].part.name == 'test'
    assert locate(root, ['c.jpg'], ['pseudo_fold0_round1'])['c.jpg'].mask is None


@pytest.mark.parametrize('name', ['pseudo', 'pseudo_fold0', 'pseudo-2', 'pseudo_라벨'])
def test_check_pseudo_part__takes_names_of_folders(name):
    assert check_pseudo_part(name, '--part') == name


@pytest.mark.parametrize('name', ['', 'train', 'pseudonym', 'pseudo_a/b', 'pseudo_..'])
def test_check_pseudo_part__refuses_others(name):
    with pytest.raises(InputError, match='is no part for pseudo labels'):
        check_pseudo_part(name, '--part')


def test_locate__named_part_has_its_own_photograph(root):
    place = locate(root, ['a.jpg'], ['test'])['a.jpg']
    assert (place.photo, place.mask) == (root / 'test/images/a.jpg', None)
    # Labels that a model made are no truth, even where they are asked for.
    assert locate(root, ['c.jpg'], ['pseudo'])['c.jpg'].mask is None


def test_locate__nowhere_or_twice_is_refused(root):
    with pytest.raises(InputError, match=r"'d\.jpg': is not in any part of"):
        locate(root, ['d.jpg'], None)
    with pytest.raises(InputError, match=r"'b\.jpg': is not in .*train/images; check"):
        locate(root, ['b.jpg'], ['train'])
    (root / 'train/mask/a.png').unlink()
    with pytest.raises(InputError, match=r"'a\.jpg': is in test and train; rename"):
        locate(root, ['a.jpg'], None)
    with pytest.raises(InputError, match='holds no part with images'):
        locate(root / 'train', ['a.jpg'], None)


def test_find_masks__image_without_one_is_named(root):
    assert find_masks(root, ['b.jpg'], ['valid']) == {
        'b.jpg': root / 'valid/mask/b.png'
    }
    with pytest.raises(InputError, match=r"'c\.jpg': has no mask in .*test/mask"):
        find_masks(root, ['c.jpg'], None)


def test_check_unseen__training_images_of_a_part_or_a_fold_are_refused(root):
    for origin in ({}, {'split': 'valid', 'fold': FOLD}, {'split': 'test'}):
        check_unseen(root, origin)
    for fold in (None, FOLD):
        with pytest.raises(InputError, match='was trained on; train folds of'):
            check_unseen(root, {'split': 'train', 'fold': fold})
