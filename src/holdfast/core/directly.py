"""Reading from the store itself: whatever keeps copies nearer by steps aside, and keeps what it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_DIRECTLY: Final[ContextVar[bool]] = ContextVar("directly", default=False)


def reads_directly() -> bool:
    """Tell whether who asks wants the store's own bytes."""
    return _DIRECTLY.get()


@contextmanager
def directly() -> Iterator[None]:
    """Have every read that begins in the block, in this task, answered by the store itself."""
    token = _DIRECTLY.set(True)
    try:
        yield
    finally:
        _DIRECTLY.reset(token)
