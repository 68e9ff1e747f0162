"""Server-sent events, read to their end; a connection that breaks is made again where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp

from holdfast.core.errors import UnavailableError
from holdfast.library.http.transport import ATTEMPTS, Transport
from holdfast.library.http.wire import decoded

_LONGEST: Final = 8 << 20  #: bytes of one event


async def events(http: Transport, path: str) -> AsyncIterator[Any]:
    """Yield what the events at `path` hold, up to the one that is called `end`.

    The server ends an answer after some minutes, or when it stops; it is then asked again from the last event on.

    Raises:
        UnavailableError: the server does not answer any more, however often it is asked.
    """
    last, failed = "", 0
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        answer = await http.send("GET", path, headers=headers)
        reader = EventReader()
        try:
            async with answer:
                async for chunk in answer.content.iter_any():
                    for name, number, data in reader.feed(chunk):
                        last, failed = number or last, 0
                        yield decoded(data, http.base)
                        if name == "end":
                            return
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failed += 1
            if failed >= ATTEMPTS:
                raise UnavailableError(f"{http.base} does not go on telling") from error
        except ValueError as error:
            raise UnavailableError(f"{http.base} does not send events; is it a Holdfast server?") from error
        await http.pause(failed)


class EventReader:
    """Takes bytes as they come and gives whole events: name, id and data."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str, str]]:
        """Yield the events that end in `chunk`; `ValueError` when one is too long to be one."""
        self._held += chunk
        while b"\n\n" in self._held:
            block, _, self._held = self._held.partition(b"\n\n")
            if (found := _event(block.decode())) is not None:
                yield found
        if len(self._held) > _LONGEST:
            raise ValueError("an event without an end")


def _event(block: str) -> tuple[str, str, str] | None:
    said: dict[str, list[str]] = {}
    for line in block.splitlines():
        name, _, value = line.partition(":")
        if name:
            said.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in said:
        return None
    return said.get("event", ["message"])[-1], said.get("id", [""])[-1], "\n".join(said["data"])
