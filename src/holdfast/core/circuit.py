"""The breaker of one store in one process: it stops asking what does not answer, and tries again after a pause.

`closed`: calls go through, and those that fail for want of an answer are counted as long as none succeeds between them.
`failures` of them in a row open it, and fewer of those that were waited for long: a call that hangs tells more than one
that is refused. `open`: calls are refused at once. After the pause it is `half-open`: one call goes through to find out;
its success closes the circuit, its failure opens it for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.core.clock import Clock
from holdfast.core.errors import DeadlineError, HoldfastError, UnavailableError


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
    """Counts what calls to `store` came to. Whoever calls says `enter`, and then one of `passed`, `left`, `failed`."""

    __slots__ = ("_clock", "_count", "_last", "_pause", "_settings", "_trial", "_until", "store", "trouble")

    def __init__(self, store: str, clock: Clock, settings: CircuitSettings = CircuitSettings()) -> None:
        self.store = store
        self.trouble = ""  #: what the last failure said
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
        return self._until is not None and (self._trial or self._clock.monotonic() < self._until)

    def enter(self, operation: str, name: str) -> bool:
        """Begin a call, and return whether it is the one that finds out if the store is back.

        Raises:
            UnavailableError: the store did not answer lately, and it is not time to ask again.
        """
        if self._until is None:
            return False
        left = self._until - self._clock.monotonic()
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
        self._until, self._count, self._trial = None, 0, False
        self._pause = self._settings.pause

    def left(self, trial: bool) -> None:
        """The call ended without showing whether the store answers."""
        if trial:
            self._trial = False

    def failed(self, error: HoldfastError, trial: bool, took: float = 0.0) -> None:
        """The store did not answer, and was waited for `took` seconds."""
        now = self._clock.monotonic()
        self.trouble = error.message
        if self._until is not None:
            if trial:
                self._pause = min(2 * self._pause, self._settings.longest)
                self._until, self._trial = now + self._pause, False
            return
        if now - took - self._last > self._settings.window:
            self._count = 0
        self._last = now
        self._count += self._settings.weight if took >= self._settings.slow else 1
        if self._count >= self._settings.failures:
            self._until = now + self._pause


def unanswered(error: BaseException | None, store: str) -> bool:
    """Tell whether `error` says that `store` gave no answer; one of another store, as while copying, does not."""
    return isinstance(error, UnavailableError | DeadlineError) and error.store in ("", store)
