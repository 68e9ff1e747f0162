"""Large bodies through flat memory, both ways, measured on a server in a process of its own."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from tests.doors.rest_service import alone
from tests.helpers import noise

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

MIB = 1 << 20
SERVE = "import sys; from tests.doors.rest_service import serve_alone; serve_alone(sys.argv[1])"


class Watch:
    """Samples the memory of a process until stopped."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.start = self.peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def stop(self) -> float:
        """Return the growth in MiB."""
        self._stop.set()
        self._thread.join()
        return float(self.peak - self.start) / MIB


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    with alone(SERVE, str(tmp_path_factory.mktemp("memory"))) as (process, port):
        with http_to(port) as connection:  # everything that is loaded late is loaded before measuring
            connection.request("PUT", "/api/v1/objects/plain/warm", noise(3 * MIB))
            assert connection.getresponse().read()
            connection.request("GET", "/api/v1/objects/plain/warm")
            assert len(connection.getresponse().read()) == 3 * MIB
        yield process.pid, port


def http_to(port: int) -> Closing:
    return Closing("127.0.0.1", port, timeout=120)


class Closing(http.client.HTTPConnection):
    def __enter__(self) -> Closing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pieces(count: int, seed: int) -> Iterator[bytes]:
    block = noise(MIB, seed)
    for number in range(count):
        yield number.to_bytes(8, "big") + block[8:]


def digest_of(chunks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


@pytest.mark.parametrize(
    "path", ["/api/v1/objects/plain/large", "/api/v1/upload/stream?bucket=plain&key=large"]
)
def test_half_a_gibibyte_each_way_costs_no_memory(server: tuple[int, int], path: str) -> None:
    pid, port = server
    expected = digest_of(pieces(512, 1))
    watch = Watch(pid)
    with http_to(port) as connection:
        method = "PUT" if "objects" in path else "POST"
        connection.request(method, path, pieces(512, 1), encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        assert expected.encode() in answer.read()
        connection.request("GET", "/api/v1/objects/plain/large")
        reading = connection.getresponse()
        got = digest_of(iter(lambda: reading.read(MIB), b""))
    grown = watch.stop()
    print(f"grew by {grown:.0f} MiB")
    assert got == expected
    assert grown < 48


def test_many_streams_at_once_cost_little_memory(server: tuple[int, int]) -> None:
    pid, port = server
    watch = Watch(pid)
    problems: list[str] = []

    def one(number: int) -> None:
        with http_to(port) as connection:
            url = f"/api/v1/objects/plain/parallel-{number}"
            connection.request("PUT", url, pieces(32, number), encode_chunked=True)
            answer = connection.getresponse()
            stored = answer.read()
            connection.request("GET", url)
            reading = connection.getresponse()
            got = digest_of(iter(lambda: reading.read(MIB), b""))
            if got.encode() not in stored:
                problems.append(url)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    grown = watch.stop()
    print(f"grew by {grown:.0f} MiB")
    assert not problems
    assert grown < 150


def test_a_writer_faster_than_the_store_is_held_back(server: tuple[int, int]) -> None:
    """A client that never reads its answers and sends ahead fills no memory either."""
    pid, port = server
    watch = Watch(pid)
    with http_to(port) as connection:
        connection.connect()
        ask = b"GET /api/v1/objects/plain/warm HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sock.sendall(ask * 50)
        time.sleep(1)
    assert watch.stop() < 48


@pytest.mark.parametrize("format", ["zip", "tar"])
def test_an_archive_of_a_gibibyte_costs_no_memory(server: tuple[int, int], format: str) -> None:
    pid, port = server
    names = [f"archived/{number}" for number in range(8)]
    with http_to(port) as connection:
        connection.request("PUT", "/api/v1/objects/plain/one", pieces(128, 3), encode_chunked=True)
        assert connection.getresponse().read()
        for name in names:
            headers = {"x-holdfast-copy-source": "plain/one"}
            connection.request("PUT", f"/api/v1/objects/plain/{name}", headers=headers)
            assert connection.getresponse().read()
        watch = Watch(pid)
        wish = json.dumps({"bucket": "plain", "prefix": "archived/", "format": format})
        connection.request("POST", "/api/v1/batch/download", wish)
        answer = connection.getresponse()
        assert answer.status == 200
        size = 0
        while chunk := answer.read(MIB):
            size += len(chunk)
    grown = watch.stop()
    print(f"{size} bytes; grew by {grown:.0f} MiB")
    assert 1 << 30 < size < (1 << 30) + 100_000
    assert grown < 48
