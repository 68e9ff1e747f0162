"""One large transfer in its own process: `python -m bench.bulk < job.json > result.json`.

Method. One connection, one request. A put sends one random MiB again and again from memory; a get reads into one buffer
of a MiB and counts. The clock runs from the first byte sent to the last byte of the answer, so a put ends when the peer
says that it holds the bytes.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from bench.wire import Answer, Call

BLOCK = 1 << 20
_STALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """What to move: `verb` get or put of `size` bytes under `key`."""

    host: str
    port: int
    call: Call
    verb: str
    key: str
    size: int

    def as_json(self) -> str:
        """Return the transfer as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Transfer:
        """Return the transfer that `as_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "call": Call.from_json(data["call"])})


def run(job: Transfer) -> dict[str, Any]:
    """Move the bytes and return seconds, MB/s and this process's share of a core.

    Raises:
        ConnectionError: the peer broke off, refused, or sent fewer bytes than `size`.
    """
    block = os.urandom(BLOCK)
    with socket.create_connection((job.host, job.port), timeout=_STALL_SECONDS) as connection:
        used, started = _cpu(), time.perf_counter()
        _send(connection, job, memoryview(block))
        status, received, start = _receive(connection)
        elapsed = time.perf_counter() - started
    if not 200 <= status < 300 or (job.verb == "get" and received < job.size):
        raise ConnectionError(f"{job.verb} {job.key} was answered {status}, {received} bytes: {start!r}")
    return {"seconds": elapsed, "rate": job.size / 1e6 / elapsed, "generator_cpu": (_cpu() - used) / elapsed}


def _send(connection: socket.socket, job: Transfer, block: memoryview) -> None:
    left = job.size if job.verb == "put" else 0
    before, after = job.call.frame(f"{job.host}:{job.port}", job.key, left or None)
    connection.sendall(before)
    while left:
        piece = block[: min(left, BLOCK)]
        connection.sendall(piece)
        left -= len(piece)
    if after:
        connection.sendall(after)


def _receive(connection: socket.socket) -> tuple[int, int, bytes]:
    """Read one answer to its end; return its status, how many bytes it had with its head, and the first of them."""
    buffer, answer, total, start = bytearray(BLOCK), Answer(), 0, b""
    view, whole = memoryview(buffer), False
    while not whole:
        count = connection.recv_into(buffer)
        start = start or bytes(view[: min(count, 300)])
        total += count
        whole = answer.feed(view[:count])
    return answer.status, total, start


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(run(Transfer.from_json(sys.stdin.read()))))
