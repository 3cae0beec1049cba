"""Freed memory that is kept: how many new pages the same work asks for again."""

import os
import platform
import subprocess
import sys

import pytest
from mmengine.config import Config

from mmsegmentation import runtime
from mmsegmentation.command import InputError

SCRIPT = """
import resource
from mmsegmentation.allocator import keep_freed_memory

kept = keep_freed_memory(LIMIT)
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    texts = [b'x' * 96_000_000 for _ in range(2)]
    del texts
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, pages)
"""
GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')


def run(limit=None, **variables):
    set_up = ('MALLOC_', 'GLIBC_TUNABLES', 'LD_PRELOAD')
    clean = {k: v for k, v in os.environ.items() if not k.startswith(set_up)}
    command = [sys.executable, '-c', SCRIPT.replace('LIMIT', str(limit))]
    done = subprocess.run(
        command, env={**clean, **variables}, check=True, capture_output=True, text=True
    )
    kept, pages = done.stdout.split()
    return kept == 'True', int(pages)


@GLIBC
def test_memory__is_kept_and_not_asked_for_again():
    kept, pages = run()
    assert kept
    assert pages < 1000


@GLIBC
@pytest.mark.parametrize(
    'variable',
    [
        {'MALLOC_ARENA_MAX': '2'},
        {'GLIBC_TUNABLES': 'glibc.malloc.check=0'},
        {'LD_PRELOAD': ''},
    ],
)
def test_memory__that_somebody_has_set_up_is_left_alone(variable):
    kept, pages = run(**variable)
    assert not kept
    assert pages > 1000


@GLIBC
def test_memory__is_kept_up_to_a_limit():
    assert run(1 << 30)[1] < 1000
    assert run(1 << 24)[1] > 1000


@pytest.mark.parametrize(
    ('device', 'more', 'wanted'),
    [
        ('cpu', {'train_cfg': {}}, [runtime.PREDICTING_KEEPS]),
        ('cpu', {'train_cfg': {'max_iters': 1}}, [None]),
        ('cuda', {}, []),
    ],
    ids=['to predict', 'to train', 'on a GPU'],
)
def test_runner__is_built_with_memory_kept(device, more, wanted, monkeypatch):
    asked = []
    monkeypatch.setattr('mmengine.device.get_device', lambda: device)
    monkeypatch.setattr('mmsegmentation.allocator.keep_freed_memory', asked.append)
    with pytest.raises(InputError):
        runtime.build_runner(Config(more))  # of no model
    assert asked == wanted
