"""Answers of services, whatever they send."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from holdfast.backends._http import Http, parse_json, read_bounded, retry_after, seconds, whole
from holdfast.backends.google_drive.client import Answer, decoded
from holdfast.backends.google_drive.errors import Where, reason_of
from holdfast.core.clock import Environment
from holdfast.core.errors import DeadlineError, UnavailableError

pytestmark = pytest.mark.unit
BROKEN = [b"[" * 100_000, b'{"name":"\xff"}', b"{", b"9" * 5000, b"NaN", b"<html>"]


class Named(msgspec.Struct):
    name: str = ""


@pytest.mark.parametrize("raw", BROKEN)
def test_json_that_is_none_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not the JSON"):
        parse_json(raw)
    with pytest.raises(ValueError, match="not the JSON"):
        parse_json(raw, Named)
    assert reason_of(raw) == ""
    with pytest.raises(UnavailableError):
        decoded(Where("get", "drive"), Answer(200, {}, raw))


def test_json_of_another_type_is_the_same_error() -> None:
    with pytest.raises(ValueError, match="not the JSON"):
        parse_json(b'{"name":1}', Named)
    assert parse_json(b'{"name":"x"}', Named) == Named("x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:01:00 +99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("9" * 400, 366 * 86_400.0),
    ],
)
def test_how_long_to_wait(value: str, expected: float | None) -> None:
    found = retry_after({"Retry-After": value}, 0)
    assert found == expected or (expected is None and found is not None and found <= 366 * 86_400.0)


@pytest.mark.parametrize("value", [None, "5", True, -1, 1 << 63, int("9" * 4000), 1.0])
def test_counts_that_cannot_be(value: object) -> None:
    assert whole(value) is None


def test_how_long_something_lasts_is_bounded() -> None:
    assert [seconds(one) for one in (5, 0.5, -1, None, True, "7", float("nan"))] == [5, 0.5, 0, 0, 0, 0, 0]
    assert seconds(float("inf")) == seconds(int("9" * 400)) == 3660 * 86_400


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://" + "a" * 70 + ".test/",
        "http://a..b/",
        "/x",
        "http://\udcff/",
    ],
)
@pytest.mark.parametrize("encoded", [True, False])
def test_an_address_that_is_none_is_an_error_of_the_store(url: str, encoded: bool) -> None:
    async def story() -> None:
        http = Http("far", Environment())
        try:
            with pytest.raises(UnavailableError):
                async with http.exchange("get", "a", "GET", url, encoded=encoded):
                    pass
        finally:
            await http.close()

    asyncio.run(story())


class Dripping:
    """A server that sends a byte at a time, and never the last one."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._gone = asyncio.Event()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.wait_for(self._gone.wait(), 5)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._head)
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.005)
        except OSError:
            pass
        finally:
            writer.close()
            self._gone.set()


BODY, HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: "


@pytest.mark.parametrize(
    ("head", "total", "body"), [(BODY, None, 0.05), (BODY, 0.05, 30.0), (HEAD, 0.05, 30.0)]
)
def test_an_answer_that_drips_is_not_waited_for(head: bytes, total: float | None, body: float) -> None:
    async def story() -> None:
        http = Http("far", Environment(), read_timeout=30)
        async with Dripping(head) as url:
            with pytest.raises(DeadlineError):
                async with http.exchange("get", "a", "GET", url, within=total) as response:
                    await read_bounded(response, within=body)
            await http.close()

    asyncio.run(asyncio.wait_for(story(), 20))
