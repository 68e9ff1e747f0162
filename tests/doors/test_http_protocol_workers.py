"""Several processes on one port: they share the work, a dead one is replaced, and all end together."""

from __future__ import annotations

import http.client
import os
import signal
import time

import psutil  # type: ignore[import-untyped]
import pytest

from tests.doors.rest_service import alone

pytestmark = pytest.mark.doors

SUPERVISE = """
import sys
from holdfast.api.server import listen, supervise
from tests.doors.http_worker import work, fail
if __name__ == "__main__":
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    sys.exit(supervise(work if sys.argv[1] == "work" else fail, None, count=2, listener=listener))
"""


def pid_of(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def test_workers_share_a_port_are_replaced_and_end_together() -> None:
    with alone(SUPERVISE, "work") as (process, port):
        seen: set[int] = set()
        until = time.monotonic() + 40
        while len(seen) < 2 and time.monotonic() < until:
            seen.add(pid_of(port))
        assert len(seen) == 2
        os.kill(next(iter(seen)), signal.SIGKILL)
        while len(seen) < 3 and time.monotonic() < until:
            try:
                seen.add(pid_of(port))
            except OSError:
                time.sleep(0.05)
        assert len(seen) == 3
    assert process.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in seen)


def test_workers_that_die_as_soon_as_they_start_are_given_up() -> None:
    with alone(SUPERVISE, "fail") as (process, _):
        assert process.wait(40) == 1
