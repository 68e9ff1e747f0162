"""The server under the door: what is malformed, slow, cut or too much never reaches it, and never hurts others."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.doors.rest_service import Service, read_all, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors

HEAD = b"Host: localhost\r\n"
PUT = b"PUT /api/v1/objects/plain/%b HTTP/1.1\r\n" + HEAD


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def answers_in(found: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose patience is short, so that a test can outlast it."""
    limits = {
        "header_timeout": 0.6,
        "idle_timeout": 0.6,
        "body_window": 1.0,
        "body_rate": 1024,
        "write_timeout": 1.5,
        "max_connections": 24,
        "max_connections_per_address": 16,
    }
    with serving(tmp_path_factory.mktemp("brisk"), limits=limits) as service:
        yield service


MALFORMED = {
    "length and coding": PUT % b"m" + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": PUT % b"m" + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": PUT % b"m" + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": PUT % b"m" + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": PUT % b"m" + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": PUT % b"m" + b"Content-Length: +3\r\n\r\nabc",
    "a hexadecimal length": PUT % b"m" + b"Content-Length: 0x3\r\n\r\nabc",
    "a length too large for anybody": PUT % b"m" + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "another coding": PUT % b"m" + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": PUT % b"m" + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": PUT % b"m"
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"PUT /api/v1/objects/plain/m HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": PUT % b"m" + b"Content-Length : 3\r\n\r\nabc",
    "a folded header": PUT % b"m" + b"X-A: b\r\n c\r\n\r\n",
    "bare line feeds": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "a bare line feed in the headers": b"GET /health HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n",
    "a bare carriage return": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\rX-B: c\r\n\r\n",
    "NUL in a header": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\0c\r\n\r\n",
    "NUL in the target": b"GET /hea\0lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes above ASCII in the target": b"GET /api/v1/objects/plain/\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "a header without a name": b"GET /health HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "a header without a colon": b"GET /health HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a chunk size that is none": PUT % b"m" + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": PUT % b"m" + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "a huge chunk size": PUT % b"m" + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    "a chunk longer than said": PUT % b"m" + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "chunks with bare line feeds": PUT % b"m" + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "garbage": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_and_stores_nothing(rest_service: Service, name: str) -> None:
    answer = rest_service.raw(MALFORMED[name])
    assert status_of(answer) == 400, answer
    assert len(answers_in(answer)) == 1
    assert b"application/problem+json" in answer
    assert b"x-request-id: " in answer
    assert rest_service.get("m").status == 404


def test_a_smuggled_request_is_not_answered(rest_service: Service) -> None:
    rest_service.put("victim", b"x")
    hidden = b"DELETE /api/v1/objects/plain/victim HTTP/1.1\r\nHost: localhost\r\n\r\n"
    attack = PUT % b"m" + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden
    assert answers_in(rest_service.raw(attack)) == [400]
    assert rest_service.get("victim").status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"a" * 200_000, 414),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 1_000_000, 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 300 + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 50_000, 431),
        (b"PUT /api/v1/objects/plain/m HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\n\r\n", 417),
    ],
    ids=range(7),
)
def test_what_is_too_much_is_refused(rest_service: Service, request_: bytes, status: int) -> None:
    assert status_of(rest_service.raw(request_)) == status


def test_nearly_too_large_headers_pass(rest_service: Service) -> None:
    answer = rest_service.ask("GET", "/health", headers={"X-A": "b" * 60_000})
    assert answer.status == 200


def test_requests_sent_ahead_are_answered_in_order(rest_service: Service) -> None:
    rest_service.put("ahead", b"body-of-ahead")
    one = b"GET /api/v1/objects/plain/ahead HTTP/1.1\r\n" + HEAD + b"\r\n"
    two = PUT % b"ahead2" + b"Content-Length: 3\r\n\r\nabc"
    three = b"GET /api/v1/objects/plain/ahead2 HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n"
    answer = rest_service.raw(one + two + three)
    assert answers_in(answer) == [200, 201, 200]
    assert answer.index(b"body-of-ahead") < answer.index(b"201 Created") < answer.rindex(b"\r\n\r\nabc")


