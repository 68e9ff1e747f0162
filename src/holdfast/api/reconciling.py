"""Versions that are not where they belong: shown, and brought home at once."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.listing import number
from holdfast.api.models import Name, decode, encode
from holdfast.core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.records import Debt
from holdfast.engine.engine import Engine
from holdfast.jobs.reconcile import ReconcileReport, owed, pay, walk
from holdfast.policy.access import decide
from holdfast.policy.lag import Lag


class ReconcileWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be brought home. `debts`: what is owed, and nothing else; otherwise versions are looked at one by one.

    `bucket` and `tenant` (the caller's own where it is missing) narrow it to one bucket. `limit` versions are looked at,
    about; `after` is that of the last answer.
    """

    debts: bool = False
    dry_run: bool = False
    bucket: Name = ""
    tenant: Name = ""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    after: Name = ""


class Move(Struct, frozen=True):
    """How many versions would go from these stores to those."""

    now: str
    wanted: str
    versions: int


class ReconcileAnswer(Struct, frozen=True):
    """What was done, or in a dry run would be. `after` is where to go on; "" when all was looked at."""

    dry_run: bool
    examined: int
    moved: int
    copied_blobs: int
    copied_bytes: int
    doomed_copies: int
    failed: int
    gone: int
    moves: list[Move]
    troubles: dict[str, int]
    after: str


class DebtInfo(Struct, frozen=True):
    """A version that is not where its rule wants it."""

    version_id: str
    tenant: str
    bucket: str
    key: str
    rule: str
    reason: str
    since: str
    tries: int
    not_before: str
    trouble: str


class DebtList(Struct, frozen=True):
    """One page of debts; `next_after` is the `after` of the next. `counts` are of all, by the reason."""

    debts: list[DebtInfo]
    next_after: str
    counts: dict[str, int]


class LagInfo(Struct, frozen=True):
    """What a store is behind. `oldest`: since when the oldest of these copies is owed, null when none is."""

    store: str
    copies: int
    bytes: int
    oldest: str | None
    oldest_seconds: float


class LagList(Struct, frozen=True):
    """What each store is behind."""

    stores: list[LagInfo]


async def show_lag(exchange: Exchange) -> None:
    """Answer with the copies that each store should have and does not have yet; with `store`, of that one."""
    found, now = await exchange.session.admin.lag()
    wanted = exchange.query.get("store", "")
    if wanted and wanted not in found:
        raise NotFoundError("there is no such store", store=wanted)
    rows = [lag_info(name, lag, now) for name, lag in found.items() if wanted in ("", name)]
    await exchange.answer_json(200, encode(LagList(rows)))


def lag_info(store: str, lag: Lag, now: int) -> LagInfo:
    """Return what a store is behind as answers show it."""
    if lag.since is None:
        return LagInfo(store, lag.copies, lag.bytes, None, 0.0)
    return LagInfo(store, lag.copies, lag.bytes, iso(lag.since), max(0, now - lag.since) / 1_000_000)


async def list_debts(exchange: Exchange) -> None:
    """Answer with versions that are not where they belong, of all tenants; for operators."""
    query = exchange.query
    limit = number(exchange, "limit", 100, least=1, most=1000)
    admin = exchange.session.admin
    found = await admin.debts(
        tenant=query.get("tenant", ""),
        bucket=query.get("bucket", ""),
        after=query.get("after", ""),
        limit=limit,
    )
    counts = {reason: debts.count for reason, debts in (await admin.debt_counts()).items()}
    after = found[-1].version_id if len(found) == limit else ""
    await exchange.answer_json(200, encode(DebtList([debt_info(debt) for debt in found], after, counts)))


def debt_info(debt: Debt) -> DebtInfo:
    """Return a debt as answers show it."""
    return DebtInfo(
        version_id=debt.version_id,
        tenant=debt.ref.tenant,
        bucket=debt.ref.bucket,
        key=debt.ref.key,
        rule=debt.rule,
        reason=debt.reason,
        since=iso(debt.since),
        tries=debt.tries,
        not_before=iso(debt.not_before),
        trouble=debt.trouble,
    )


class Reconciling:
    """Brings versions home when it is told to; the background does it by itself for what is owed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, exchange: Exchange) -> None:
        """Bring versions where the rules in force want them, or say what that would do; for operators.

        A long walk is made in several requests: each answers with where the next one begins.
        """
        decision = decide(exchange.principal, "operate")
        if not decision.allowed:
            raise PermissionDeniedError(decision.reason, operation="operate")
        wish = decode(ReconcileWish, await small_body(exchange, MAX_JSON))
        if wish.tenant and not wish.bucket:
            raise InvalidRequestError("name a bucket of that tenant, or neither")
        tenant = (wish.tenant or exchange.principal.tenant) if wish.bucket else ""
        if not wish.debts:
            report = await walk(
                self._engine,
                tenant=tenant,
                bucket=wish.bucket,
                after=wish.after,
                limit=wish.limit,
                dry_run=wish.dry_run,
            )
        elif wish.dry_run:
            report = await owed(self._engine, tenant=tenant, bucket=wish.bucket)
        elif wish.bucket:
            raise InvalidRequestError("debts are paid for all buckets; leave out the bucket, or debts")
        else:
            report = await pay(self._engine, hurry=True)
        await exchange.answer_json(200, encode(answer_of(report)))


def answer_of(report: ReconcileReport) -> ReconcileAnswer:
    """Return a report as answers show it."""
    moves = [Move(now, wanted, count) for (now, wanted), count in report.moves.most_common()]
    return ReconcileAnswer(
        dry_run=report.dry_run,
        examined=report.examined,
        moved=report.moved,
        copied_blobs=report.copied,
        copied_bytes=report.bytes,
        doomed_copies=report.doomed,
        failed=report.failed,
        gone=report.gone,
        moves=moves,
        troubles=dict(report.troubles.most_common(20)),
        after=report.after,
    )
