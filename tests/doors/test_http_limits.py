"""More than can be done, and a stop while much is being done: refused at once, finished, given up in order."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.server.gate import Gate
from holdfast.api.server.pace import Pace
from holdfast.api.server.serving import allow_connections
from holdfast.config.settings import LimitSettings
from holdfast.core.clock import Environment
from holdfast.core.types import ObjectRef
from tests.doors.rest_service import Service, read_all, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors

HEAD = b"Host: localhost\r\n"
PUT = b"PUT /api/v1/objects/plain/%b HTTP/1.1\r\n" + HEAD


class Slowed:
    """An application behind a door that a test opens: requests to `/slow` wait there."""

    def __init__(self) -> None:
        self.waiting = 0
        self._door = asyncio.Event()

    def __call__(self, app: Any) -> Any:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] != "/slow":
                await app(scope, receive, send)
                return
            self.waiting += 1
            await self._door.wait()
            self.waiting -= 1
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"done"})

        return run

    def hold(self, service: Service, count: int) -> list[socket.socket]:
        """Send `count` requests that wait, and return their connections."""
        held = [service.connect(20) for _ in range(count)]
        for sock in held:
            sock.sendall(b"GET /slow HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
        until = time.monotonic() + 5
        while self.waiting < count and time.monotonic() < until:
            time.sleep(0.01)
        assert self.waiting == count
        return held

    def finish(self, service: Service, held: list[socket.socket]) -> list[bytes]:
        """Let them go on; return what each was answered."""
        service.loop.call_soon_threadsafe(self._door.set)
        found = [read_all(sock) for sock in held]
        for sock in held:
            sock.close()
        return found


@pytest.fixture
def slowed() -> Slowed:
    return Slowed()


@pytest.fixture
def narrow(tmp_path: Path, slowed: Slowed) -> Iterator[Service]:
    """A service that works on four requests at a time, and has ten in flight."""
    limits = {"max_working": 4, "max_requests": 10, "body_window": 2.0}
    with serving(tmp_path, wrap=slowed, limits=limits) as service:
        yield service


def in_turn(sock: socket.socket, request: bytes) -> bytes:
    """Send one request and return one whole answer."""
    sock.sendall(request)
    found = b""
    while b"\r\n\r\n" not in found:
        chunk = sock.recv(65536)
        assert chunk, found
        found += chunk
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length and not request.startswith(b"HEAD"):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


# -- shedding ---------------------------------------------------------------------------------------------------------
def test_too_much_work_is_refused_and_the_connection_stays(narrow: Service, slowed: Slowed) -> None:
    held = slowed.hold(narrow, 4)
    with narrow.connect() as sock:
        get = b"GET /api/v1/objects/plain/x HTTP/1.1\r\n" + HEAD + b"\r\n"
        for request in (get, get.replace(b"GET", b"HEAD"), PUT % b"x" + b"Content-Length: 3\r\n\r\nabc"):
            answer = in_turn(sock, request)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in answer
            assert b"connection: close" not in answer
            assert answer.endswith(b"\r\n\r\n") is request.startswith(b"HEAD")
        assert in_turn(sock, b"GET /health/live HTTP/1.1\r\n" + HEAD + b"\r\n").startswith(b"HTTP/1.1 200 ")
        assert all(answer.endswith(b"done") for answer in slowed.finish(narrow, held))
        assert in_turn(sock, get).startswith(
            b"HTTP/1.1 404 "
        )  # the refused bytes were not taken for requests
    assert narrow.server.gate.refused["requests"] == 3
    settle(narrow)
    assert narrow.server.gate.working == 0


def test_many_refusals_can_be_read_one_after_the_other(narrow: Service, slowed: Slowed) -> None:
    held = slowed.hold(narrow, 4)
    get = b"GET /api/v1/objects/plain/x HTTP/1.1\r\n" + HEAD + b"\r\n"
    with narrow.connect() as sock:
        answers = [in_turn(sock, get) for _ in range(20)]
        for answer in answers:
            head, _, body = answer.partition(b"\r\n\r\n")
            problem = json.loads(body)
            assert problem["code"] == "unavailable"
            assert b"x-request-id: " + problem["request_id"].encode() in head
        assert len(set(answers)) == 20
        assert in_turn(sock, get.replace(b"plain/x", b"plain/y")).startswith(b"HTTP/1.1 503 ")
    slowed.finish(narrow, held)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health/live HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X-A: b\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X-A: b\0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"\r\nGET / HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"\r\nX",
        b"GET / HTTP/1.1\r\n" + HEAD,
        b"GET / HTTP/1.0\r\n" + HEAD + b"\r\n",
        b"HEAD / HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"PUT / HTTP/1.1\r\n" + HEAD + b"\r\n",
    ],
    ids=range(12),
)
def test_what_is_not_beyond_doubt_is_parsed_before_it_is_refused(request_: bytes) -> None:
    gate = Gate(LimitSettings(max_working=1), Environment())
    sound = b"GET / HTTP/1.1\r\n" + HEAD + b"Authorization: Bearer a.b\r\n\r\n"
    assert gate.shed_unread(sound) is None  # there is time for it
    gate.working = 1
    assert gate.shed_unread(sound) is not None
    assert gate.shed_unread(request_) is None


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 10000000\r\n\r\n" + bytes(100_000),
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ],
    ids=["large", "chunked", "asks first"],
)
def test_a_refused_body_that_is_not_read_costs_the_connection(
    narrow: Service, slowed: Slowed, body: bytes
) -> None:
    held = slowed.hold(narrow, 4)
    answer = narrow.raw(PUT % b"x" + body)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in answer
    assert b"100 Continue" not in answer
    slowed.finish(narrow, held)
    assert narrow.get("x").status == 404


def test_a_refused_body_that_does_not_come_ends_the_connection(narrow: Service, slowed: Slowed) -> None:
    held = slowed.hold(narrow, 4)
    began = time.monotonic()
    answer = narrow.raw(PUT % b"x" + b"Content-Length: 3\r\n\r\n", timeout=10)
    assert time.monotonic() - began < 8
    assert answer.count(b"HTTP/1.1 ") == 1
    slowed.finish(narrow, held)


def settle(service: Service) -> None:
    """Wait until no request is in flight."""
    until = time.monotonic() + 5
    while service.server.gate.in_flight and time.monotonic() < until:
        time.sleep(0.02)
    assert service.server.gate.in_flight == 0


def half_sent(service: Service) -> socket.socket:
    """Send a part of a body; return the connection when the service waits for the rest."""
    sock = service.connect()
    sock.sendall(PUT % b"slow" + b"Content-Length: 200000\r\n\r\n" + bytes(70_000))
    until = time.monotonic() + 5
    time.sleep(0.05)
    while service.server.gate.working and time.monotonic() < until:
        time.sleep(0.02)
    return sock


def test_clients_that_are_waited_for_do_not_count_as_work(narrow: Service) -> None:
    held = [half_sent(narrow) for _ in range(8)]
    assert narrow.server.gate.in_flight == 8
    assert narrow.server.gate.working == 0
    assert narrow.put("beside").status == 201
    more = [half_sent(narrow) for _ in range(2)]
    assert narrow.get("beside").status == 503  # but they are in flight, and ten are enough
    for sock in (*held, *more):
        sock.close()
    settle(narrow)
    assert narrow.get("beside").status == 200


# -- the slow -----------------------------------------------------------------------------------------------------------
def test_a_body_has_a_time_in_all(tmp_path: Path) -> None:
    limits = {"body_timeout": 1.0, "body_window": 0.5, "body_rate": 10}
    with serving(tmp_path, limits=limits) as service:
        with service.connect() as sock:
            sock.sendall(PUT % b"long" + b"Content-Length: 100000\r\n\r\n")
            began, answer = time.monotonic(), b""
            sock.settimeout(0.05)
            while not answer and time.monotonic() - began < 10:
                try:
                    sock.sendall(bytes(100))
                    answer = sock.recv(65536)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert service.get("long").status == 404


def test_a_reader_that_sips_too_slowly_is_cut(tmp_path: Path) -> None:
    limits = {"write_timeout": 1.0, "body_rate": 1_000_000}
    with serving(tmp_path, limits=limits) as service:
        service.put("sipped", noise(40 << 20))
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.settimeout(5)
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(b"GET /api/v1/objects/plain/sipped HTTP/1.1\r\n" + HEAD + b"\r\n")
            got, until = 0, time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    chunk = sock.recv(16384)
                except ConnectionResetError:
                    break
                if not chunk:
                    break
                got += len(chunk)
                time.sleep(0.05)
        assert time.monotonic() < until
        assert got < 40 << 20


def test_a_pace_is_looked_at_by_windows() -> None:
    pace = Pace(10.0, 100)
    pace.add(1000)
    assert [pace.lags(2.5) for _ in range(4)] == [False] * 4
    pace.add(999)
    assert [pace.lags(5.0), pace.lags(5.0)] == [False, True]
    assert not Pace(1.0, 0).lags(5.0)
    assert Pace(1.0, 0, something=True).lags(5.0)


# -- a stop -------------------------------------------------------------------------------------------------------------
def test_a_stop_finishes_uploads_in_flight(tmp_path: Path) -> None:
    content = noise(3_000_000)
    with serving(tmp_path) as service:
        with service.connect(20) as sock, service.connect(20) as idle:
            sock.sendall(PUT % b"last" + b"Content-Length: 3000000\r\n\r\n" + content[:1_000_000])
            time.sleep(0.2)
            service.stop()
            assert read_all(idle) == b""  # who has nothing in flight is let go
            with pytest.raises(OSError):
                service.connect(2).close()
            sock.sendall(content[1_000_000:])
            answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert b"connection: close" in answer


def test_a_stop_says_so_before_it_takes_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"shutdown_delay": 1.5}) as service:
        assert service.ask("GET", "/health/ready").status == 200
        service.stop()
        time.sleep(0.3)
        assert service.ask("GET", "/health/ready").status == 503
        assert service.ask("GET", "/health/live").status == 200
        assert service.put("during").status == 201


def test_a_stop_gives_up_what_takes_too_long(tmp_path: Path, slowed: Slowed) -> None:
    with serving(tmp_path, wrap=slowed, limits={"shutdown_timeout": 1.0}) as service:
        held = slowed.hold(service, 1)
        with service.connect(20) as sock:
            sock.sendall(PUT % b"never" + b"Content-Length: 3000000\r\n\r\n" + bytes(1_000_000))
            time.sleep(0.2)
            began = time.monotonic()
            service.stop()
            assert b"201" not in read_all(sock)
            assert read_all(held[0]) == b""
            assert time.monotonic() - began < 10
        held[0].close()


def test_the_limit_of_open_files_is_raised_to_fit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        assert allow_connections(100) == min(712, hard)
        assert allow_connections(10) == min(712, hard)  # never lowered
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- files that break ---------------------------------------------------------------------------------------------------
def test_a_file_that_ends_early_marks_its_copy(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.put("torn", noise(8 << 20))

        (torn,) = [
            path
            for path in (tmp_path / "objects").rglob("*")
            if path.is_file() and path.stat().st_size == 8 << 20
        ]
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(b"GET /api/v1/objects/plain/torn HTTP/1.1\r\n" + HEAD + b"\r\n")
            first = sock.recv(1000)
            os.truncate(torn, 5 << 20)
            got = len(first) + len(read_all(sock))
        assert first.startswith(b"HTTP/1.1 200 ")
        assert got < 8 << 20
        states = [copy.state.value for copy in service.run(copies(service, "torn"))]
        assert states == ["suspect"]


async def copies(service: Service, key: str) -> Any:
    return (await service.engine.catalog.resolve(ObjectRef("default", "plain", key))).replicas
