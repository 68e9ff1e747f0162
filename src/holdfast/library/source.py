"""Bytes in whatever shape the caller has them, made into a `Body`."""

from __future__ import annotations

import asyncio
import queue
import stat
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from holdfast.core.body import CHUNK, Body
from holdfast.core.errors import InvalidRequestError
from holdfast.library.files import local_errors


@runtime_checkable
class Readable(Protocol):
    """An open binary file, or anything that reads like one."""

    def read(self, size: int, /) -> bytes: ...


#: What `put` takes. A `str` is refused: it could be a path or a text, and guessing would store the wrong one.
Source: TypeAlias = (
    bytes | bytearray | memoryview | Path | Readable | Iterable[bytes] | AsyncIterable[bytes] | Body
)


def as_body(data: Source) -> Body:
    """Return `data` as a body: bytes and regular files can be replayed, everything else is read once.

    Files, iterators and file objects are read outside the event loop, so a slow one (a pipe, a generator that itself
    calls a client) holds nobody up.

    Raises:
        InvalidRequestError: `data` is a `str`, or nothing that bytes can be read from.
    """
    if isinstance(data, Body):
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return Body.of_bytes(bytes(data))
    if isinstance(data, Path):
        return _file_body(data)
    if isinstance(data, str):
        raise InvalidRequestError("a str is ambiguous; give bytes (text.encode()) or a pathlib.Path")
    if isinstance(data, AsyncIterable):
        return Body.of_stream(data)
    if isinstance(data, Readable):
        reader = data
        return Body.of_stream(_beside(lambda: iter(lambda: reader.read(CHUNK), b"")))
    if isinstance(data, Iterable):
        return Body.of_stream(_beside(lambda: iter(data)))
    raise InvalidRequestError(f"cannot read bytes from {type(data).__name__}")


def _file_body(path: Path) -> Body:
    with local_errors(path, "read"):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InvalidRequestError(f"{path} is a directory")
        if not stat.S_ISREG(mode):  # a pipe or a device: its size says nothing, and it is read once
            return Body.of_stream(_beside(lambda: _blocks(path)))
        body = Body.of_file(path)

    async def chunks() -> AsyncIterator[bytes]:
        with local_errors(path, "read"):
            async for chunk in body.chunks():
                yield chunk

    return replace(body, opener=chunks).expecting(size=body.size)


def _blocks(path: Path) -> Iterator[bytes]:
    with local_errors(path, "read"), path.open("rb", 0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _beside(start: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """Yield from an iterator that runs in a daemon thread of its own, one item ahead of nobody.

    Not the loop's default executor: its threads are joined at exit, and an iterator may wait forever.
    """
    loop = asyncio.get_running_loop()
    wanted: queue.SimpleQueue[asyncio.Future[bytes | None] | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_serve, args=(start, wanted, loop), name="holdfast-source", daemon=True)
    thread.start()
    try:
        while True:
            answer: asyncio.Future[bytes | None] = loop.create_future()
            wanted.put(answer)
            chunk = await answer
            if chunk is None:
                return
            yield _checked(chunk)
    finally:
        wanted.put(None)


def _checked(chunk: object) -> bytes:
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise InvalidRequestError(
            f"the source gave {type(chunk).__name__} instead of bytes (is the file opened 'rb'?)"
        )
    return bytes(chunk)


def _serve(
    start: Callable[[], Iterator[bytes]],
    wanted: queue.SimpleQueue[asyncio.Future[bytes | None] | None],
    loop: asyncio.AbstractEventLoop,
) -> None:
    iterator: Iterator[bytes] | None = None
    while (answer := wanted.get()) is not None:
        try:
            iterator = start() if iterator is None else iterator
            chunk = next(iterator, None)
        except BaseException as error:
            _tell(loop, answer, error=error)
        else:
            _tell(loop, answer, chunk=chunk)
    if iterator is not None and hasattr(iterator, "close"):
        iterator.close()


def _tell(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[bytes | None],
    *,
    chunk: bytes | None = None,
    error: BaseException | None = None,
) -> None:
    def settle() -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(chunk)
        else:
            answer.set_exception(error)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the loop is gone, and with it whoever waited
