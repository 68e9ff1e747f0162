"""What the HTTP client does when the network or the server misbehaves: repeat where it is safe, resume, or say what is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import (
    BY_CODE,
    KINDS,
    ConfigError,
    CorruptedError,
    DeadlineError,
    HoldfastError,
    InternalError,
    InvalidRequestError,
    PreconditionFailedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from holdfast.library.http.errors import BY_STATUS, from_answer
from tests.doors.cli_tools import noise

pytestmark = pytest.mark.doors

DATA = noise(2_000_000)
Act = Callable[["_Handler"], None]


@dataclass
class Script:
    """A server that does one act after the other; the last one stays. Every request is remembered."""

    url: str
    acts: list[Act] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def _any(self) -> None:
        body = b""
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        if length := self.headers.get("Content-Length"):
            body = self.rfile.read(int(length))
        elif self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        script = self.server.script  # type: ignore[attr-defined]
        script.seen.append((self.command, self.path, dict(self.headers), body))
        act = script.acts.pop(0) if len(script.acts) > 1 else script.acts[0]
        act(self)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def handle_expect_100(self) -> bool:
        return True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def script() -> Iterator[Script]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = Script(f"http://127.0.0.1:{server.server_port}")
    server.script = found  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[holdfast.Client]:
    monkeypatch.setattr("holdfast.library.http.transport._BASE_WAIT", 0.01)
    with holdfast.open(script.url, token="id.secret") as opened:
        yield opened


def refuse(status: int, code: str = "", **headers: str) -> Act:
    def act(handler: _Handler) -> None:
        body = json.dumps({"code": code, "detail": f"no: {code}"} if code else {}).encode()
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return act


def accept(handler: _Handler) -> None:
    """Answer a write."""
    handler.send_response(201)
    handler.send_header("Content-Length", "0")
    handler.send_header("ETag", '"e"')
    handler.send_header("x-holdfast-version-id", "v1")
    handler.end_headers()


def serve(data: bytes = DATA, *, stop_after: int | None = None, etag: str = "e", reset: bool = False) -> Act:
    """Answer a GET, all of it or the range; hang up after `stop_after` bytes of the body."""

    def act(handler: _Handler) -> None:
        wish = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if (wanted := handler.headers.get("If-Match")) and wanted != f'"{etag}"':
            refuse(412, "precondition_failed")(handler)
            return
        first = int(wish[1]) if wish else 0
        last = int(wish[2]) if wish and wish[2] else len(data) - 1
        part = data[first : last + 1]
        handler.send_response(206 if wish else 200)
        handler.send_header("Content-Length", str(len(part)))
        handler.send_header("ETag", f'"{etag}"')
        handler.send_header("x-holdfast-version-id", "v1")
        digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
        handler.send_header("Repr-Digest", f"sha-256=:{digest}:")
        if wish:
            handler.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(part if stop_after is None else part[:stop_after])
        if stop_after is not None:
            handler.wfile.flush()
            if reset:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            handler.connection.close()

    return act


def hang_up(handler: _Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


# -- downloads ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_download_goes_on_where_it_broke(
    client: holdfast.Client, script: Script, reset: bool
) -> None:
    script.acts = [
        serve(stop_after=700_000, reset=reset),
        serve(stop_after=1),
        hang_up,
        serve(stop_after=0),
        serve(),
    ]
    with client.stream("bucket", "key") as download:
        assert b"".join(download) == DATA
    ranges = [headers.get("Range") for _, _, headers, _ in script.seen]
    assert ranges[0] is None
    assert all(re.fullmatch(r"bytes=\d+-1999999", wish or "") for wish in ranges[1:])
    assert all(headers["If-Match"] == '"e"' for _, _, headers, _ in script.seen[1:])
    assert all("version_id=v1" in path for _, path, _, _ in script.seen[1:])


def test_a_download_that_never_gets_on_ends(client: holdfast.Client, script: Script) -> None:
    script.acts = [serve(stop_after=10), serve(stop_after=0)]
    with pytest.raises(UnavailableError):
        client.get("bucket", "key")
    assert len(script.seen) < 12


def test_a_download_of_what_was_replaced_meanwhile_ends(client: holdfast.Client, script: Script) -> None:
    script.acts = [serve(stop_after=1000), serve(noise(2_000_000, 1), etag="other")]
    with pytest.raises(PreconditionFailedError, match="during the download"):
        client.get("bucket", "key")


def test_a_range_resumes_within_itself(client: holdfast.Client, script: Script) -> None:
    script.acts = [serve(stop_after=100), serve()]
    assert client.get("bucket", "key", range=holdfast.ByteRange(500, 1499)) == DATA[500:1500]
    assert script.seen[1][2]["Range"] == "bytes=600-1499"


def test_bytes_that_are_not_the_versions_never_become_a_file(
    client: holdfast.Client, script: Script, tmp_path: Path
) -> None:
    flipped = DATA[:1000] + bytes([DATA[1000] ^ 1]) + DATA[1001:]
    script.acts = [serve(flipped)]
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(CorruptedError):
        client.get_file("bucket", "key", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


# -- writes ---------------------------------------------------------------------------------------------------------
def test_a_put_is_repeated_under_one_idempotency_key(client: holdfast.Client, script: Script) -> None:
    script.acts = [refuse(503, "unavailable"), hang_up, accept]
    assert client.put("bucket", "key", b"data").id == "v1"
    assert [body for _, _, _, body in script.seen] == [b"data"] * 3
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in script.seen}) == 1


def test_a_large_replayable_put_is_sent_again_from_the_start(
    client: holdfast.Client, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(DATA)
    script.acts = [refuse(503, "unavailable"), accept]
    told: list[int] = []
    client.put_file("bucket", "key", tmp_path / "file", progress=told.append)
    assert [body == DATA for _, _, _, body in script.seen] == [True, True]
    assert sum(told) == len(DATA)


def test_a_stream_that_is_gone_is_not_sent_again(client: holdfast.Client, script: Script) -> None:
    script.acts = [refuse(503, "unavailable"), accept]
    with pytest.raises(UnavailableError):
        client.put("bucket", "key", iter([b"one", b"two"]))
    assert len(script.seen) == 1


def test_what_cannot_be_done_twice_is_not_repeated(client: holdfast.Client, script: Script) -> None:
    script.acts = [hang_up]
    for call in (
        lambda: client.delete("bucket", "key"),
        lambda: client.copy(("bucket", "a"), ("bucket", "b")),
        lambda: client.create_bucket("bucket"),
    ):
        script.seen.clear()
        with pytest.raises(UnavailableError):
            call()
        assert len(script.seen) == 1


def test_waiting_is_what_the_server_asked_for_within_reason(client: holdfast.Client, script: Script) -> None:
    script.acts = [refuse(429, "rate_limited", Retry_After="0"), accept]
    assert client.put("bucket", "key", b"").id == "v1"
    script.acts = [refuse(429, "rate_limited", Retry_After="3600")]
    with pytest.raises(RateLimitedError) as caught:
        client.put("bucket", "key", b"")
    assert caught.value.retry_after == 3600
    assert len(script.seen) == 3


# -- answers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_code_becomes_its_kind(kind: type[HoldfastError]) -> None:
    body = json.dumps({"code": kind.code, "detail": "words", "request_id": "r-17"}).encode()
    error = from_answer(418, {}, body)
    assert type(error) is kind
    assert error.message.startswith("words")
    assert type(from_answer(400, {"x-holdfast-error-code": kind.code}, b"")) is kind


@pytest.mark.parametrize("status", [*BY_STATUS, 418, 599])
def test_answers_that_are_not_ours_become_kinds_too(status: int) -> None:
    for body in (
        b"",
        b"<html>bad gateway</html>",
        b"[1]",
        b'"x"',
        b"\xff\xfe",
        b'{"code": ["odd"], "detail": null}',
    ):
        error = from_answer(status, {}, body)
        assert type(error) in KINDS
        assert error.code in BY_CODE


def test_an_internal_error_names_the_request() -> None:
    assert "r-17" in str(from_answer(500, {"x-request-id": "r-17"}, b""))
    assert type(from_answer(500, {}, b"")) is InternalError


def test_a_server_that_is_something_else(client: holdfast.Client, script: Script) -> None:
    def says(body: bytes) -> Callable[[_Handler], None]:
        def page(handler: _Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return page

    for body in (b"<html>", b"", b"{}", b"[]", b"null", b'"x"', b"7"):
        for ask in (client.buckets, client.jobs, client.create_bucket):
            script.acts = [says(body)]
            with pytest.raises(UnavailableError, match="is it a Holdfast server"):
                ask("bucket") if ask == client.create_bucket else ask()
    script.acts = [refuse(302, Location="http://elsewhere.invalid/")]
    with pytest.raises(InvalidRequestError, match="redirects"):
        client.buckets()


def test_silence_has_an_end(script: Script) -> None:
    release = threading.Event()
    script.acts = [lambda handler: release.wait(20) and None]

    async def ask() -> None:
        from holdfast.library.http import HttpClient

        async with HttpClient(script.url, timeout=0.3) as client:
            await client.delete_bucket("bucket")

    import asyncio

    with pytest.raises(DeadlineError):
        asyncio.run(asyncio.wait_for(ask(), 15))
    release.set()


def test_the_token_travels_and_stays_hidden(client: holdfast.Client, script: Script) -> None:
    script.acts = [refuse(401, "unauthenticated")]
    with pytest.raises(UnauthenticatedError) as caught:
        client.buckets()
    assert script.seen[0][2]["Authorization"] == "Bearer id.secret"
    assert "secret" not in repr(caught.value) + str(caught.value)
    assert "secret" not in repr(client)
    for wrong in ("a b", "ü.secret", "x\r\nY: 1"):
        with pytest.raises(ConfigError) as refused:
            holdfast.open(script.url, token=wrong)
        assert wrong not in str(refused.value)


def test_keys_travel_unchanged(client: holdfast.Client, script: Script) -> None:
    script.acts = [accept]
    for key, path in (
        ("a b", "a%20b"),
        ("a//b", "a//b"),
        ("/lead", "/lead"),
        ("ü", "%C3%BC"),
        ("a?b#c%2f", "a%3Fb%23c%252f"),
        ("a+b&c=d", "a%2Bb%26c%3Dd"),
        ("back\\slash", "back%5Cslash"),
    ):
        client.put("bucket", key, b"")
        assert script.seen[-1][1] == f"/api/v1/objects/bucket/{path}"
