"""How clients read events: cut anywhere, and a connection that breaks is made again where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.core.errors import UnavailableError
from holdfast.library.http.events import EventReader, events
from holdfast.library.http.transport import Transport

pytestmark = pytest.mark.doors

ONE = b'id: 1\nevent: progress\ndata: {"n": 1}\n\n'
TWO = b'id: 2\nevent: progress\ndata: {"n":\ndata: 2}\n\n'
END = b'id: 3\nevent: end\ndata: {"n": 3}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_whole_however_they_are_cut(size: int) -> None:
    raw = b"retry: 1000\n\n: still there\n\n" + ONE + TWO + END
    reader = EventReader()
    found = [event for start in range(0, len(raw), size) for event in reader.feed(raw[start : start + size])]
    assert found == [
        ("progress", "1", '{"n": 1}'),
        ("progress", "2", '{"n":\n2}'),
        ("end", "3", '{"n": 3}'),
    ]


def test_an_event_without_an_end_is_refused() -> None:
    reader = EventReader()
    with pytest.raises(ValueError, match="without an end"):
        for _ in range(10):
            list(reader.feed(b"x" * (1 << 20)))


async def told(*answers: bytes) -> tuple[list[object], list[bytes]]:
    """Return what a client yields of these answers, one for each connection, and what it asked each time."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(asked), len(answers)) - 1])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        http = Transport(f"http://127.0.0.1:{port}")
        try:
            return [event async for event in events(http, "jobs/1/events")], asked
        finally:
            await http.close()


def run(story: Callable[[], Awaitable[tuple[list[object], list[bytes]]]]) -> tuple[list[object], list[bytes]]:
    async def bounded() -> tuple[list[object], list[bytes]]:
        async with asyncio.timeout(20):
            return await story()

    return asyncio.run(bounded())


def test_a_connection_that_ends_is_made_again_where_it_was() -> None:
    found, asked = run(lambda: told(HEAD + ONE + TWO[:10], HEAD + TWO, HEAD + END))
    assert found == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [b"Last-Event-ID: 1\r\n" in asked[1], b"Last-Event-ID: 2\r\n" in asked[2]] == [True, True]
    assert b"Last-Event-ID" not in asked[0]


def test_a_connection_that_always_breaks_is_given_up() -> None:
    broken = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked") + b"5\r\nid: "
    with pytest.raises(UnavailableError):
        run(lambda: told(broken))


def test_what_are_no_events_is_told() -> None:
    with pytest.raises(UnavailableError, match="is it a Holdfast server"):
        run(lambda: told(HEAD + b"event: progress\ndata: no json\n\n"))
