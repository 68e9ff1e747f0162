"""Every kind of job, each in its own file. A new kind is one more line here."""

from __future__ import annotations

from holdfast.jobs.kinds import Kind, Kinds


def installed() -> Kinds:
    """Return all kinds."""
    kinds: list[Kind] = []
    return Kinds(kinds)
