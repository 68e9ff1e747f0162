"""What one part of a process tells the others at once: that there is work to do. Rows say so too, only later."""

from __future__ import annotations

from collections.abc import Callable

Heard = Callable[[str], None]


class News:
    """Whoever listens in this process is told of jobs that may be worked on."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[Heard] = []

    def hear(self, listener: Heard) -> Callable[[], None]:
        """Tell `listener` from now on; call what is returned to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, job_id: str) -> None:
        """Say that this job may be worked on."""
        for listener in tuple(self._listeners):
            listener(job_id)