def test_a_malformed_request_sent_ahead_does_not_damage_the_answer_before_it(rest_service: Service) -> None:
    content = noise(300_000)
    rest_service.put("before", content)
    one = b"GET /api/v1/objects/plain/before HTTP/1.1\r\n" + HEAD + b"\r\n"
    answer = rest_service.raw(one + b"GARBAGE\r\n\r\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert status_of(head) == 200
    assert rest[:300_000] == content
    assert status_of(rest[300_000:]) == 400


def test_far_too_many_requests_sent_ahead_are_refused(rest_service: Service) -> None:
    one = b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n"
    answer = rest_service.raw(one * 500)
    found = answers_in(answer)
    assert found[-1] == 400
    assert set(found[:-1]) == {200}
    assert len(found) <= 100


def test_a_client_that_waits_for_permission_is_refused_before_it_sends(rest_service: Service) -> None:
    rest_service.put("there", b"x")
    wait = b"Expect: 100-continue\r\nContent-Length: 5\r\n"
    for request_ in (
        b"PUT /api/v1/objects/no-such-bucket/x HTTP/1.1\r\n" + HEAD + wait + b"\r\n",
        PUT % b"there" + wait + b"If-None-Match: *\r\n\r\n",
        PUT % b"a/../b" + wait + b"\r\n",
        PUT % b"typed" + wait + b"Content-Encoding: gzip\r\n\r\n",
        PUT % b"summed" + wait + b"Content-MD5: nonsense\r\n\r\n",
    ):
        answer = rest_service.raw(request_)
        assert b"100 Continue" not in answer
        assert status_of(answer) in (400, 404, 412, 415)
    with rest_service.connect() as sock:
        sock.sendall(PUT % b"permitted" + wait + b"Connection: close\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"12345")
        assert status_of(read_all(sock)) == 201
    assert rest_service.get("permitted").body == b"12345"


def test_a_refusal_can_be_read_while_the_body_is_still_being_sent(rest_service: Service) -> None:
    with rest_service.connect() as sock:
        sock.sendall(PUT % b"%00" + b"Content-Length: 67108864\r\n\r\n")
        sent = 0
        try:
            while sent < 4 << 20:
                sent += sock.send(bytes(65536))
        except OSError:
            pass
        answer = read_all(sock)
    assert status_of(answer) == 400
    assert b"connection: close" in answer


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_client_that_goes_half_way_leaves_nothing(rest_service: Service, form: str) -> None:
    for size in (10, 200_000, 2_000_000):
        if form == "length":
            sent = PUT % b"half" + b"Content-Length: %d\r\n\r\n" % (size * 2) + bytes(size)
        else:
            sent = PUT % b"half" + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (size * 2) + bytes(size)
        with rest_service.connect() as sock:
            sock.sendall(sent)
        time.sleep(0.2)
        assert rest_service.get("half").status == 404


def test_a_body_longer_than_announced_is_the_next_request(rest_service: Service) -> None:
    answer = rest_service.raw(PUT % b"longer" + b"Content-Length: 3\r\n\r\nabcdef\r\n\r\n")
    assert answers_in(answer) == [201, 400]
    assert rest_service.get("longer").body == b"abc"


def test_a_client_that_only_stops_sending_is_still_answered(rest_service: Service) -> None:
    rest_service.put("halfclosed", b"content")
    with rest_service.connect() as sock:
        sock.sendall(b"GET /api/v1/objects/plain/halfclosed HTTP/1.1\r\n" + HEAD + b"\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"\r\n\r\ncontent")


def test_an_upgrade_is_answered_as_if_not_asked_for(rest_service: Service) -> None:
    ask = b"GET /health HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answer = rest_service.raw(ask + b"\x00\x00\x00")
    assert status_of(answer) == 200
    assert len(answers_in(answer)) == 1


def test_an_old_client_gets_an_old_answer(rest_service: Service) -> None:
    rest_service.put("old", b"content")
    answer = rest_service.raw(b"GET /api/v1/objects/plain/old HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\ncontent")


# -- files from the kernel ------------------------------------------------------------------------------------------
def test_large_files_come_whole_by_the_kernel(rest_service: Service) -> None:
    content = noise(24 << 20)
    rest_service.put("large", content)
    digest = hashlib.sha256(content).digest()
    answers: list[bytes] = []

    def read() -> None:
        answers.append(hashlib.sha256(rest_service.get("large").body).digest())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [digest] * 4
    part = rest_service.get("large", Range="bytes=1000001-9000000")
    assert part.body == content[1_000_001:9_000_001]


def test_a_connection_goes_on_after_a_file(rest_service: Service) -> None:
    content = noise(3 << 20, 7)
    rest_service.put("again", content)
    one = b"GET /api/v1/objects/plain/again HTTP/1.1\r\n" + HEAD + b"\r\n"
    last = one.replace(HEAD, HEAD + b"Connection: close\r\n")
    answer = rest_service.raw(one + one + last)
    assert answer.count(content) == 3
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_a_reader_that_leaves_half_way_hurts_nobody(rest_service: Service) -> None:
    rest_service.put("left", noise(24 << 20))
    for _ in range(5):
        with rest_service.connect() as sock:
            sock.sendall(b"GET /api/v1/objects/plain/left HTTP/1.1\r\n" + HEAD + b"\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    for _ in range(40):
        if not rest_service.run(open_tasks(rest_service)):
            break
        time.sleep(0.05)
    assert rest_service.run(open_tasks(rest_service)) == 0
    assert rest_service.get("left").status == 200


async def open_tasks(service: Service) -> int:
    return len(service.server.server_state.tasks)


# -- deadlines ------------------------------------------------------------------------------------------------------
def closed_after(sock: socket.socket, limit: float) -> tuple[float, bytes]:
    """Return when the server closed, and what it said."""
    sock.settimeout(limit)
    began = time.monotonic()
    found = read_all(sock)
    return time.monotonic() - began, found


def test_a_silent_connection_is_closed(brisk: Service) -> None:
    with brisk.connect() as sock:
        passed, found = closed_after(sock, 5)
    assert passed < 2
    assert found == b""


def test_an_idle_connection_is_closed(brisk: Service) -> None:
    with brisk.connect() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
        passed, found = closed_after(sock, 5)
    assert passed < 2
    assert status_of(found) == 200


def drip(sock: socket.socket, data: bytes, seconds: float) -> bytes:
    """Send a byte every 50 ms until the server has enough of it; return what it said."""
    sock.settimeout(0.05)
    found, until = b"", time.monotonic() + seconds
    for byte in data:
        if time.monotonic() > until:
            raise AssertionError("the server is still listening")
        try:
            sock.sendall(bytes([byte]))
            while chunk := sock.recv(4096):
                found += chunk
            return found
        except TimeoutError:
            continue
        except OSError:
            return found
    raise AssertionError("the server took it all")


def test_dripping_headers_are_cut(brisk: Service) -> None:
    with brisk.connect() as sock:
        answer = drip(sock, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 500, 6)
    assert status_of(answer) == 408


def test_a_dripping_body_is_cut_and_stores_nothing(brisk: Service) -> None:
    with brisk.connect() as sock:
        sock.sendall(PUT % b"dripped" + b"Content-Length: 100000\r\n\r\n")
        answer = drip(sock, b"x" * 500, 8)
    assert status_of(answer) == 408
    assert brisk.get("dripped").status == 404


def test_dripping_chunks_are_cut(brisk: Service) -> None:
    with brisk.connect() as sock:
        sock.sendall(PUT % b"dripped" + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = drip(sock, b"1\r\nx\r\n" * 100, 8)
    assert status_of(answer) == 408
    assert brisk.get("dripped").status == 404


def test_a_body_that_is_slow_but_steady_passes(brisk: Service) -> None:
    with brisk.connect() as sock:
        sock.sendall(PUT % b"steady" + b"Connection: close\r\nContent-Length: 12000\r\n\r\n")
        for _ in range(12):
            sock.sendall(bytes(1000))
            time.sleep(0.25)
        assert status_of(read_all(sock)) == 201


def test_a_client_that_stops_reading_is_cut(brisk: Service) -> None:
    brisk.put("unread", noise(32 << 20))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", brisk.port))
        sock.sendall(b"GET /api/v1/objects/plain/unread HTTP/1.1\r\n" + HEAD + b"\r\n")
        for _ in range(100):
            time.sleep(0.1)
            if not brisk.run(open_tasks(brisk)):
                break
        assert brisk.run(open_tasks(brisk)) == 0
        assert len(read_all(sock)) < 32 << 20


def test_a_slow_reader_that_reads_gets_it_all(brisk: Service) -> None:
    content = noise(4 << 20)
    brisk.put("sipped", content)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(5)
        sock.connect(("127.0.0.1", brisk.port))
        sock.sendall(b"GET /api/v1/objects/plain/sipped HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
        found = b""
        while chunk := sock.recv(262144):
            found += chunk
            time.sleep(0.05)
    assert found.endswith(content)


def test_connections_are_capped_by_address(brisk: Service) -> None:
    held = [brisk.connect() for _ in range(16)]
    try:
        with brisk.connect() as sock:
            answer = read_all(sock)
        assert status_of(answer) == 503
        assert b"retry-after: 1" in answer
    finally:
        for sock in held:
            sock.close()
    time.sleep(0.2)
    assert brisk.ask("GET", "/health").status == 200


def test_connections_are_capped_in_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("capped"), limits={"max_connections": 4}) as service:
        held = [service.connect() for _ in range(4)]
        time.sleep(0.1)
        with service.connect() as sock:
            assert status_of(read_all(sock)) == 503
        for sock in held:
            sock.close()
        time.sleep(0.2)
        assert service.ask("GET", "/health").status == 200


def test_many_dripping_clients_do_not_slow_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("dripped")) as service:
        service.put("quick", b"x")
        held = [service.connect() for _ in range(300)]
        try:
            for sock in held:
                sock.sendall(PUT % b"never" + b"Content-Length: 1000000\r\n\r\nx")
            times = []
            for _ in range(50):
                began = time.monotonic()
                assert service.get("quick").status == 200
                times.append(time.monotonic() - began)
        finally:
            for sock in held:
                sock.close()
        assert sorted(times)[45] < 0.5


def test_a_stop_finishes_what_is_in_flight_and_takes_nothing_new(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serving(tmp_path_factory.mktemp("stopped")) as service:
        sock = service.connect()
        sock.sendall(PUT % b"in-flight" + b"Content-Length: 10\r\n\r\n12345")
        idle = service.connect()
        idle.sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert status_of(idle.recv(4096)) == 200
        time.sleep(0.1)

        async def stop() -> asyncio.Task[None]:
            return asyncio.ensure_future(service.server.shutdown())

        service.run(stop())
        time.sleep(0.3)
        assert read_all(idle) == b""
        with pytest.raises(OSError):
            service.connect(0.5)
        sock.sendall(b"67890")
        answer = read_all(sock)
        assert status_of(answer) == 201
        assert b"connection: close" in answer
        sock.close()
        idle.close()
