"""A PostgreSQL server of one's own, on loopback, for as long as it is needed."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

PLACES = '/usr/lib/postgresql/*/bin/initdb', '/usr/local/pgsql/bin/initdb'
# Root may not run the server: Debian's package makes this user.
USER = 'postgres'


def find_programs() -> Path | None:
    """Return the folder of the server's programs, the newest one; None without any."""
    found = shutil.which('initdb')
    paths = [Path(found)] if found else []
    for place in PLACES:
        paths += sorted(Path('/').glob(place.lstrip('/')))
    return paths[-1].parent if paths else None


def why_not() -> str | None:
    """Return why there can be no server here, None where there can be one."""
    if find_programs() is None:
        return 'needs PostgreSQL, as in the package postgresql of Debian'
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f'root may not run PostgreSQL, and there is no user {USER}'
    return None


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server with an empty database; give its address as a storage."""
    programs = find_programs()
    assert programs
    user = USER if os.geteuid() == 0 else None
    folder = Path(mkdtemp(prefix='postgres'))
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    data = folder / 'data'
    make = [programs / 'initdb', '-D', data, '-U', 'tuner', '-A', 'trust', '-N']
    subprocess.run(make, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    options = {'listen_addresses': '127.0.0.1', 'port': port, 'fsync': 'off'}
    options |= {'unix_socket_directories': folder}
    start = [programs / 'postgres', '-D', data]
    for name, value in options.items():
        start += ['-c', f'{name}={value}']
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen(start, user=user, cwd=folder, stderr=log, stdout=log)
    try:
        _wait(server, port, folder / 'log')
        yield f'postgresql://tuner@127.0.0.1:{port}/postgres'
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder)


def _wait(server: subprocess.Popen, port: int, log: Path) -> None:
    import psycopg

    address = f'host=127.0.0.1 port={port} user=tuner dbname=postgres'
    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.1)
