"""Quotas under load: many writers, killed in the middle of their bodies, and a service that is killed too.

Looked at all the while, and at the end: no limit was ever passed by a byte, nothing stays reserved once leases and
uploads are over, and the ledger is what a scan finds.
"""
# ruff: noqa: S603, T201 - this is a program: it starts others, and prints

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BucketSettings, Quota
from torture.crowd import BUCKETS, COUNTED, KILLS, PHASE, PORT, RUN, STOP, WAIT, Board, crowd

_TENANT = "default"
_LIMITS = {
    None: Quota(12 << 20, 200),
    "limited": Quota(4 << 20, 40),
    "kept": Quota(),
}
_EXPIRY = 120.0  #: seconds until leases and uploads must be over
_MAIN = "from holdfast.cli import main; main()"


@dataclass
class Figures:
    """What was seen on one database."""

    database: str
    looks: int = 0
    highest: dict[str, int] = field(default_factory=dict)
    over: int = 0  #: bytes or objects beyond a limit, the worst of all looks
    kills: int = 0
    restarts: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    left: int = -1  #: reserved at the end
    ledger: bool = False
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether all held, and there was something to hold against."""
        return self.over == 0 and self.left == 0 and self.ledger and self.counted.get("refused", 0) > 0

    def __str__(self) -> str:
        high = ", ".join(f"{name} {value:,}" for name, value in sorted(self.highest.items()))
        met = ", ".join(f"{name} {value:,}" for name, value in self.counted.items())
        return (
            f"{self.database}: {self.kills:,} clients and {self.restarts} servers killed in {self.seconds:.0f} s; "
            f"{met}\n  highest used + reserved of {self.looks:,} looks: {high}\n"
            f"  over: {self.over}; reserved left: {self.left}; ledger = sum: {'yes' if self.ledger else 'NO'}"
            f" → {'sound' if self.sound else 'BROKEN'}"
        )


def report(databases: list[str], *, writers: int, kills: int, server_kills: int, seed: int) -> bool:
    """Run on each database, print what was seen, and return whether all held."""
    sound = True
    for number, database in enumerate(databases):
        figures = _trial(database, writers, kills, server_kills, seed + number)
        print(figures, flush=True)
        sound = sound and figures.sound
    return sound


def _trial(database: str, writers: int, kills: int, server_kills: int, seed: int) -> Figures:
    board = Board(writers)
    parent = os.getpid()
    sys.stdout.flush()
    crowding = os.fork()  # before anything here has a thread
    if not crowding:
        try:
            crowd(board, kills, seed, parent)
        finally:
            os._exit(0)
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-quota-") as folder:
            url = f"sqlite:///{folder}/catalog.db" if database == "sqlite" else _postgres()
            return asyncio.run(
                _Judge(database, url, Path(folder), board, kills, server_kills, crowding).run()
            )
    finally:
        board.put(PHASE, STOP)
        with suppress(ChildProcessError):
            os.waitpid(crowding, 0)


def _postgres() -> str:
    from tests.servers_postgres import fresh_database

    return fresh_database()


class _Judge:
    """Starts the service, lets the crowd loose, looks, kills, and judges."""

    def __init__(
        self,
        database: str,
        url: str,
        folder: Path,
        board: Board,
        kills: int,
        server_kills: int,
        crowding: int,
    ) -> None:
        self._url = url
        self._folder = folder
        self._board = board
        self._kills = kills
        self._server_kills = server_kills
        self._crowding = crowding
        self._figures = Figures(database)
        self._port = _free_port()

    async def run(self) -> Figures:
        began = time.monotonic()
        catalog = await open_catalog(self._url, environment=Environment(), upgrade=True)
        try:
            await _limit(catalog)
            server = self._serve()
            try:
                server = await self._storm(catalog, server)
                await self._settle(catalog)
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)
            self._figures.ledger = await _ledger_holds(catalog)
        finally:
            await catalog.close()
        for what in COUNTED:
            self._figures.counted[what] = self._board.total(what)
        self._figures.seconds = time.monotonic() - began
        return self._figures

    async def _storm(self, catalog: SqlCatalog, server: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Look until all kills are done; kill the server now and then. Returns the server that lives."""
        await _up(self._port)
        self._board.put(PORT, self._port)
        self._board.put(PHASE, RUN)
        while (kills := self._board.get(KILLS)) < self._kills:
            await self._look(catalog)
            if kills > (self._figures.restarts + 1) * self._kills / (self._server_kills + 1):
                server.kill()
                server.wait()
                self._figures.restarts += 1
                self._board.put(PHASE, WAIT)
                server = self._serve()
                await _up(self._port)
                self._board.put(PHASE, RUN)
            if server.poll() is not None:
                raise RuntimeError(f"the service ended by itself: {server.returncode}")
        self._figures.kills = kills + self._board.writers
        self._board.put(PHASE, STOP)
        await asyncio.to_thread(os.waitpid, self._crowding, 0)
        return server

    async def _settle(self, catalog: SqlCatalog) -> None:
        """Wait until nothing is reserved any more, as long as leases and uploads may last."""
        deadline = time.monotonic() + _EXPIRY
        while time.monotonic() < deadline:
            left = await self._look(catalog)
            if left == 0 and not any([(await catalog.list_uploads(_TENANT, name))[0] for name in BUCKETS]):
                break
            await asyncio.sleep(0.2)
        self._figures.left = left

    async def _look(self, catalog: SqlCatalog) -> int:
        """Look at every limit; return what is reserved."""
        reserved = 0
        for bucket, quota in _LIMITS.items():
            try:
                use = await catalog.quota(_TENANT, bucket)
            except UnavailableError:
                return -1
            self._figures.looks += 1
            name = bucket or "tenant"
            self._figures.highest[name] = max(
                self._figures.highest.get(name, 0), use.bytes + use.reserved_bytes
            )
            if quota.max_bytes is not None and quota.max_objects is not None:
                self._figures.over = max(
                    self._figures.over,
                    use.bytes + use.reserved_bytes - quota.max_bytes,
                    use.objects + use.reserved_objects - quota.max_objects,
                )
            reserved += use.reserved_bytes + use.reserved_objects
        await asyncio.sleep(0.005)
        return reserved

    def _serve(self) -> subprocess.Popen[bytes]:
        said = (self._folder / "server.log").open("ab")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        environment |= {
            "HOLDFAST_CATALOG": self._url,
            "HOLDFAST_LEASE": "5",
            "HOLDFAST_GRACE": "0",
            "HOLDFAST_SWEEP_INTERVAL": "0.5",
            "HOLDFAST_UPLOAD_LIFETIME": "60",
        }
        arguments = ["serve", "--dev", "--data", str(self._folder / "data"), "--port", str(self._port)]
        command = [sys.executable, "-c", _MAIN, *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)


async def _limit(catalog: SqlCatalog) -> None:
    await catalog.create_tenant(_TENANT)
    for name in BUCKETS:
        await catalog.create_bucket(
            _TENANT, name, versioning=name == "kept", settings=BucketSettings(quota=_LIMITS[name])
        )
    await catalog.set_quota(_TENANT, None, _LIMITS[None])


async def _ledger_holds(catalog: SqlCatalog) -> bool:
    """Whether rows, counters, reservations and a scan of the versions all say the same."""
    total = [0, 0]
    for name in BUCKETS:
        row, must = await catalog.ledger(_TENANT, name)
        usage, scanned = await catalog.usage(_TENANT, name), await catalog.recount(_TENANT, name)
        if row != must or usage != scanned:
            print(f"  {name}: row {row}, must be {must}; counted {usage}, found {scanned}")
            return False
        total = [total[0] + must.bytes, total[1] + must.objects]
    use = await catalog.quota(_TENANT)
    return [use.bytes, use.objects] == total


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _up(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
