"""Values that somebody else gives and that go out again in a request."""

from __future__ import annotations


def sendable(value: str) -> bool:
    """Return whether a header can carry `value`: printable ASCII, and something."""
    return bool(value) and value.isascii() and value.isprintable()
