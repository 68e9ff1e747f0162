"""Time, chance and identity, handed in so that a failing run replays from its seed."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from holdfast.core.errors import InvalidRequestError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> int:
    """Return a time as people and programs write it, RFC 3339 or a bare date, in microseconds; UTC if nothing is said.

    Raises:
        InvalidRequestError: it is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        since = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC) - _EPOCH
        return since // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise InvalidRequestError("a time looks like 2026-11-20T08:00:00Z or 2026-11-20") from None


def iso(micros: int) -> str:
    """Return a time as bodies and results of jobs show it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Clock(Protocol):
    """Wall time, elapsed time and waiting."""

    def now(self) -> int:
        """Return microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to, or when somebody sleeps on it. For tests and simulations."""

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self._now = start
        self._start = start
        self.slept: list[float] = []

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start) / 1e6

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._now += int(seconds * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


class PooledRandom(random.SystemRandom):
    """The system's randomness, fetched 4 KiB at a time: an id must not cost a system call."""

    _POOL = 4096
    _pool: bytes
    _at: int

    def __init__(self) -> None:
        super().__init__()
        self._empty()
        os.register_at_fork(after_in_child=self._empty)

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        size = (k + 7) // 8
        if size > self._POOL:
            return super().getrandbits(k)
        with self._lock:
            if len(self._pool) - self._at < size:
                self._pool, self._at = os.urandom(self._POOL), 0
            taken = self._pool[self._at : self._at + size]
            self._at += size
        return int.from_bytes(taken, "big") >> (size * 8 - k)

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return self.getrandbits(53) / (1 << 53)

    def _empty(self) -> None:
        """Forget what was fetched, so that a forked child does not repeat its parent."""
        self._lock = threading.Lock()
        self._pool, self._at = b"", 0


@dataclass(slots=True)
class Environment:
    """What a run depends on besides its input: `clock` and `random`. Ids are made of both.

    `Environment()` is the real world; `Environment.seeded(n)` replays.
    """

    clock: Clock = field(default_factory=SystemClock)
    random: random.Random = field(default_factory=PooledRandom)

    @classmethod
    def seeded(cls, seed: int) -> Environment:
        """Return a world with a manual clock in which the same seed gives the same run."""
        return cls(clock=ManualClock(), random=random.Random(seed))  # noqa: S311

    def new_id(self) -> str:
        """Return a new UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then 74 random bits."""
        millis = (self.clock.now() // 1000) & ((1 << 48) - 1)
        chance = self.random.getrandbits(74)
        value = millis << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | (chance & ((1 << 62) - 1))
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
