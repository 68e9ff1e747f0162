"""Servers under measurement: started in their own process, waited for, weighed, and ended by their own id."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.testing.servers import stop

START_SECONDS = 40.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class PeerMissingError(Exception):
    """A peer cannot run here; the message says what to install."""


class PeerFailedError(Exception):
    """A peer was started but did not come up, or answered wrongly; the message ends with what it said."""


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    home: Path,
    port: int,
    ready: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run `command` until the block ends; yield its process id once `GET ready` on `port` is answered.

    Its output goes to `home/server.log`. Variables of ours that would steer a peer are not handed on.

    Raises:
        PeerFailedError: it ended, or did not answer within 40 s.
    """
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={**clean_environment(), **(environment or {})},
        )
    try:
        _wait(process, port, ready, log)
        yield process.pid
    finally:
        stop(process)


def tree(pid: int) -> list[int]:
    """Return `pid` and all of its descendants that live now."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


def resident(pids: Sequence[int]) -> int:
    """Return the bytes of memory that the processes hold now. Pages that they share count in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def peak_resident(pids: Sequence[int]) -> int:
    """Return the sum of the most memory that each process ever held."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) << 10
    return total


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that the processes have used, user and system."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def clean_environment() -> dict[str, str]:
    """Return our environment without what would steer a peer or hand it foreign credentials."""
    foreign = (
        "HOLDFAST_",
        "AWS_",
        "MINIO_",
        "RCLONE_",
        "GUNICORN_",
        "FLASK_",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    )
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def _wait(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise PeerFailedError(f"{process.args!r} ended with {process.returncode}: {_tail(log)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", path)
                connection.getresponse().read()
                return
            finally:
                connection.close()
        time.sleep(0.05)
    raise PeerFailedError(f"{process.args!r} did not answer within {START_SECONDS:.0f} s: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
