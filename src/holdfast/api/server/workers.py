"""Several server processes on one port."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Final

from holdfast.core.errors import BY_CODE, ConfigError, HoldfastError, InternalError

#: Tells a worker not to wait for requests in flight. Not a second SIGTERM: a terminal or a service manager may signal
#: all processes at once, and a worker then hears of one stop twice.
HURRY: Final = signal.SIGQUIT
_LOOK: Final = 0.2  #: seconds between looks at the workers
_SOON: Final = 0.05  #: the same while they are stopping
_SHORT: Final = 15.0  #: a worker that lived shorter than this failed at its start
_FAILURES: Final = 3  #: such failures in a row after which all give up
_GRACE: Final = 70.0  #: seconds for a stop, unless told otherwise; more than the workers' own

_PR_SET_PDEATHSIG: Final = 1  #: from linux/prctl.h

_log = logging.getLogger("holdfast")
Entry = Callable[[socket.socket, Any], None]


def supervise(
    entry: Entry, argument: Any, *, count: int, listener: socket.socket, grace: float = _GRACE
) -> int:
    """Keep `count` processes running `entry(listener, argument)` until SIGINT or SIGTERM; return an exit status.

    SIGHUP is passed on. A second SIGINT or SIGTERM makes the workers give up what is in flight. Workers that are not
    done `grace` seconds after a stop are killed.

    `entry` is a module's function and `argument` can be pickled: workers are spawned, never forked, and share
    nothing but the listening socket. A worker that dies is replaced; when workers keep dying as soon as they start,
    all are stopped and the status is 1.

    Raises:
        HoldfastError: what the workers said of why they cannot start.
    """
    return _Supervisor(entry, argument, listener, grace).run(count)


def _worker(
    entry: Entry, listener: socket.socket, argument: Any, supervisor: int, teller: Connection
) -> None:
    """Run `entry` in a spawned process that ends when its supervisor does, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it died before we could ask to be told
        return
    try:
        entry(listener, argument)
    except HoldfastError as error:
        teller.send((error.code, error.message, error.operation, error.store, error.name))
        raise SystemExit(1) from None


@dataclass(frozen=True, slots=True)
class _Worker:
    """A spawned process, since when it runs, and where it says why it ended."""

    process: SpawnProcess
    started: float
    told: Connection

    def error(self) -> HoldfastError | None:
        """Return what it died of, if it said so; it must have ended."""
        try:
            if not self.told.poll():
                return None
            code, message, operation, store, name = self.told.recv()
        except (EOFError, OSError):
            return None
        kind = BY_CODE.get(code, InternalError)
        return kind(message, operation=operation, store=store, name=name)


class _Supervisor:
    def __init__(self, entry: Entry, argument: Any, listener: socket.socket, grace: float) -> None:
        self._entry = entry
        self._argument = argument
        self._listener = listener
        self._grace = grace
        self._renew = False
        self._context = multiprocessing.get_context("spawn")
        self._began = time.monotonic()
        self._stops = 0  # how often a stop was asked for
        self._failures = 0
        self._given_up = False
        self._told: HoldfastError | None = None

    def run(self, count: int) -> int:
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._pass_on)
        workers = [self._start() for _ in range(count)]
        try:
            while not self._ending:
                time.sleep(_LOOK)
                if self._renew:
                    self._renew = False
                    _tell([worker.process for worker in workers], signal.SIGHUP)
                workers = [self._kept(worker) for worker in workers]
        finally:
            self._end([worker.process for worker in workers])
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._given_up and self._told is not None:
            raise self._told
        return int(self._given_up)

    @property
    def _ending(self) -> bool:
        return self._stops > 0 or self._given_up

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._renew = True

    def _start(self) -> _Worker:
        told, teller = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_worker, args=(self._entry, self._listener, self._argument, os.getpid(), teller)
        )
        process.start()
        teller.close()
        return _Worker(process, time.monotonic(), told)

    def _kept(self, worker: _Worker) -> _Worker:
        """Return the worker, or its successor when it has died."""
        if worker.process.is_alive() or self._ending:
            return worker
        short = time.monotonic() - worker.started < _SHORT
        self._failures = self._failures + 1 if short else 0
        self._told = worker.error()
        if self._failures >= _FAILURES or (short and self._is_hopeless()):
            self._given_up = True
            return worker
        worker.told.close()
        _log.warning("a worker process ended and is replaced: %s", self._told or worker.process.exitcode)
        return self._start()

    def _is_hopeless(self) -> bool:
        """Tell whether a worker that died at once would die again: the settings are wrong, and were from the start."""
        return isinstance(self._told, ConfigError) and time.monotonic() - self._began < _SHORT

    def _end(self, processes: list[SpawnProcess]) -> None:
        for process in processes:
            if process.is_alive():
                process.terminate()
        until, hurried = time.monotonic() + self._grace, False
        while any(process.is_alive() for process in processes) and time.monotonic() < until:
            if self._stops > 1 and not hurried:
                hurried = True
                _tell(processes, HURRY)
            time.sleep(_SOON)
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()


def _tell(processes: list[SpawnProcess], number: signal.Signals) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)
