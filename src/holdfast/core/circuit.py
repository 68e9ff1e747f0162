"""The breaker of one store in one process: it stops asking what does not answer, and tries again after a pause.

`closed`: calls go through, and those that fail for want of an answer are counted as long as none succeeds between them.
`failures` of them in a row open it, and fewer of those that were waited for long: a call that hangs tells more than one
that is refused. So do as many streams in a row that broke after they had been opened. `open`: calls are refused at once.
After the pause it is `half-open`: one call goes through to find out; its success closes the circuit, its failure opens
it for twice as long. Where somebody watches the store (`watch`), only whoever watches finds out: nobody else waits for
a store that is not back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.core.clock import Clock
from holdfast.core.errors import DeadlineError, HoldfastError, UnavailableError

_SWAY: Final = 0.25  #: the share by which pauses differ, so that processes do not all ask at the same moment
_probing: ContextVar[bool] = ContextVar("probing", default=False)


@contextmanager
def probing() -> Iterator[None]:
    """Inside, a call may ask a store that is left alone, whatever its pause: it finds out whether the store is back."""
    token = _probing.set(True)
    try:
        yield
    finally:
        _probing.reset(token)


class CircuitState(StrEnum):
    """What happens to a call."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """When it opens and for how long, in seconds.

    `window`: after so long without a call the count begins anew. A failure after `slow` seconds or more counts for
    `weight` of them.
    """

    failures: int = 5
    window: float = 600.0
    slow: float = 10.0
    weight: int = 3
    pause: float = 5.0
    longest: float = 60.0


class Circuit:
    """Counts what calls to `store` came to. Whoever calls says `enter`, and then one of `passed`, `left`, `failed`.

    With `chance` pauses sway.
    """

    __slots__ = (
        *("_breaks", "_chance", "_clock", "_count", "_last", "_pause", "_settings", "_trial", "_until"),
        *("_watched", "returns", "store", "trouble"),
    )

    def __init__(
        self,
        store: str,
        clock: Clock,
        settings: CircuitSettings = CircuitSettings(),
        chance: random.Random | None = None,
    ) -> None:
        self.store = store
        self.trouble = ""  #: what the last failure said
        self.returns = 0  #: how often it was closed again
        self._breaks = 0
        self._chance = chance
        self._watched = 0.0  # until then somebody else finds out
        self._clock = clock
        self._settings = settings
        self._count = 0
        self._last = 0.0
        self._until: float | None = None  # set: not closed
        self._pause = settings.pause
        self._trial = False

    @property
    def state(self) -> CircuitState:
        """What happens to a call now."""
        if self._until is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._clock.monotonic() < self._until else CircuitState.HALF_OPEN

    @property
    def refuses(self) -> bool:
        """Whether a call now would be refused without being tried."""
        return self._until is not None and (
            self._trial or self._clock.monotonic() < max(self._until, self._watched)
        )

    def watch(self, seconds: float) -> None:
        """For so long leave it to whoever says `probing` to find out if the store is back."""
        self._watched = self._clock.monotonic() + seconds

    def enter(self, operation: str, name: str) -> bool:
        """Begin a call, and return whether it is the one that finds out if the store is back.

        Raises:
            UnavailableError: the store did not answer lately, and it is not time to ask again.
        """
        if self._until is None:
            return False
        until = 0.0 if _probing.get() else max(self._until, self._watched)
        left = until - self._clock.monotonic()
        if left > 0 or self._trial:
            raise UnavailableError(
                f"the store did not answer lately and is left alone for a while ({self.trouble})",
                operation=operation,
                store=self.store,
                name=name,
                retry_after=max(left, 1.0),
            )
        self._trial = True
        return True

    def now(self) -> float:
        """Return the time by which calls are measured."""
        return self._clock.monotonic()

    def passed(self) -> None:
        """The store answered."""
        if self._until is not None:
            self.returns += 1
        self._until, self._count, self._trial = None, 0, False
        self._pause = self._settings.pause

    def left(self, trial: bool) -> None:
        """The call ended without showing whether the store answers."""
        if trial:
            self._trial = False

    def failed(self, error: HoldfastError, trial: bool, took: float = 0.0, *, hung: bool = False) -> None:
        """The store did not answer, and was waited for `took` seconds; `hung`: that was long, however short it was."""
        now = self._clock.monotonic()
        self.trouble = error.message
        if self._until is not None:
            if trial:
                self._pause = min(2 * self._pause, self._settings.longest)
                self._until, self._trial = now + self._swayed(), False
            return
        if now - took - self._last > self._settings.window:
            self._count = 0
        self._last = now
        self._count += self._settings.weight if hung or took >= self._settings.slow else 1
        if self._count >= self._settings.failures:
            self._open(now)

    def broke(self, error: HoldfastError) -> None:
        """A stream that had been opened ended for want of bytes."""
        self._breaks += 1
        if self._until is None and self._breaks >= self._settings.failures:
            self.trouble = error.message
            self._open(self._clock.monotonic())

    def flowed(self) -> None:
        """A stream was read to its end."""
        self._breaks = 0

    def _open(self, now: float) -> None:
        self._until, self._breaks = now + self._swayed(), 0

    def _swayed(self) -> float:
        """Return the pause; longer or shorter by chance, if there is any."""
        return self._pause if self._chance is None else self._pause * self._chance.uniform(1, 1 + 2 * _SWAY)


def unanswered(error: BaseException | None, store: str) -> bool:
    """Tell whether `error` says that `store` gave no answer; one of another store, as while copying, does not."""
    return isinstance(error, UnavailableError | DeadlineError) and error.store in ("", store)
