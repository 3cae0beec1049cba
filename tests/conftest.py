"""What every folder of tests may use."""

import os
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import settings

from mmsegmentation.command import run_command
from mmsegmentation.device import NO_GPU, count_gpus

# Tests are alike on all machines: GPUs are hidden from them and from the processes
# that they start. One marked ``gpu`` starts processes that see them.
VISIBLE = os.environ.get('CUDA_VISIBLE_DEVICES')
os.environ['CUDA_VISIBLE_DEVICES'] = ''

# No test asks the network: albumentations would, for a newer version of itself.
os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'

# The same examples each time, however slow the machine is, and none kept on disk.
settings.register_profile('tests', derandomize=True, deadline=None, database=None)
settings.load_profile('tests')

Result = tuple[int, str, str]


@pytest.fixture(scope='session', autouse=True)
def home_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is known of data roots that cannot be written out of the home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(autouse=True)
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore PyTorch's setting after a command has made it read data only."""
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')


@pytest.fixture
def gpu_environment() -> dict[str, str]:
    """Return the environment of a process that sees the GPUs; skip without a GPU."""
    if not count_gpus() or VISIBLE in NO_GPU:
        pytest.skip('no GPU')
    found = {k: v for k, v in os.environ.items() if k != 'CUDA_VISIBLE_DEVICES'}
    return found if VISIBLE is None else {**found, 'CUDA_VISIBLE_DEVICES': VISIBLE}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command as the shell would: exit code, standard output, standard error."""

    def call(main: Callable[[Sequence[str] | None], int], *argv: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            run_command(lambda _: main([str(arg) for arg in argv]))
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


@pytest.fixture
def misuse(run: Callable[..., Result]) -> Callable[..., None]:
    """Run a command that must stop with one line of error and exit code 2."""

    def call(main: Callable, message: str, *argv: object) -> None:
        code, _, err = run(main, *argv)
        assert code == 2
        assert err.startswith('error: ')
        assert err.count('\n') == 1
        assert re.search(message, err), err

    return call
