"""Several server processes on one port."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Final

_LOOK: Final = 0.2  #: seconds between looks at the workers
_SHORT: Final = 15.0  #: a worker that lived shorter than this failed at its start
_FAILURES: Final = 3  #: such failures in a row after which all give up
_GRACE: Final = 70.0  #: seconds for a stop, unless told otherwise; more than the workers' own

_PR_SET_PDEATHSIG: Final = 1  #: from linux/prctl.h

Entry = Callable[[socket.socket, Any], None]


def supervise(
    entry: Entry, argument: Any, *, count: int, listener: socket.socket, grace: float = _GRACE
) -> int:
    """Keep `count` processes running `entry(listener, argument)` until SIGINT or SIGTERM; return an exit status.

    SIGHUP is passed on. Workers that are not done `grace` seconds after a stop are killed.

    `entry` is a module's function and `argument` can be pickled: workers are spawned, never forked, and share
    nothing but the listening socket. A worker that dies is replaced; when workers keep dying as soon as they start,
    all are stopped and the status is 1.
    """
    return _Supervisor(entry, argument, listener, grace).run(count)


def _worker(entry: Entry, listener: socket.socket, argument: Any, supervisor: int) -> None:
    """Run `entry` in a spawned process that ends when its supervisor does, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == supervisor:  # else it died before we could ask to be told
        entry(listener, argument)


class _Supervisor:
    def __init__(self, entry: Entry, argument: Any, listener: socket.socket, grace: float) -> None:
        self._entry = entry
        self._argument = argument
        self._listener = listener
        self._grace = grace
        self._renew = False
        self._context = multiprocessing.get_context("spawn")
        self._stopping = False
        self._failures = 0

    def run(self, count: int) -> int:
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._pass_on)
        workers = [self._start() for _ in range(count)]
        try:
            while not self._stopping:
                time.sleep(_LOOK)
                if self._renew:
                    self._renew = False
                    _tell([process for process, _ in workers], signal.SIGHUP)
                workers = [self._kept(worker) for worker in workers]
        finally:
            self._end([process for process, _ in workers])
            for number, handler in before.items():
                signal.signal(number, handler)
        return 1 if self._failures >= _FAILURES else 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._renew = True

    def _start(self) -> tuple[SpawnProcess, float]:
        process = self._context.Process(
            target=_worker, args=(self._entry, self._listener, self._argument, os.getpid())
        )
        process.start()
        return process, time.monotonic()

    def _kept(self, worker: tuple[SpawnProcess, float]) -> tuple[SpawnProcess, float]:
        """Return the worker, or its successor when it has died."""
        process, started = worker
        if process.is_alive() or self._stopping:
            return worker
        short = time.monotonic() - started < _SHORT
        self._failures = self._failures + 1 if short else 0
        if self._failures >= _FAILURES:
            self._stopping = True
            return worker
        return self._start()

    def _end(self, processes: list[SpawnProcess]) -> None:
        for process in processes:
            if process.is_alive():
                process.terminate()
        until = time.monotonic() + self._grace
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _tell(processes: list[SpawnProcess], number: signal.Signals) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)
