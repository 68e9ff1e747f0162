"""Many large streams at once, slowed down so that all are in flight together: `python -m bench.pump < job.json`.

Method. One process, one event loop, a connection per stream; each keeps to its own pace. Gets read all of the object.
Puts announce the whole size, send a share of it and, where that is not all, cut the connection: so the service has to
hold every stream open and then to give it up. One line of JSON at the end: how many bytes went each way, how many streams
failed, and for how long all of them were in flight together.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from bench.wire import Answer, Call

_PIECE = 256 << 10
_ON_THE_WAY = 8 << 20  #: more than the kernel keeps of one connection
_CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Streams:
    """`gets` streams of the object `key`, and `puts` streams under keys of their own; `pace` is bytes/s of each."""

    host: str
    port: int
    get: Call
    put: Call
    key: str
    size: int
    gets: int
    puts: int
    pace: float
    share: float = 1.0
    seconds: float = 900.0

    def as_json(self) -> str:
        """Return the job as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Streams:
        """Return the job that `as_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "get": Call.from_json(data["get"]), "put": Call.from_json(data["put"])})


@dataclass(slots=True)
class Seen:
    """What the streams did."""

    received: int = 0
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    running: int = 0
    whole: float = 0.0  #: when the last stream had begun, 0 when not all did
    first_end: float = 0.0  #: when the first stream ended

    def begun(self, job: Streams) -> None:
        """Note that one more stream moves."""
        self.running += 1
        if self.running == job.gets + job.puts:
            self.whole = time.perf_counter()


class Pace:
    """Holds one stream to its rate."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._started = time.perf_counter()
        self._done = 0

    async def wait(self, count: int) -> None:
        """Take `count` more bytes; return when they are due."""
        self._done += count
        ahead = self._done / self._rate - (time.perf_counter() - self._started)
        if ahead > 0.002:
            await asyncio.sleep(ahead)


async def run(job: Streams) -> dict[str, Any]:
    """Run all streams to their end and return what was seen."""
    seen, started = Seen(), time.perf_counter()
    block = os.urandom(_PIECE)
    works = [_one(job, seen, _get(job, seen)) for _ in range(job.gets)]
    works += [_one(job, seen, _put(job, seen, number, block)) for number in range(job.puts)]
    async with asyncio.timeout(job.seconds):
        await asyncio.gather(*works)
    return {
        "seconds": time.perf_counter() - started,
        "received": seen.received,
        "sent": seen.sent,
        "failed": len(seen.failed),
        "reasons": sorted(set(seen.failed))[:5],
        "together_seconds": max(seen.first_end - seen.whole, 0.0) if seen.whole else 0.0,
    }


async def _one(job: Streams, seen: Seen, work: Any) -> None:
    """Run one stream to its end, and note when the first one ended."""
    try:
        await work
    except (OSError, TimeoutError) as error:
        seen.failed.append(f"{type(error).__name__}: {error}")
    seen.first_end = seen.first_end or time.perf_counter()


async def _get(job: Streams, seen: Seen) -> None:
    loop, answer, buffer = asyncio.get_running_loop(), Answer(), bytearray(_PIECE)
    view = memoryview(buffer)
    with await _connect(job) as connection:
        await loop.sock_sendall(connection, job.get.frame(f"{job.host}:{job.port}", job.key)[0])
        pace, got, whole = Pace(job.pace), 0, False
        while not whole:
            count = await loop.sock_recv_into(connection, buffer)
            whole = answer.feed(view[:count])
            if not got:
                seen.begun(job)
            got += count
            seen.received += count
            await pace.wait(count)
    if answer.status != 200 or got < job.size:
        raise ConnectionError(f"get was answered {answer.status} with {got} bytes")


async def _put(job: Streams, seen: Seen, number: int, block: bytes) -> None:
    loop, answer = asyncio.get_running_loop(), Answer()
    left = int(job.size * job.share)
    with await _connect(job) as connection:
        before, after = job.put.frame(f"{job.host}:{job.port}", f"{job.key}-{number}", job.size)
        await loop.sock_sendall(connection, before)
        pace, surely = Pace(job.pace), max(left - _ON_THE_WAY, 0)
        while left:
            if left <= surely:  # more was taken than the kernel holds: the service itself is reading
                seen.begun(job)
                surely = -1
            piece = block[:left]
            await loop.sock_sendall(connection, piece)
            left -= len(piece)
            seen.sent += len(piece)
            await pace.wait(len(piece))
        if job.share < 1:
            return
        await loop.sock_sendall(connection, after)
        while not answer.feed(await loop.sock_recv(connection, _PIECE)):
            pass
    if not 200 <= answer.status < 300:
        raise ConnectionError(f"put was answered {answer.status}")


async def _connect(job: Streams) -> socket.socket:
    """Return a connection whose buffers are small, so that what is in flight is in the service and not in the kernel."""
    connection = socket.socket()
    connection.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        connection.setsockopt(socket.SOL_SOCKET, option, _PIECE)
    async with asyncio.timeout(_CONNECT_SECONDS):
        await asyncio.get_running_loop().sock_connect(connection, (job.host, job.port))
    return connection


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(Streams.from_json(sys.stdin.read())))))
