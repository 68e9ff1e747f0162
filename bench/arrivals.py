"""A load generator that does not wait: `python -m bench.arrivals < job.json > result.json`.

Requests fall due at a steady rate, whatever becomes of the ones before them (an open loop), as those of many users do.
Each takes a connection that is idle, or a new one as long as there are fewer than `connections`; one that finds none
is counted as `unsent`. What was answered with 2xx and what was refused are told apart.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from bench.load import Job, requests
from bench.wire import Answer, Call

_LAST_SECONDS = 5.0  #: for answers that are still on their way at the end
_STEP = 0.002


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What to send, how many a second, for how long, over how many connections at most."""

    host: str
    port: int
    call: Call
    verb: str
    size: int
    rate: float
    first: int = 0
    keys: int = 1000
    seconds: float = 5.0
    warm_up: float = 1.0
    connections: int = 800

    def as_json(self) -> str:
        """Return the job as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Arrivals:
        """Return the job that `as_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "call": Call.from_json(data["call"])})


class Steady:
    """Drives one job. `run` may be called once."""

    def __init__(self, job: Arrivals) -> None:
        self._job = job
        self._make = requests(
            Job(job.host, job.port, job.call, job.verb, job.size, first=job.first, keys=job.keys)
        )
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._answers: dict[int, Answer] = {}
        self._began: dict[int, float] = {}
        self._idle: list[int] = []
        self._number = 0
        self.taken: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.unsent = 0

    def run(self) -> dict[str, Any]:
        """Send until the time is over, wait for what is on its way, and return what was seen."""
        self._phase(self._job.warm_up)
        self.taken, self.refused, self.unsent = [], [], 0
        self.statuses.clear()
        sent_before, used, started = self._number, time.process_time(), time.perf_counter()
        self._phase(self._job.seconds)
        elapsed, cpu = time.perf_counter() - started, time.process_time() - used
        goodput = len(self.taken) / elapsed
        offered = (self._number - sent_before) / elapsed
        until = time.perf_counter() + _LAST_SECONDS
        while self._began and time.perf_counter() < until:
            self._receive(0.05)
        return {
            "rate": goodput,
            "offered": offered,
            "unsent": self.unsent,
            "unanswered": len(self._began),
            "statuses": dict(self.statuses),
            "connections": len(self._sockets),
            "generator_cpu": cpu / elapsed,
            **_latencies("taken", self.taken),
            **_latencies("refused", self.refused),
        }

    def _phase(self, seconds: float) -> None:
        started, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - started) < seconds:
            due = int(now * self._job.rate) - sent
            sent += due
            for index in range(due):
                if not self._send():
                    self.unsent += due - index
                    break
            self._receive(_STEP)

    def _send(self) -> bool:
        fd = self._idle.pop() if self._idle else self._open()
        if fd is None:
            return False
        self._answers[fd].begin()
        self._began[fd] = time.perf_counter()
        try:
            self._sockets[fd].sendall(self._make(self._number))
        except OSError:
            self._shut(fd)
        self._number += 1
        return True

    def _receive(self, patience: float) -> None:
        for fd, _ in self._poll.poll(patience, 1024):
            if fd not in self._began:
                self._shut(fd)  # the service closed an idle connection
                continue
            answer = self._answers[fd]
            try:
                if not answer.feed(self._sockets[fd].recv(1 << 16)):
                    continue
            except OSError:
                answer.close = True
            self._note(fd, answer)

    def _note(self, fd: int, answer: Answer) -> None:
        passed = time.perf_counter() - self._began.pop(fd)
        self.statuses[answer.status if answer.done else 0] += 1
        if answer.done:
            (self.taken if 200 <= answer.status < 300 else self.refused).append(passed)
        if answer.close:
            self._shut(fd)
        else:
            self._idle.append(fd)

    def _open(self) -> int | None:
        if len(self._sockets) >= self._job.connections:
            return None
        made = socket.create_connection((self._job.host, self._job.port), timeout=_LAST_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[made.fileno()], self._answers[made.fileno()] = made, Answer()
        self._poll.register(made.fileno(), select.EPOLLIN)
        return made.fileno()

    def _shut(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()
        self._began.pop(fd, None)
        if fd in self._idle:
            self._idle.remove(fd)


def _latencies(name: str, seconds: list[float]) -> dict[str, float | None]:
    ordered = sorted(seconds)

    def at(part: float) -> float | None:
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1e3 if ordered else None

    return {f"{name}_p50_ms": at(0.5), f"{name}_p99_ms": at(0.99), f"{name}_most_ms": at(1.0)}


if __name__ == "__main__":
    print(json.dumps(Steady(Arrivals.from_json(sys.stdin.read())).run()))
