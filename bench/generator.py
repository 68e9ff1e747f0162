"""Starts the generators, each in its own process, and returns what they saw.

Small gets are sent by `wrk` where it is installed, because it costs a third of our own generator and leaves more of the
machine to the fastest peer; all peers of a run get the same generator. Everything else is sent by our own.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.arrivals import Arrivals
from bench.bulk import Transfer
from bench.load import Job, key
from bench.pump import Streams

BUSY = 0.85  #: a generator that takes this share of a core may be what was measured
_SPARE_SECONDS = 120.0
_BULK_SECONDS = 900.0
_SCRIPT = Path(__file__).with_name("wrk.lua")


class GeneratorFailedError(Exception):
    """The generator gave up; the message says why."""


def small(job: Job) -> dict[str, Any]:
    """Run a job of small requests and return what `bench.load` returns."""
    if job.verb == "get" and job.limit is None and (wrk := shutil.which("wrk")):
        return _wrk(wrk, job)
    return _module("bench.load", job.as_json(), job.seconds + job.warm_up + _SPARE_SECONDS)


def closed(job: Job) -> dict[str, Any]:
    """Run a job of small requests with our own generator, whatever else is installed."""
    return _module("bench.load", job.as_json(), job.seconds + job.warm_up + _SPARE_SECONDS)


def steady(job: Arrivals) -> dict[str, Any]:
    """Run requests that arrive at a steady rate and return what `bench.arrivals` returns."""
    return _module("bench.arrivals", job.as_json(), job.seconds + job.warm_up + _SPARE_SECONDS)


def name_of(verb: str) -> str:
    """Return which generator sends small requests of this verb here."""
    return "wrk" if verb == "get" and shutil.which("wrk") else "bench.load"


def large(job: Transfer) -> dict[str, Any]:
    """Run one large transfer and return what `bench.bulk` returns."""
    return _module("bench.bulk", job.as_json(), _BULK_SECONDS)


def pump(job: Streams) -> dict[str, Any]:
    """Run many large streams at once and return what `bench.pump` returns."""
    return _module("bench.pump", job.as_json(), job.seconds + _SPARE_SECONDS)


def _module(name: str, text: str, seconds: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", name], input=text, capture_output=True, text=True, timeout=seconds
    )
    if done.returncode:
        raise GeneratorFailedError(f"{name}: {done.stderr.strip()[-1500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _wrk(program: str, job: Job) -> dict[str, Any]:
    """Run `wrk` twice, the first time as a warm-up that is not counted."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="bench-wrk-") as targets:
        targets.writelines(job.call.target.format(key=key(job.first + n)) + "\n" for n in range(job.keys))
        targets.flush()
        _wrk_once(program, job, targets.name, max(round(job.warm_up), 1))
        return _wrk_once(program, job, targets.name, max(round(job.seconds), 1))


def _wrk_once(program: str, job: Job, targets: str, seconds: int) -> dict[str, Any]:
    command = [
        *(program, "-t1", f"-c{job.connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT)),
        *(part for name, value in job.call.headers.items() for part in ("-H", f"{name}: {value}")),
        *(f"http://{job.host}:{job.port}", "--", targets, job.call.method),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _SPARE_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"requests"')]
    if done.returncode or not lines:
        raise GeneratorFailedError(f"wrk: {(done.stderr or done.stdout).strip()[-1500:]}")
    seen: dict[str, Any] = json.loads(lines[0])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        **seen,
        "rate": (seen["requests"] - seen["failed"]) / seen["seconds"],
        "generator_cpu": used / seen["seconds"],
    }
