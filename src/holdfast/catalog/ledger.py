"""Transactions of the ledger: what was asked of stores by day, and what they held, added up over all processes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import literal_column, select

from holdfast.catalog.schema import ledger, store_days
from holdfast.catalog.statements import Many, Statement, int_param, upsert_into
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.ledger import Daily, Entry, Holding

DAY = 86_400_000_000  #: microseconds
_NUMBERS = ("calls", "failed", "sent", "received")

ADD = upsert_into(
    ledger,
    "store",
    "day",
    "verb",
    *_NUMBERS,
    unique=("day", "store", "verb"),
    change={name: literal_column(f"ledger.{name} + excluded.{name}") for name in _NUMBERS},
)
HOLD = upsert_into(store_days, "store", "day", "bytes", "blobs", unique=("day", "store"))
DAYS = Statement(
    select(ledger)
    .where(ledger.c.day >= int_param("since"), ledger.c.day < int_param("until"))
    .order_by(ledger.c.day, ledger.c.store, ledger.c.verb)
)
HELD = Statement(
    select(store_days)
    .where(store_days.c.day >= int_param("since"), store_days.c.day < int_param("until"))
    .order_by(store_days.c.day, store_days.c.store)
)


def add(entries: Sequence[Entry], at: int) -> Transaction[None]:
    """Entries added to those of the day `at`. They are in the order of stores and verbs, so two who add do not lock each other out."""

    def steps(attempt: Attempt) -> Steps[None]:
        if attempt.again:  # better one count too few than twice the same
            return
        yield Many(ADD, [{**entry._asdict(), "day": at // DAY} for entry in sorted(entries)])

    return steps


def hold(held: Sequence[tuple[str, int, int]], at: int) -> Steps[None]:
    """What stores (name, blobs, bytes) hold on the day `at`: part of the transaction that keeps a measurement."""
    rows = [{"store": name, "day": at // DAY, "blobs": blobs, "bytes": size} for name, blobs, size in held]
    if rows:
        yield Many(HOLD, rows)


def days(since: int, until: int) -> Transaction[tuple[Sequence[Daily], Sequence[Holding]]]:
    """Entries and holdings of the days from `since`, before `until`, in order."""

    def steps(attempt: Attempt) -> Steps[tuple[Sequence[Daily], Sequence[Holding]]]:
        called = yield DAYS(since=since, until=until)
        held = yield HELD(since=since, until=until)
        entries = [
            Daily(int(day), Entry(store, verb, *(int(number) for number in numbers)))
            for day, store, verb, *numbers in called
        ]
        return entries, [Holding(row[1], int(row[0]), int(row[2]), int(row[3])) for row in held]

    return steps
