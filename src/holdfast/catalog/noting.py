"""Transactions of the notes that drivers keep: read, compare-and-swap, list, and all away with their store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from holdfast.catalog.folding import BEYOND, successor
from holdfast.catalog.schema import store_notes
from holdfast.catalog.statements import Statement, int_param, text_param, upsert_into
from holdfast.catalog.transaction import Attempt, Lock, Steps, Transaction, request_lock

PAGE: Final = 500  #: notes that are listed at once

_COLUMNS: Final = ("store", "name", "value")
_KEY: Final = (store_notes.c.store == text_param("of_store")) & (store_notes.c.name == text_param("of_name"))
ONE = Statement(select(store_notes.c.value).where(_KEY))
PUT = upsert_into(store_notes, *_COLUMNS, unique=("store", "name"))
REMOVE = Statement(store_notes.delete().where(_KEY))
REMOVE_ALL = Statement(store_notes.delete().where(store_notes.c.store == text_param("of_store")))
SOME = Statement(
    select(store_notes.c.name, store_notes.c.value)
    .where(
        store_notes.c.store == text_param("of_store"),
        store_notes.c.name >= text_param("lower"),
        store_notes.c.name < text_param("upper"),
        store_notes.c.name > text_param("after"),
    )
    .order_by(store_notes.c.name)
    .limit(int_param("rows"))
)


def lock_of(store: str, name: str) -> Lock:
    """Return what is held while a note changes."""
    return request_lock(store, f"note {name}")


def note(store: str, name: str) -> Transaction[bytes | None]:
    """The value of a note."""

    def steps(attempt: Attempt) -> Steps[bytes | None]:
        return (yield from _read(store, name))

    return steps


def swap_note(store: str, name: str, old: bytes | None, new: bytes | None) -> Transaction[bool]:
    """Whether the note was `old`; it is `new` then. For whoever holds `lock_of`."""

    def steps(attempt: Attempt) -> Steps[bool]:
        held = yield from _read(store, name)
        if held != old:
            return attempt.again and held == new
        if new is None:
            yield REMOVE(of_store=store, of_name=name)
        else:
            yield PUT(store=store, name=name, value=new)
        return True

    return steps


def notes(store: str, prefix: str, after: str, limit: int) -> Transaction[Sequence[tuple[str, bytes]]]:
    """One page of notes."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[str, bytes]]]:
        upper = successor(prefix) if prefix else BEYOND
        rows = yield SOME(of_store=store, lower=prefix, upper=upper, after=after, rows=limit)
        return [(name, bytes(value)) for name, value in rows]

    return steps


def _read(store: str, name: str) -> Steps[bytes | None]:
    rows = yield ONE(of_store=store, of_name=name)
    return bytes(rows[0][0]) if rows else None
