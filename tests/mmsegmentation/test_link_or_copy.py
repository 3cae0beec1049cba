"""A file put at a second place, linked or copied."""

import os

import pytest

from mmsegmentation.command import InputError
from mmsegmentation.files import link_or_copy


def test_link_or_copy__links_where_possible(tmp_path):
    (tmp_path / 'a').write_bytes(b'content')
    link_or_copy(tmp_path / 'a', tmp_path / 'deep/b')
    assert (tmp_path / 'deep/b').samefile(tmp_path / 'a')


def test_link_or_copy__copies_where_links_are_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError('no links here')

    monkeypatch.setattr(os, 'link', refuse)
    (tmp_path / 'a').write_bytes(b'content')
    link_or_copy(tmp_path / 'a', tmp_path / 'b')
    assert (tmp_path / 'b').read_bytes() == b'content'
    assert not (tmp_path / 'b').samefile(tmp_path / 'a')


def test_link_or_copy__follows_links(tmp_path):
    (tmp_path / 'a').write_bytes(b'content')
    (tmp_path / 'link').symlink_to('a')
    link_or_copy(tmp_path / 'link', tmp_path / 'deep/b')
    assert not (tmp_path / 'deep/b').is_symlink()
    assert (tmp_path / 'deep/b').read_bytes() == b'content'


def test_link_or_copy__refuses_a_missing_file_and_a_taken_place(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        link_or_copy(tmp_path / 'none', tmp_path / 'b')
    (tmp_path / 'a').write_bytes(b'a')
    (tmp_path / 'b').write_bytes(b'b')
    with pytest.raises(FileExistsError, match='b exists'):
        link_or_copy(tmp_path / 'a', tmp_path / 'b')
    assert (tmp_path / 'b').read_bytes() == b'b'
