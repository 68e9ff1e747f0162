"""How long it takes to index a bucket in place: `--list-keys` objects behind a server that lists them page by page.

The server (`bench.adopt_store`) only lists: it makes up its keys, so a million of them costs no disk. Everything else is as
it is in use: the S3 driver, its client over HTTP, the job with its parts and checkpoints, rows in a durable SQLite catalog.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from bench.options import Options
from bench.placement import watched
from holdfast.app import open_engine
from holdfast.config import load
from holdfast.core.types import Principal
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.installed import installed
from holdfast.jobs.runner import Runner

BOUND = 600.0  #: seconds for a million keys
_SECRET = "nothing-to-hide"
_CONFIG = """
[stores.local]
driver = "local"
path = "{folder}/objects"
create = true
[stores.theirs]
driver = "s3"
endpoint = "{endpoint}"
bucket = "theirs"
region = "us-east-1"
allow_http = true
access_key = "bench"
secret_key = "{secret}"
[placement]
stores = ["local"]
"""


def run(options: Options) -> list[Figure]:
    """Measure a tenth of the keys, all of them, and all of them again."""
    size = options.list_keys
    figure = Figure(
        f"adopt {size:,} keys of an S3 bucket, SQLite", "s", ours="all", at_most=BOUND * size / 1_000_000
    )
    for name, count in (("a tenth", size // 10), ("all", size)):
        with options.workspace("adopt") as folder, _listing(count) as endpoint:
            asyncio.run(_adopt(folder, endpoint, count, name, options, figure))
    return [figure]


@contextlib.contextmanager
def _listing(count: int) -> Iterator[str]:
    """Run the server that lists, and give its address."""
    command = [sys.executable, "-m", "bench.adopt_store", str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


async def _adopt(
    folder: Path, endpoint: str, count: int, name: str, options: Options, figure: Figure
) -> None:
    path = folder / "holdfast.toml"
    path.write_text(_CONFIG.format(folder=folder, endpoint=endpoint, secret=_SECRET))
    engine = await open_engine(load(path, data=folder / "data"))
    try:
        operator = Principal("bench", "default", "operator")
        await engine.session(operator).create_bucket("found")
        kinds = installed()
        desk = JobDesk(engine, kinds, operator)
        for turn in (name, f"{name}, again"):
            options.say(f"adopt: {turn}, {count:,} keys")
            with watched() as seen:
                start = time.perf_counter()
                job = await desk.start("adopt", {"store": "theirs", "tenant": "default", "bucket": "found"})
                job = await Runner(engine, kinds).run_job(job.id)
                taken = time.perf_counter() - start
            assert (job.state.value, job.counts.failed) == ("done", 0), job
            figure.add(turn, taken, grown=seen["grown"], done=job.counts.done)
            figure.notes.append(f"{turn}: {count / taken:,.0f} keys/s; grew by {seen['grown']:.0f} MiB")
        usage = await engine.session(operator).usage("found")
        assert usage.objects == count, usage
    finally:
        await engine.close()
