"""The images of a COCO JSON, and whether a folder holds just these."""

import json
from pathlib import Path

import pytest

from mmsegmentation.command import InputError
from utils.listing import Listed, match_ids, read_listing

HERE, THERE = Path('pred'), Path('test.json')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not readable as JSON'),
        ([], 'has no images with file names'),
        ({'images': [{'id': 1}]}, 'has no images with file names'),
        ({'images': [{'file_name': 3}]}, 'has no images with file names'),
        ({'images': []}, 'names no image'),
        ({'images': [{'file_name': '../a.jpg'}]}, 'must stay inside its folder'),
        ({'images': [{'file_name': 'a.jpg'}] * 2}, "has 'a.jpg' twice"),
        ({'images': [{'file_name': 'a.jpg'}, {'file_name': 'a.png'}]}, 'twice'),
    ],
)
def test_read_listing__names_what_is_wrong(tmp_path, content, message):
    path = tmp_path / 'test.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_listing(path)


def test_read_listing__keeps_order_ids_and_sizes(tmp_path):
    path = tmp_path / 'test.json'
    rows = [
        {'file_name': 'c 1.jpg', 'id': 7, 'height': 2, 'width': 3},
        {'file_name': '한/a.jpg'},
        {'file_name': 'b.jpg', 'id': 'x', 'height': 2},
    ]
    path.write_text(json.dumps({'images': rows}), encoding='utf-8-sig')
    assert list(read_listing(path).items()) == [
        ('c 1.jpg', Listed(7, (2, 3))),
        ('한/a.jpg', Listed(None, None)),
        ('b.jpg', Listed('x', None)),
    ]


def test_match_ids__by_mask_name_in_the_order_of_the_listing():
    assert match_ids(['a.jpg', 'b.jpg'], ['b.png', 'a.jpeg'], HERE, THERE) == [
        'b.png',
        'a.jpeg',
    ]


def test_match_ids__names_what_is_missing_or_too_much():
    with pytest.raises(InputError, match=r"'b.jpg': is in test.json but not in pred"):
        match_ids(['a.jpg'], ['a.jpg', 'b.jpg'], HERE, THERE)
    with pytest.raises(InputError, match=r"'b.jpg': is in pred but not in test.json"):
        match_ids(['a.jpg', 'b.jpg'], ['a.jpg'], HERE, THERE)
