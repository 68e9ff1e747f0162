"""Transactions of the stores that the catalog describes. Each that changes one counts in the generation `stores`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

import msgspec
from sqlalchemy import func, literal_column, select

from holdfast.catalog import generations, moving, noting
from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import replicas, rules, store_usage, stores
from holdfast.catalog.statements import Row, Statement, insert_into, text_param
from holdfast.catalog.transaction import Attempt, Lock, Steps, Transaction, request_lock
from holdfast.core.backend import StoreState
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.names import Layout
from holdfast.core.records import Connection

GENERATION: Final = "stores"
#: Who changes a store, or the rules that name stores, holds this.
LOCK: Final[Lock] = request_lock("", "stores")
COUNTED: Final = 1000  #: copies that are counted before "more than" is said
_SERVICE: Final = ""  #: the audit of what belongs to no tenant

_NAMES: Final = tuple(field.name for field in fields(Connection))
_COLUMNS: Final = tuple(stores.c[name] for name in _NAMES)
ADD = insert_into(stores, *_NAMES)
ONE = Statement(select(*_COLUMNS).where(stores.c.name == text_param("of_store")))
ALL = Statement(select(*_COLUMNS).order_by(stores.c.name))
REMOVE = Statement(stores.delete().where(stores.c.name == text_param("of_store")))
USE_REMOVE = Statement(store_usage.delete().where(store_usage.c.store == text_param("of_store")))
RULES = Statement(select(rules.c.name, rules.c.rule).order_by(rules.c.name))
HELD = Statement(
    select(func.count()).select_from(
        select(replicas.c.id)
        .where(replicas.c.store == text_param("of_store"))
        .limit(literal_column(str(COUNTED + 1)))
        .subquery()
    )
)

#: Says how a store changes, given what it is inside the transaction.
Change = Callable[[Connection], Connection]
_encode = msgspec.json.Encoder(order="deterministic").encode


def create_store(connection: Connection, *, actor: Actor) -> Transaction[Connection]:
    """A new store, as it is given."""

    def steps(attempt: Attempt) -> Steps[Connection]:
        before = yield ONE(of_store=connection.name)
        if before and attempt.again and store_of(before[0]) == connection:
            return connection
        if before:
            raise AlreadyExistsError("there is a store of that name", store=connection.name)
        yield ADD(**_row(connection))
        yield generations.bumped(GENERATION)
        detail = {"store": connection.name, "driver": connection.driver}
        yield audited(connection.created, _SERVICE, "create-store", actor, detail=detail)
        return connection

    return steps


def store(name: str) -> Transaction[Connection]:
    """One store."""

    def steps(attempt: Attempt) -> Steps[Connection]:
        return (yield from _read(name))

    return steps


def all_stores() -> Transaction[tuple[int, Sequence[Connection]]]:
    """The generation, and every store by name."""

    def steps(attempt: Attempt) -> Steps[tuple[int, Sequence[Connection]]]:
        generation = yield from generations.read(GENERATION)  # first: what is read is then never older
        rows = yield ALL()
        return generation, [store_of(row) for row in rows]

    return steps


def update_store(
    name: str,
    change: Change,
    *,
    action: str,
    detail: Mapping[str, str],
    actor: Actor,
    now: int | None,
) -> Transaction[Connection]:
    """A store changed; nothing is written, and nothing audited, where it is so already."""

    def steps(attempt: Attempt) -> Steps[Connection]:
        held = yield from _read(name)
        made = replace(change(held), name=name, created=held.created, updated=held.updated)
        if made == held:
            return held
        at = (yield NOW(now=now))[0][0]
        made = replace(made, updated=at)
        yield REMOVE(of_store=name)
        yield ADD(**_row(made))
        yield generations.bumped(GENERATION)
        yield audited(at, _SERVICE, action, actor, detail={"store": name, **detail})
        return made

    return steps


def retire_store(name: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """A store removed that takes nothing, holds nothing, and that no rule names."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield ONE(of_store=name)
        if not rows and attempt.again and "found" in attempt.seen:
            return
        if not rows:
            raise _missing(name)
        attempt.seen["found"] = True
        if store_of(rows[0]).active:
            raise ConflictError("the store takes new objects; deactivate it first", store=name)
        yield from _check_unused(name)
        yield REMOVE(of_store=name)
        yield USE_REMOVE(of_store=name)
        yield generations.bumped(GENERATION)
        at = (yield NOW(now=now))[0][0]
        yield noting.REMOVE_ALL(of_store=name)
        yield audited(at, _SERVICE, "retire-store", actor, detail={"store": name})

    return steps


def check_store_unused(name: str) -> Transaction[None]:
    """Nothing, where the store could be retired but for being active."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield from _read(name)
        yield from _check_unused(name)

    return steps


def _check_unused(name: str) -> Steps[None]:
    naming = yield from _naming(name)
    if naming:
        raise ConflictError(f"the rule {naming} names the store; change it first", store=name)
    if why := (yield from moving.naming(name)):
        raise ConflictError(why, store=name)
    held = int((yield HELD(of_store=name))[0][0])
    if held:
        count = f"more than {COUNTED} blobs" if held > COUNTED else f"{held} blob{'s' * (held > 1)}"
        raise ConflictError(
            f"the store holds {count}; drain it, or remove what is in it and wait for the sweep", store=name
        )


def store_of(row: Row) -> Connection:
    """Return the store of a row of `_COLUMNS`."""
    found = dict(zip(_NAMES, row, strict=True))
    return Connection(
        **{
            **found,
            "settings": msgspec.json.decode(found["settings"]),
            "labels": tuple(msgspec.json.decode(found["labels"])),
            "sealed": bytes(found["sealed"]),
            "layout": Layout(found["layout"]),
            "state": StoreState(found["state"]),
            "active": bool(found["active"]),
            "encrypt": bool(found["encrypt"]),
            "cache": bool(found["cache"]),
        }
    )


def _row(connection: Connection) -> dict[str, Any]:
    return {
        **{name: getattr(connection, name) for name in _NAMES},
        "settings": _encode(dict(connection.settings)).decode(),
        "labels": _encode(list(connection.labels)).decode(),
        "layout": connection.layout.value,
        "state": connection.state.value,
    }


def _read(name: str) -> Steps[Connection]:
    rows = yield ONE(of_store=name)
    if not rows:
        raise _missing(name)
    return store_of(rows[0])


def _missing(name: str) -> NotFoundError:
    return NotFoundError("there is no such store in the catalog", store=name)


def _naming(name: str) -> Steps[str]:
    """Return the first rule that names the store, "" when there is none."""
    for rule, text in (yield RULES()):
        said = msgspec.json.decode(text)
        if name in (*said.get("stores", ()), *said.get("fallback", ())):
            return str(rule)
    return ""
