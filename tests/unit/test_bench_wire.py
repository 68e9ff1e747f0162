"""The generators read answers right, lay requests out right, and count what really happened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench import bulk, load, machine
from bench.figures import Figure, Target
from bench.options import size
from bench.table import render
from bench.wire import Answer, Call

pytestmark = pytest.mark.unit

RAW = Call("PUT", "/files/{key}")
FORM = Call("POST", "/upload", form={"bucket": "b", "key": "{key}"})
GET = Call("GET", "/files/{key}")


class Files(BaseHTTPRequestHandler):
    """A store of raw bodies that remembers what it was sent."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes]

    def do_PUT(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b"")

    def do_GET(self) -> None:
        data = self.kept.get(self.path)
        self._answer(404, b"no") if data is None else self._answer(200, data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def files() -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield the port of a running store, and what it keeps."""
    kept: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Files,), {"kept": kept}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def job(port: int, call: Call, verb: str, *, limit: int, first: int = 0) -> load.Job:
    return load.Job("127.0.0.1", port, call, verb, 4096, first=first, keys=20, connections=4, limit=limit)


def in_pieces(data: bytes, step: int) -> tuple[Answer, list[bool]]:
    answer = Answer()
    return answer, [answer.feed(data[at : at + step]) for at in range(0, len(data), step)]


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_an_answer_is_whole_with_its_last_byte_and_not_before(data: bytes, step: int) -> None:
    answer, whole = in_pieces(data, step)
    assert whole == [False] * (len(whole) - 1) + [True]
    assert answer.status in (200, 204)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer, whole = in_pieces(b"HTTP/1.0 200 OK\r\n\r\nhello", 4)
    assert not any(whole)
    assert answer.feed(b"")
    assert answer.close


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"]
)
def test_an_answer_that_is_cut_off_is_an_error(data: bytes) -> None:
    answer = Answer()
    assert not answer.feed(data)
    with pytest.raises(ConnectionError):
        answer.feed(b"")


def test_more_bytes_than_announced_are_an_error() -> None:
    with pytest.raises(ConnectionError):
        Answer().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello")


def test_the_length_of_a_form_counts_its_frame() -> None:
    before, after = FORM.frame("h:1", "k1", 10)
    head, _, start = before.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(start) + 10 + len(after)}".encode() in head
    assert b'name="key"\r\n\r\nk1\r\n' in start


def test_every_put_has_a_key_and_a_body_of_its_own() -> None:
    with files() as (port, kept):
        seen = load.Generator(job(port, RAW, "put", limit=50, first=100)).run()
    assert (seen["requests"], seen["failed"]) == (50, 0)
    assert sorted(kept) == [f"/files/{load.key(100 + number)}" for number in range(50)]
    assert len(set(kept.values())) == 50
    assert {len(body) for body in kept.values()} == {4096}


def test_gets_go_round_the_keys_and_failures_are_counted() -> None:
    with files() as (port, kept):
        load.Generator(job(port, RAW, "put", limit=20)).run()
        good = load.Generator(job(port, GET, "get", limit=60)).run()
        del kept[f"/files/{load.key(3)}"]
        bad = load.Generator(job(port, GET, "get", limit=60)).run()
    assert (good["requests"], good["failed"]) == (60, 0)
    assert (bad["failed"], bad["statuses"]) == (3, {404: 3})


def test_a_job_survives_its_journey_as_json() -> None:
    sent = job(1, FORM, "put", limit=5)
    assert load.Job.from_json(sent.as_json()) == sent


def test_a_bulk_transfer_moves_all_bytes() -> None:
    size = 3 * bulk.BLOCK + 17
    with files() as (port, kept):
        bulk.run(bulk.Transfer("127.0.0.1", port, RAW, "put", "big", size))
        assert len(kept["/files/big"]) == size
        seen = bulk.run(bulk.Transfer("127.0.0.1", port, GET, "get", "big", size))
    assert seen["rate"] > 0


def test_a_bulk_transfer_that_is_refused_is_an_error() -> None:
    with files() as (port, _), pytest.raises(ConnectionError, match="404"):
        bulk.run(bulk.Transfer("127.0.0.1", port, GET, "get", "absent", 10))


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    figure = Figure("t", "u", targets=(Target("nginx", least=0.25), Target("gone", least=2)))
    for ours, theirs in [(30, 100), (10, 20), (8, 40)]:
        figure.add("holdfast", ours, failed=0)
        figure.add("nginx", theirs)
    assert figure.ratio("nginx") == pytest.approx(0.3)
    assert figure.as_json()["met"] == {"nginx": True}
    figure.missing["gone"] = "not installed"
    text = render([figure])
    assert "≥ 0.25 met" in text
    assert "gone: no number, not installed" in text
    assert "the ratio to gone (wanted ≥ 2) cannot be given in this run" in text


def test_a_bound_and_a_busy_generator_are_pointed_out() -> None:
    figure = Figure("t", "MiB", at_most=256)
    figure.add("holdfast", 300, generator_cpu=0.99, failed=2)
    text = render([figure])
    assert "≤ 256 NOT MET" in text
    assert "do not trust" in text
    assert "may be faster than shown" in text


@pytest.mark.parametrize(
    ("text", "value"), [("4096", 4096), ("64M", 64 << 20), ("1GiB", 1 << 30), ("2kb", 2048)]
)
def test_sizes_take_units(text: str, value: int) -> None:
    assert size(text) == value


def test_the_machine_is_described(tmp_path: object) -> None:
    import pathlib

    known = machine.facts(pathlib.Path(str(tmp_path)))
    assert known["cores"] >= 1
    assert known["file_system"] != "unknown"
