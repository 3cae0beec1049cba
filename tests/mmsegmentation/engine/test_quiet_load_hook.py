"""The screen belongs to the run: no library speaks on it."""

import sys

from mmsegmentation.engine import QuietLoadHook


def test_hook__keeps_the_notice_of_a_load_off_the_screen(train, tmp_path, capsys):
    train([], [1])
    capsys.readouterr()
    before = sys.stdout
    train([QuietLoadHook()], [1, 2], end=2, resume=True)
    assert 'Loads checkpoint' not in capsys.readouterr().out
    assert sys.stdout is before


def test_hook__leaves_the_screen_alone_without_a_load(train, capsys):
    before = sys.stdout
    train([QuietLoadHook()], [1])
    assert sys.stdout is before
