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
from holdfast.core.errors import HoldfastError
from tests.doors import http_worker
if __name__ == "__main__":
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    try:
        sys.exit(supervise(getattr(http_worker, sys.argv[1]), None, count=2, listener=listener))
    except HoldfastError as error:
        print(error.code, error, flush=True)
        sys.exit(7)
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


def test_what_workers_say_of_why_they_cannot_start_is_raised() -> None:
    with alone(SUPERVISE, "unavailable") as (process, _):
        assert process.wait(40) == 7
        assert process.stdout is not None
        *tries, told = process.stdout.read().splitlines()
        assert told == "unavailable it does not answer [far]"
        assert len(tries) >= 3  # it might have answered the next time


def test_a_wrong_setting_is_not_tried_again() -> None:
    with alone(SUPERVISE, "misconfigured") as (process, _):
        assert process.wait(40) == 7
        assert process.stdout is not None
        *tries, told = process.stdout.read().splitlines()
        assert told == "config this setting is wrong"
        assert set(tries) == {"tried"}
        assert len(tries) <= 2  # once each, if the second came to its start before the first had told why
