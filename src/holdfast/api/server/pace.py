"""How fast bytes flow, looked at over one window after another."""

from __future__ import annotations


class Pace:
    """Counts bytes over windows of `window` seconds, in which at least `rate` bytes per second must pass."""

    __slots__ = ("_bytes", "_least", "_time", "_window")

    def __init__(self, window: float, rate: int, *, something: bool = False) -> None:
        self._window = window
        self._least = max(rate * window, 1 if something else 0)
        self.restart()

    def restart(self) -> None:
        """Begin a window."""
        self._bytes, self._time = 0, 0.0

    def add(self, count: int) -> None:
        """Count bytes."""
        self._bytes += count

    def lags(self, passed: float) -> bool:
        """Let time pass; True when a window ends in which too little came."""
        self._time += passed
        if self._time < self._window:
            return False
        slow = self._bytes < self._least * (self._time / self._window)
        self.restart()
        return slow
