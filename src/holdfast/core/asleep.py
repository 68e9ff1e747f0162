"""The error for what sleeps: a module of its own, since a kind of `errors` is one that a caller treats differently."""

from __future__ import annotations

from holdfast.core.errors import ConflictError


class AsleepError(ConflictError):
    """The blob is in an archive class of its store: nothing is wrong with it, but it has to be woken to be read."""
