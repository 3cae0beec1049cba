"""Storages, a small space, and studies that are opened as each worker opens its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.postgres import running_server, why_not
from tools.tuning.locks import Hold
from tools.tuning.space import Searched
from tools.tuning.study import Plan, SharedStudy, Taken

SPACE = (
    Searched('lr', ('optim_wrapper.optimizer.lr',), 0.01, (), 1e-4, 1.0, True),
    Searched('kind', ('model.kind',), 'b', ('a', 'b')),
)


@pytest.fixture(scope='session')
def server() -> Iterator[str]:
    """Give the address of an empty PostgreSQL database; skip where there is none."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_server() as address:
        yield address


@pytest.fixture(params=['sqlite', 'postgres'])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a storage of each kind."""
    if request.param == 'sqlite':
        return f'sqlite:///{tmp_path}/study.db'
    return request.getfixturevalue('server')


@pytest.fixture
def open_study(tmp_path: Path) -> Iterator[Callable[..., SharedStudy]]:
    """Open the test's study as one more worker does; at the end let go of all."""
    opened: list[SharedStudy] = []
    holds: list[Hold] = []

    def call(storage: str, total: int = 5, **changes: object) -> SharedStudy:
        settings = {'seed': 0, 'config': 'a.py'}
        arguments = {'sampler': 'random', 'pruner': 'none', 'seed': 0}
        arguments |= {'minimize': False, 'validations': 3}
        space = changes.pop('space', SPACE)
        progress = changes.pop('progress', lambda number: '')
        for name, value in changes.items():
            (arguments if name in arguments else settings)[name] = value
        plan = Plan(total=total, **arguments)
        # The database of the server is everybody's.
        name = tmp_path.name
        study = SharedStudy(storage, name, plan, space, settings, progress)
        opened.append(study)
        take, study.take = study.take, lambda: remember(take())
        return study

    def remember(taken: Taken | None) -> Taken | None:
        if taken:
            holds.append(taken.hold)
        return taken

    yield call
    for hold in holds:
        hold.release()
    for study in opened:
        study.close()
