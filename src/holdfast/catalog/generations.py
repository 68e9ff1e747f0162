"""Counters of changes, so that processes which keep a copy of something notice that it is no longer what it was."""

from __future__ import annotations

from sqlalchemy import select

from holdfast.catalog.schema import generations
from holdfast.catalog.statements import Call, Statement, constant, text_param, upsert_into
from holdfast.catalog.transaction import Attempt, Steps, Transaction

GENERATION = Statement(select(generations.c.value).where(generations.c.name == text_param("of_name")))
_NEXT = upsert_into(
    generations,
    "name",
    "value",
    unique=("name",),
    change={"value": generations.c.value + constant(1)},
)
_PUT = upsert_into(generations, "name", "value", unique=("name",))


def raised(name: str, value: int) -> Call:
    """Return the call that says that `name` is in generation `value` now."""
    return _PUT(name=name, value=value)


def bumped(name: str) -> Call:
    """Return the call that counts one more change of `name`; for the transaction that makes the change."""
    return _NEXT(name=name, value=1)


def read(name: str) -> Steps[int]:
    """Return how often `name` has changed, inside another transaction."""
    rows = yield GENERATION(of_name=name)
    return int(rows[0][0]) if rows else 0


def generation(name: str) -> Transaction[int]:
    """How often `name` has changed; 0: never."""

    def steps(attempt: Attempt) -> Steps[int]:
        return (yield from read(name))

    return steps
