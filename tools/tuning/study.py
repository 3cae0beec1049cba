"""The trials of a study in Optuna's storage, shared by workers that may die."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from mmsegmentation.command import InputError
from tools.steps import check_same
from tools.tuning.locks import FileLocks, Hold, Locks, PostgresLocks, queue
from tools.tuning.space import Searched

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

T = TypeVar('T')
SAMPLERS = 'tpe', 'random'
PRUNERS = 'median', 'hyperband', 'none'
# How many workers may end in a trial before it has got any further.
TRIES = 5
# Seconds that a storage may be away, and that SQLite's file may be locked.
PATIENCE = 600
BUSY = 60
DRIVER = 'postgresql+psycopg'


@dataclass(frozen=True)
class Plan:
    """How trials are drawn, judged and counted.

    Attributes:
        sampler: Of ``SAMPLERS``.
        pruner: Of ``PRUNERS``.
        seed: Trials follow from it, their number, and what earlier ones scored.
        minimize: Whether low scores are good.
        total: How many trials the study is to have.
        validations: How many scores a whole training gives, None if unknown.
    """

    sampler: str
    pruner: str
    seed: int
    minimize: bool
    total: int
    validations: int | None

    def make_sampler(self, number: int) -> 'BaseSampler':
        """Return what draws a trial.

        Each trial has its own: one that went on drawing from where it began would
        repeat itself in each worker.
        """
        from optuna.samplers import RandomSampler, TPESampler

        seed = (self.seed * 1_000_003 + number) % 2**32
        return TPESampler(seed=seed) if self.sampler == 'tpe' else RandomSampler(seed)

    def make_pruner(self) -> 'BasePruner':
        """Return what ends trials early, by their scores so far."""
        from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

        if self.pruner == 'hyperband':
            return HyperbandPruner(1, self.validations or 'auto')
        return MedianPruner() if self.pruner == 'median' else NopPruner()


@dataclass(frozen=True)
class Taken:
    """A trial that this worker has, and nobody else.

    Attributes:
        trial: Optuna's handle of it.
        drawn: What was drawn for it, by name.
        hold: Its lock.
        reported: The validations whose score an earlier worker has reported.
        tries: How many workers have ended in it since it last got further.
    """

    trial: 'Trial'
    drawn: dict[str, Any]
    hold: Hold
    reported: tuple[int, ...] = ()
    tries: int = 0

    @property
    def number(self) -> int:
        return self.trial.number


class SharedStudy:
    """A study of one storage, opened or begun.

    Args:
        url: The storage, as SQLAlchemy names it: SQLite or PostgreSQL.
        name: The study's name in it.
        plan: How trials are drawn and judged.
        space: What is searched.
        settings: What must be the same each time the study is gone on with.
        progress: Tells from a trial's number how far it has come, as any text.

    Raises:
        InputError: The storage cannot be used, or has this study with other settings.
    """

    def __init__(
        self,
        url: str,
        name: str,
        plan: Plan,
        space: Sequence[Searched],
        settings: Mapping[str, Any],
        progress: Callable[[int], str],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan, self.space, self.progress = plan, space, progress
        address = parse_url(url)
        self.locks = locks_of(address)
        self.storage: RDBStorage | None = None
        try:
            with _naming_the_storage(address), queue(self.locks):
                self.study = self._open(address, name, dict(settings))
        except BaseException:
            self.close()
            raise

    def _open(self, url: 'URL', name: str, settings: dict[str, Any]) -> 'Study':
        from optuna import create_study
        from optuna.storages import RDBStorage

        wait: dict[str, Any] = {'connect_args': {'timeout': BUSY}}
        if url.drivername == DRIVER:
            wait = {'pool_pre_ping': True}
        self.storage = RDBStorage(url.render_as_string(hide_password=False), wait)
        study = create_study(
            storage=self.storage,
            study_name=name,
            direction='minimize' if self.plan.minimize else 'maximize',
            load_if_exists=True,
            pruner=self.plan.make_pruner(),
        )
        space = {searched.name: searched.record() for searched in self.space}
        known = study.user_attrs
        if 'settings' not in known:
            if study.get_trials(deepcopy=False):
                what = f'has a study {name} that is not of tools/tune.py'
                raise InputError('--storage', what, 'name another --study')
            content = {'id': token_hex(8), 'space': space, **settings}
            study.set_user_attr('settings', content)
            known = study.user_attrs
        settings_before = dict(known['settings'])
        self.id = settings_before.pop('id')
        _check_space(settings_before.pop('space'), space, name)
        check_same(
            settings_before,
            settings,
            f'--study {name}',
            'repeat its arguments to go on, or name another --study',
        )
        own = {searched.name: searched.drawn_own() for searched in self.space}
        if not study.get_trials(deepcopy=False) and None not in own.values():
            # The config as it is: the best of the study is at least as good.
            study.enqueue_trial(own)
        return study

    def take(self) -> Taken | None:
        """Return the next trial for this worker, None where there is none left.

        First one whose worker has died, then a new one.

        Raises:
            InputError: The storage does not answer.
        """
        return patiently(self._take)

    def _take(self) -> Taken | None:
        from optuna.trial import TrialState

        with queue(self.locks):
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state is TrialState.RUNNING:
                    taken = self._take_up(trial._trial_id)
                    if taken:
                        return taken
            waiting = any(t.state is TrialState.WAITING for t in trials)
            if not waiting and len(trials) >= self.plan.total:
                return None
            self.study.sampler = self.plan.make_sampler(len(trials))
            asked = self.study.ask()
            hold = self.locks.hold(asked._trial_id)
            assert hold, 'a trial that nobody knows yet'
            return self._hand_out(asked, hold)

    def _take_up(self, trial_id: int) -> Taken | None:
        """Return a trial that was begun, None where it is held or has ended."""
        from optuna import Trial
        from optuna.trial import TrialState

        assert self.storage
        hold = self.locks.hold(trial_id)
        if hold is None:
            return None
        # Who ends a trial lets go of it afterwards: only now is this the last word.
        now = self.storage.get_trial(trial_id)
        if now.state is not TrialState.RUNNING:
            hold.release()
            return None
        self.study.sampler = self.plan.make_sampler(now.number)
        return self._hand_out(
            Trial(self.study, trial_id), hold, now.intermediate_values
        )

    def _hand_out(
        self, trial: 'Trial', hold: Hold, reported: Iterable[int] = ()
    ) -> Taken:
        drawn = {searched.name: searched.draw(trial) for searched in self.space}
        before, now = trial.user_attrs.get('tries'), self.progress(trial.number)
        tries = before[1] + 1 if before and before[0] == now else 0
        trial.set_user_attr('tries', [now, tries])
        return Taken(trial, drawn, hold, tuple(reported), tries)

    def give_back(self, taken: Taken) -> None:
        """Let another worker, or this one later, go on with a trial."""
        taken.hold.release()

    def finish(
        self, taken: Taken, state: str, value: float | None, facts: Mapping[str, Any]
    ) -> None:
        """Write down how a trial ended, once and for all.

        Args:
            state: ``complete``, ``pruned`` or ``failed``.
            value: Its score, if it is complete.
            facts: Kept with it, such as the reason.
        """
        from optuna.trial import TrialState

        states = {
            'complete': TrialState.COMPLETE,
            'pruned': TrialState.PRUNED,
            'failed': TrialState.FAIL,
        }

        def tell() -> None:
            for key, fact in facts.items():
                if taken.trial.user_attrs.get(key) != fact:
                    taken.trial.set_user_attr(key, fact)
            self.study.tell(taken.trial, value, states[state], skip_if_finished=True)

        patiently(tell)
        taken.hold.release()

    def close(self) -> None:
        """Leave the storage."""
        if self.storage:
            self.storage.engine.dispose()
        self.locks.close()

    def trials(self) -> list['FrozenTrial']:
        """Return all trials as they are, in order."""
        return patiently(lambda: self.study.get_trials(deepcopy=False))


def locks_of(address: 'URL') -> Locks:
    """Return the locks of a storage, by its address."""
    if address.drivername == DRIVER:
        return PostgresLocks(address)
    return FileLocks(Path(str(address.database)))


def parse_url(url: str) -> 'URL':
    """Return the address of a storage, with the driver that is installed for it.

    Raises:
        InputError: It is no address of a file of SQLite, or of PostgreSQL.
    """
    from importlib.util import find_spec

    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        text = 'is no address of a database'
        raise InputError(
            '--storage', text, 'write sqlite:///study.db, or postgresql://host/name'
        ) from None
    kind = address.drivername.partition('+')[0]
    if kind in ('postgresql', 'postgres'):
        if find_spec('psycopg') is None:
            raise InputError(
                '--storage',
                'PostgreSQL needs psycopg, which is not installed',
                "pip install 'psycopg[binary]'",
            )
        return address.set(drivername=DRIVER)
    if kind != 'sqlite' or address.database in (None, '', ':memory:'):
        raise InputError(
            '--storage',
            f'{shown(address)} cannot be shared by workers',
            'write sqlite:///study.db, or postgresql://host/name',
        )
    return address


def shown(address: 'URL') -> str:
    """Return an address without its password, which may be among its options too."""
    return address.set(query={}).render_as_string()


def patiently(act: Callable[[], T]) -> T:
    """Do something with a storage, again and again while it does not answer.

    Raises:
        InputError: It has not answered for ``PATIENCE`` seconds.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    start = time.monotonic()
    while True:
        try:
            return act()
        except (StorageInternalError, DBAPIError) as error:
            if time.monotonic() - start > PATIENCE:
                text = f'does not answer ({_first_line(error)})'
                way_out = 'start again when it does: the study goes on'
                raise InputError('--storage', text, way_out) from None
            time.sleep(1)


