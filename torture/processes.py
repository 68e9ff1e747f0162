"""Children to be killed: forked, heard through a pipe, and always waited for."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from torture.journal import Journal

_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A process of ours and what it has said so far."""

    pid: int
    fd: int
    said: bytearray = field(default_factory=bytearray)
    ended: bool = False
    status: int | None = None  #: how it ended (as `waitpid` says), once it was waited for

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.status is None:
            self.kill()

    def listen(self, seconds: float, until: bytes | None = None) -> bool:
        """Hear what the child says for so long; return True as soon as it said `until` or is gone."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if until is not None and until in self.said:
                return True
            if not select.select([self.fd], [], [], left)[0]:
                break
            if not self._hear():
                return True
        return until is not None and until in self.said

    def kill(self) -> int:
        """Kill the child if it lives, hear its last words, and return how it ended (as `waitpid` says)."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Hear the child to its end and return how it ended."""
        while self._hear():
            pass
        os.close(self.fd)
        self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def _hear(self) -> bool:
        piece = os.read(self.fd, 1 << 16)
        self.said += piece
        self.ended = not piece
        return bool(piece)


def fork(work: Callable[[Journal], None], *, orphaned: signal.Signals = signal.SIGKILL) -> Child:
    """Run `work` in a forked child, which gets the signal `orphaned` should this process die first.

    Fork only while this process has one thread and nothing open.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    status = 1
    try:
        os.close(reading)
        end_with_parent(orphaned)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work(Journal(writing))
        status = 0
    except BaseException:  # whatever it was, this process must not return into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process `number` when its parent dies. Does nothing where there is no such thing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def died_of(status: int, number: signal.Signals) -> bool:
    """Tell whether that is how the child ended."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == number
