"""Locks of a storage that end with the process that holds them, however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mmsegmentation.command import InputError
from tools.steps import try_lock

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

# Of all advisory locks of a PostgreSQL database, ours begin with this number.
OURS = 0x7EC7
# Optuna's trials are numbered from 1, so this lock is no trial's.
QUEUE = 0


class Hold(Protocol):
    """A lock that is held, by this process and by those that inherit it.

    Attributes:
        descriptors: Who inherits them holds the lock too.
    """

    descriptors: tuple[int, ...]

    def stands(self) -> bool:
        """Return whether it is held still, or could be had again."""

    def release(self) -> None:
        """Let go of it; a second time changes nothing."""


class Locks(Protocol):
    """The locks of one storage, by number."""

    def hold(self, number: int, wait: bool = False) -> Hold | None:
        """Return a lock that is now held; None where another process holds it."""

    def close(self) -> None:
        """Leave nothing open but what is held."""


@contextmanager
def queue(locks: Locks) -> Iterator[None]:
    """Be the only process that changes which trials there are, and who has them."""
    hold = locks.hold(QUEUE, wait=True)
    assert hold
    try:
        yield
    finally:
        hold.release()


class FileHold:
    """A locked file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptors: tuple[int, ...] = (descriptor,)

    def stands(self) -> bool:
        return True

    def release(self) -> None:
        # Once: a number that was closed may be another file's by now.
        held, self.descriptors = self.descriptors, ()
        for descriptor in held:
            os.close(descriptor)


class FileLocks:
    """Locks of a database that is a file: files in a folder beside it."""

    def __init__(self, database: Path) -> None:
        self.folder = database.with_name(f'{database.name}.locks')

    def hold(self, number: int, wait: bool = False) -> FileHold | None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / str(number)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            while not try_lock(descriptor):
                if not wait:
                    os.close(descriptor)
                    return None
                time.sleep(0.02)
        except OSError as error:
            raise InputError(
                self.folder,
                f'nothing can be locked there ({error.strerror})',
                'choose another place for the storage',
            ) from None
        return FileHold(descriptor)

    def close(self) -> None:
        pass


class PostgresHold:
    """An advisory lock, held by a connection of its own."""

    def __init__(self, locks: 'PostgresLocks', number: int, held: 'Connection') -> None:
        self.locks, self.number, self.connection = locks, number, held
        driver = held.connection.driver_connection
        assert driver
        self.descriptors: tuple[int, ...] = (driver.fileno(),)

    def stands(self) -> bool:
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        try:
            self.connection.execute(text('SELECT 1'))
        except DBAPIError:
            # The server was away. Nobody else may have begun meanwhile.
            with suppress(DBAPIError):
                self.connection.close()
            again = self.locks.hold(self.number)
            if again is None:
                return False
            self.connection = again.connection
        return True

    def release(self) -> None:
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        if self.connection.closed:
            return
        # Of a connection that is closed the server learns a little later.
        with suppress(DBAPIError):
            unlock = f'SELECT pg_advisory_unlock({OURS}, {int(self.number)})'
            self.connection.execute(text(unlock))
        self.connection.close()


class PostgresLocks:
    """Advisory locks of a PostgreSQL database.

    They end with their connection. Of a machine that has vanished the server learns
    within two minutes.
    """

    def __init__(self, url: 'URL') -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        self.engine = create_engine(
            url, poolclass=NullPool, isolation_level='AUTOCOMMIT'
        )

    def hold(self, number: int, wait: bool = False) -> PostgresHold | None:
        from sqlalchemy import text

        connection = self.engine.connect()
        for name, value in (('idle', 60), ('interval', 15), ('count', 4)):
            connection.execute(text(f'SET tcp_keepalives_{name} = {value}'))
        name = 'pg_advisory_lock' if wait else 'pg_try_advisory_lock'
        statement = text(f'SELECT {name}({OURS}, {int(number)})')
        if connection.execute(statement).scalar() is False:
            connection.close()
            return None
        return PostgresHold(self, number, connection)

    def close(self) -> None:
        self.engine.dispose()
