"""Transactions of pins: what was given up since a moment stays while somebody copies that moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, or_, select, update

from holdfast.catalog.common import NOW, is_readable
from holdfast.catalog.rows import REPLICA, replica_of
from holdfast.catalog.schema import pins, replicas
from holdfast.catalog.statements import Statement, constant, insert_into, int_param, one_of, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.records import Pin
from holdfast.core.types import Replica

#: A transaction may have asked the clock, and be committed, this much later (microseconds).
_BEFORE: Final = 120_000_000

PIN = Statement(select(pins.c.at, pins.c.until, pins.c.secret).where(pins.c.id == text_param("of_pin")))
ADD = insert_into(pins, "id", "at", "until", "secret", unless_there=True)
RENEW = Statement(
    update(pins)
    .where(pins.c.id == text_param("of_pin"))
    .values(until=int_param("new_until"))
    .returning(pins.c.id)
)
REMOVE = Statement(pins.delete().where(pins.c.id == text_param("of_pin")))
EXPIRED = Statement(pins.delete().where(pins.c.until <= int_param("at")))
#: All copies that were whole once, also those that were given up since.
COPIES = Statement(
    select(*REPLICA)
    .where(
        one_of(replicas.c.version_id, "ids"),
        or_(
            is_readable(replicas),
            and_(replicas.c.state == constant("doomed"), replicas.c.committed.is_not(None)),
        ),
    )
    .order_by(replicas.c.version_id, replicas.c.id)
)


def pin(id: str, *, lease: int, secret: str, now: int | None) -> Transaction[Pin]:
    """A pin on now, or the one that there is, kept for longer; pins that ran out are dropped."""

    def steps(attempt: Attempt) -> Steps[Pin]:
        at: int = (yield NOW(now=now))[0][0]
        yield EXPIRED(at=at)
        yield ADD(id=id, at=at - _BEFORE, until=at + lease, secret=secret)
        yield RENEW(of_pin=id, new_until=at + lease)
        return Pin(id, *(yield PIN(of_pin=id))[0])

    return steps


def renew_pin(id: str, *, lease: int, now: int | None) -> Transaction[Pin | None]:
    """A pin kept for longer; None when it ran out and is gone."""

    def steps(attempt: Attempt) -> Steps[Pin | None]:
        at: int = (yield NOW(now=now))[0][0]
        if not (yield RENEW(of_pin=id, new_until=at + lease)):
            return None
        return Pin(id, *(yield PIN(of_pin=id))[0])

    return steps


def unpin(id: str) -> Transaction[None]:
    """A pin given up."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield REMOVE(of_pin=id)

    return steps


def copies_of(version_ids: Sequence[str]) -> Transaction[Sequence[Replica]]:
    """The copies of versions, also of those that are gone, as long as their bytes are there."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        return [replica_of(row) for row in (yield COPIES(ids=list(version_ids)))]

    return steps
