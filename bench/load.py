"""A load generator in its own process: `python -m bench.load < job.json > result.json`.

Method. One thread, one epoll, N persistent connections, one request in flight on each (a closed loop). Requests are
laid out before the clock runs; a put carries a body of its own (a counter, then random bytes) under a key of its own.
A warm-up that is not counted comes first. Latency is from the first byte sent to the last byte received. A connection
that the peer closes is opened anew, and that time counts: it is what the peer's users pay.

One request costs this process about 20 µs. Its share of a core is part of the result (`generator_cpu`); near 1 the
generator, not the peer, was measured.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.wire import Answer, Call

_KEY = "k0000000000"  #: every key has this length, so that one layout serves them all
_MARK = 16  #: bytes of a body that are its own
_STALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to send: `verb` get (keys `first` to `first + keys`, round and round) or put (keys from `first` on).

    Ends after `seconds`, or, when `limit` is set, after that many requests without a warm-up.
    """

    host: str
    port: int
    call: Call
    verb: str
    size: int
    first: int = 0
    keys: int = 1000
    connections: int = 16
    seconds: float = 3.0
    warm_up: float = 0.5
    limit: int | None = None

    def as_json(self) -> str:
        """Return the job as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that `as_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "call": Call.from_json(data["call"])})


def key(number: int) -> str:
    """Return the key of that number."""
    return f"k{number:010d}"


def requests(job: Job) -> Callable[[int], bytes]:
    """Return what makes the request of each number, laid out as far as that can be done ahead."""
    host = f"{job.host}:{job.port}"
    if job.verb == "get":
        ready = [job.call.frame(host, key(job.first + n))[0] for n in range(job.keys)]
        return lambda number: ready[number % job.keys]
    before, after = job.call.frame(host, _KEY, job.size)
    padding = os.urandom(max(job.size - _MARK, 0)) + after
    mark, placeholder = min(_MARK, job.size), _KEY.encode()

    def make(number: int) -> bytes:
        name = key(job.first + number).encode()
        return b"%b%b%b" % (
            before.replace(placeholder, name),
            b"%016d" % number if mark == _MARK else b"x" * mark,
            padding,
        )

    return make


class Generator:
    """Drives one job. `run` may be called once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._make = requests(job)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._answers: dict[int, Answer] = {}
        self._started: dict[int, float] = {}
        self._sent = 0
        self._busy = 0
        self.latencies = array("d")
        self.failed = 0
        self.statuses: dict[int, int] = {}

    def run(self) -> dict[str, Any]:
        """Send until the time or the limit is reached, and return what was seen."""
        for _ in range(self._job.connections):
            self._send(self._open())
        if self._job.limit is None:
            self._until(time.perf_counter() + self._job.warm_up)
            self.latencies, self.failed = array("d"), 0
        used, started = _cpu(), time.perf_counter()
        self._until(started + self._job.seconds if self._job.limit is None else float("inf"))
        elapsed = time.perf_counter() - started
        return self._result(elapsed, (_cpu() - used) / elapsed)

    def _until(self, end: float) -> None:
        clock, poll = time.perf_counter, self._epoll.poll
        while self._busy and (now := clock()) < end:
            ready = poll(min(end - now, _STALL_SECONDS), self._job.connections)
            if not ready and end - now > _STALL_SECONDS:
                raise ConnectionError(f"no answer within {_STALL_SECONDS:.0f} s")
            for fd, _ in ready:
                self._receive(fd)

    def _receive(self, fd: int) -> None:
        answer = self._answers[fd]
        try:
            if not answer.feed(self._sockets[fd].recv(1 << 18)):
                return
        except ConnectionError:
            answer.close = True
        self.latencies.append(time.perf_counter() - self._started[fd])
        self._busy -= 1
        if not 200 <= answer.status < 300 or not answer.done:
            self.failed += 1
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.close:
            self._shut(fd)
            fd = self._open()
        self._send(fd)

    def _send(self, fd: int) -> None:
        if self._job.limit is not None and self._sent >= self._job.limit:
            return
        self._answers[fd].begin()
        request = self._make(self._sent)
        self._sent += 1
        self._busy += 1
        self._started[fd] = time.perf_counter()
        try:
            self._sockets[fd].sendall(request)
        except ConnectionError:
            pass  # the answer, or its absence, says what happened

    def _open(self) -> int:
        connection = socket.create_connection((self._job.host, self._job.port), timeout=_STALL_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = connection.fileno()
        self._sockets[fd], self._answers[fd] = connection, Answer()
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _shut(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._sockets.pop(fd).close()

    def _result(self, elapsed: float, cpu: float) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "requests": len(ordered),
            "sent": self._sent,
            "failed": self.failed,
            "statuses": self.statuses,
            "seconds": elapsed,
            "rate": (len(ordered) - self.failed) / elapsed,
            "p50_ms": _quantile(ordered, 0.50) * 1e3,
            "p99_ms": _quantile(ordered, 0.99) * 1e3,
            "generator_cpu": cpu,
        }


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    print(json.dumps(Generator(Job.from_json(sys.stdin.read())).run()))