class _naming_the_storage:
    """Turn what goes wrong when a storage is opened into one line."""

    def __init__(self, url: 'URL') -> None:
        self.shown = shown(url)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        # Optuna says by a RuntimeError that a newer version has written it.
        if isinstance(error, OptunaError | SQLAlchemyError | RuntimeError):
            text = f'{self.shown} cannot be used ({_first_line(error)})'
            raise InputError('--storage', text, 'correct it') from None


def _first_line(error: BaseException) -> str:
    # SQLAlchemy wraps the database's own words, and Optuna wraps SQLAlchemy's.
    origins = [getattr(e, 'orig', None) for e in (error, error.__cause__)]
    cause = next(filter(None, origins), error)
    return str(cause).strip().split('\n')[0]


def _check_space(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    for entry in {**before, **now}:
        old, new = before.get(entry), now.get(entry)
        if old != new:
            text = 'without it' if old is None else f'with {_as_words(old)}'
            raise InputError(
                f'SPACE: {entry}',
                f'the study {name} was begun {text}',
                'search the same again to go on, or name another --study',
            )


def _as_words(searched: Mapping[str, Any]) -> str:
    """Return what is searched as one would say it.

    >>> _as_words({'keys': ['a.b'], 'choices': [1, 2]})
    'keys a.b, choices 1 2'
    """
    return ', '.join(
        f'{key} {" ".join(map(str, value)) if isinstance(value, list) else value}'
        for key, value in searched.items()
    )
