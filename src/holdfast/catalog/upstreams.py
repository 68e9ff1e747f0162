"""Transactions of upstreams: attached, how far they are, and what was changed here that they do not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, literal_column, or_, select, update

from holdfast.catalog.common import BUCKET, audited, in_bucket, is_readable, no_bucket
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import buckets, debts, divergences, misses, replicas, upstreams, versions
from holdfast.catalog.snapped import refuse_snapped
from holdfast.catalog.statements import (
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.adopted import Divergence, Owing, Phase, Stranded, Upstream
from holdfast.core.errors import ConflictError, NotFoundError

MOST: Final = 100_000  #: rows that are counted at most; more are told as this many

_COLUMNS = tuple(
    upstreams.c[name]
    for name in (
        *("store", "prefix", "phase", "dual_write", "fresh", "keep", "attached"),
        *("passes", "passed", "verified", "differences", "bucket_id"),
    )
)
_OF_BUCKETS = upstreams.join(buckets, buckets.c.id == upstreams.c.bucket_id)
ONE = Statement(
    select(buckets.c.tenant, buckets.c.name, *_COLUMNS).select_from(_OF_BUCKETS).where(in_bucket())
)
ALL = Statement(
    select(buckets.c.tenant, buckets.c.name, *_COLUMNS)
    .select_from(_OF_BUCKETS)
    .where(or_(text_param("in_tenant") == literal_column("''"), buckets.c.tenant == text_param("in_tenant")))
    .order_by(upstreams.c.bucket_id)
)
ATTACH = insert_into(upstreams, *[column.name for column in upstreams.columns])
MARK = Statement(
    update(buckets).where(buckets.c.id == int_param("in_bucket")).values(upstream=text_param("as_what"))
)
_CHANGING = ("phase", "dual_write", "fresh", "passes", "passed", "verified", "differences")
CHANGE = Statement(
    update(upstreams)
    .where(upstreams.c.bucket_id == int_param("in_bucket"))
    .values({name: bindparam(f"new_{name}", type_=upstreams.c[name].type) for name in _CHANGING})
)
DETACH = Statement(upstreams.delete().where(upstreams.c.bucket_id == int_param("in_bucket")))
#: Tombstones stay: what was deleted here is not to come back when something is adopted again.
DROP_WRITES = Statement(
    divergences.delete().where(
        divergences.c.bucket_id == int_param("in_bucket"), divergences.c.version_id != constant("")
    )
)
DROP_MISSES = Statement(misses.delete().where(misses.c.bucket_id == int_param("in_bucket")))
DROP_DIVERGENCES = Statement(divergences.delete().where(divergences.c.bucket_id == int_param("in_bucket")))

_foreign = and_(
    replicas.c.store == text_param("of_store"),
    replicas.c.blob >= constant("@"),
    replicas.c.blob < constant("A"),
    is_readable(replicas),
)
_owed = select(debts.c.version_id).where(debts.c.version_id == versions.c.id).correlate(versions).exists()
#: What was adopted from the store before, and lies there still, is to leave it too.
OWE_ALL = Statement(
    debts.insert()
    .inline()
    .from_select(
        ["version_id", "bucket_id", "rule", "reason", "since", "tries", "not_before", "trouble"],
        select(
            versions.c.id,
            versions.c.bucket_id,
            constant(""),
            constant("adopted"),
            int_param("since"),
            literal_column("0"),
            int_param("since"),
            constant(""),
        ).where(
            versions.c.bucket_id == int_param("in_bucket"),
            versions.c.pin.is_not(None),
            select(replicas.c.id)
            .where(replicas.c.version_id == versions.c.id, _foreign)
            .correlate(versions)
            .exists(),
            ~_owed,
        ),
        include_defaults=False,
    )
)
_other = replicas.alias("other")
#: Versions of any bucket whose bytes are only where others wrote them. Debts of the bucket itself are counted elsewhere.
STRANDED = Statement(
    select(buckets.c.tenant, buckets.c.name, versions.c.key, versions.c.id, replicas.c.blob, replicas.c.id)
    .select_from(
        replicas.join(versions, versions.c.id == replicas.c.version_id).join(
            buckets, buckets.c.id == versions.c.bucket_id
        )
    )
    .where(
        _foreign,
        replicas.c.blob >= text_param("after"),
        or_(replicas.c.blob > text_param("after"), replicas.c.id > text_param("after_id")),
        ~select(_other.c.id)
        .where(
            _other.c.version_id == replicas.c.version_id,
            _other.c.segment_id == replicas.c.segment_id,
            _other.c.state == constant("live"),
            or_(
                _other.c.store != replicas.c.store,
                _other.c.blob < constant("@"),
                _other.c.blob >= constant("A"),
            ),
        )
        .correlate(replicas)
        .exists(),
        or_(versions.c.bucket_id != int_param("in_bucket"), ~_owed),
    )
    .order_by(replicas.c.blob, replicas.c.id)
    .limit(int_param("rows"))
)
_DIVERGENCE = tuple(
    divergences.c[name]
    for name in (
        *("key", "version_id", "at", "pin", "modified", "owed"),
        *("tries", "not_before", "trouble", "sent"),
    )
)
DIVERGED = Statement(
    select(*_DIVERGENCE).where(
        divergences.c.bucket_id == int_param("in_bucket"), one_of(divergences.c.key, "keys")
    )
)
OWED_PAGE = Statement(
    select(*_DIVERGENCE)
    .where(
        divergences.c.bucket_id == int_param("in_bucket"),
        divergences.c.key > text_param("after"),
        divergences.c.owed.is_(True),
        divergences.c.not_before <= int_param("due"),
    )
    .order_by(divergences.c.key)
    .limit(int_param("rows"))
)
_due_out = (
    select(divergences.c.key)
    .where(
        divergences.c.bucket_id == int_param("in_bucket"),
        divergences.c.owed.is_(True),
        divergences.c.not_before <= int_param("due"),
    )
    .order_by(divergences.c.key)
    .limit(int_param("rows"))
)
#: Nobody else takes them before the lease ends, whatever becomes of the key meanwhile (see `diverging.DIVERGE`).
TAKE = Statement(
    update(divergences)
    .where(
        divergences.c.bucket_id == int_param("in_bucket"),
        divergences.c.key.in_(_due_out),
        divergences.c.owed.is_(True),
        divergences.c.not_before <= int_param("due"),
    )
    .values(not_before=int_param("until"))
    .returning(*_DIVERGENCE)
)
#: What changed again while it was written out is due at once. What is there is then ours, and no later change of others.
RELEASE = Statement(
    update(divergences)
    .where(divergences.c.bucket_id == int_param("in_bucket"), divergences.c.key == text_param("of_key"))
    .values(
        not_before=int_param("at"),
        pin=text_param("its_pin"),
        modified=int_param("its_time"),
        sent=constant(""),
    )
)
#: A later change of the key leaves it as it is (see `diverging.DIVERGE`).
SEND = Statement(
    update(divergences)
    .where(divergences.c.bucket_id == int_param("in_bucket"), divergences.c.key == text_param("of_key"))
    .values(sent=text_param("content"))
)
_THIS = (
    divergences.c.bucket_id == int_param("in_bucket"),
    divergences.c.key == text_param("of_key"),
    divergences.c.version_id == text_param("of_version"),
    divergences.c.at == int_param("since"),
)
#: The next change of the key is due at once.
SETTLE = Statement(
    update(divergences)
    .where(*_THIS)
    .values(
        owed=literal_column("false"),
        not_before=literal_column("0"),
        pin=text_param("its_pin"),
        modified=int_param("its_time"),
        trouble=constant(""),
        sent=constant(""),
    )
    .returning(divergences.c.key)
)
POSTPONE = Statement(
    update(divergences)
    .where(*_THIS)
    .values(tries=divergences.c.tries + constant(1), not_before=int_param("until"), trouble=text_param("why"))
)
HURRY = Statement(
    update(divergences)
    .where(divergences.c.bucket_id == int_param("in_bucket"), divergences.c.not_before > int_param("at"))
    .values(not_before=int_param("at"))
)
_counted = (
    select(divergences.c.at, divergences.c.trouble)
    .where(divergences.c.bucket_id == int_param("in_bucket"), divergences.c.owed.is_(True))
    .limit(literal_column(str(MOST)))
    .subquery()
)
OWED = Statement(
    select(func.count(), func.min(_counted.c.at), func.max(_counted.c.trouble)).select_from(_counted)
)


def one(tenant: str, bucket: str) -> Transaction[Upstream | None]:
    """What a bucket follows; None when it follows nothing."""

    def steps(attempt: Attempt) -> Steps[Upstream | None]:
        rows = yield ONE(tenant=tenant, bucket=bucket)
        if rows:
            return upstream_of(rows[0])
        if not (yield BUCKET(tenant=tenant, bucket=bucket, now=0)):
            raise no_bucket(bucket)
        return None

    return steps


def each(tenant: str) -> Transaction[Sequence[Upstream]]:
    """What buckets follow: those of a tenant, or all ("")."""

    def steps(attempt: Attempt) -> Steps[Sequence[Upstream]]:
        return [upstream_of(row) for row in (yield ALL(in_tenant=tenant))]

    return steps


def attach(wish: Upstream, *, actor: Actor, now: int | None) -> Transaction[Upstream]:
    """A bucket follows a store from now on."""

    def steps(attempt: Attempt) -> Steps[Upstream]:
        rows = yield BUCKET(tenant=wish.tenant, bucket=wish.bucket, now=now)
        if not rows:
            raise no_bucket(wish.bucket)
        found = yield ONE(tenant=wish.tenant, bucket=wish.bucket)
        if found:
            held = upstream_of(found[0])
            if attempt.again and replace(held, attached=0, bucket_id=0) == replace(wish, attached=0):
                return held
            raise ConflictError(
                f"the bucket follows store {held.store!r} already; detach it first", name=wish.bucket
            )
        yield from refuse_snapped(rows[0][0], wish.bucket, "its upstream brings old times")
        made = replace(wish, attached=rows[0][3], bucket_id=rows[0][0])
        yield ATTACH(
            bucket_id=made.bucket_id,
            store=made.store,
            prefix=made.prefix,
            phase=made.phase.value,
            dual_write=made.dual_write,
            fresh=made.fresh,
            keep=made.keep,
            attached=made.attached,
            passes=0,
            passed=None,
            verified=None,
            differences=None,
        )
        yield MARK(in_bucket=made.bucket_id, as_what="attached")
        yield OWE_ALL(in_bucket=made.bucket_id, of_store=made.store, since=made.attached)
        yield _told(made, "attach-upstream", made.attached, actor)
        return made

    return steps


def change(
    tenant: str,
    bucket: str,
    *,
    phase: Phase | None = None,
    dual_write: bool | None = None,
    fresh: bool | None = None,
    passed: bool = False,
    differences: int | None = None,
    unowed: bool = False,
    actor: Actor,
    now: int | None,
) -> Transaction[Upstream]:
    """Another phase or way; `passed` counts a pass that has ended, `differences` is what a comparison found.

    `unowed` refuses while something is owed to the upstream that it is to be given.
    """

    def steps(attempt: Attempt) -> Steps[Upstream]:
        found = yield ONE(tenant=tenant, bucket=bucket)
        if not found:
            raise NotFoundError("the bucket follows no store; attach one first", name=bucket)
        held = upstream_of(found[0])
        at: int = (yield BUCKET(tenant=tenant, bucket=bucket, now=now))[0][3]
        if unowed and held.writes and (yield OWED(in_bucket=held.bucket_id))[0][0]:
            raise ConflictError(
                "changes are still to be written out; see the status, and try again", name=bucket
            )
        made = replace(
            held,
            phase=phase or held.phase,
            dual_write=held.dual_write if dual_write is None else dual_write,
            fresh=held.fresh if fresh is None else fresh,
            passes=held.passes + int(passed),
            passed=at if passed else held.passed,
            verified=held.verified if differences is None else at,
            differences=held.differences if differences is None else differences,
        )
        yield CHANGE(
            in_bucket=made.bucket_id,
            **{f"new_{name}": getattr(made, name) for name in _CHANGING if name != "phase"},
            new_phase=made.phase.value,
        )
        if (made.phase, made.dual_write, made.fresh) != (held.phase, held.dual_write, held.fresh):
            if made.writes and not held.writes:
                yield HURRY(in_bucket=made.bucket_id, at=at)
            yield _told(made, f"upstream-{made.phase}", at, actor)
        return made

    return steps


def detach(tenant: str, bucket: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """A bucket follows nothing any more; what was deleted here stays known."""

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield ONE(tenant=tenant, bucket=bucket)
        if not found:
            if attempt.again:
                return
            raise NotFoundError("the bucket follows no store", name=bucket)
        held = upstream_of(found[0])
        at: int = (yield BUCKET(tenant=tenant, bucket=bucket, now=now))[0][3]
        for statement in (DETACH, DROP_WRITES, DROP_MISSES):
            yield statement(in_bucket=held.bucket_id)
        yield MARK(in_bucket=held.bucket_id, as_what="adopted")
        yield _told(held, "detach-upstream", at, actor)

    return steps


def forget_bucket(bucket_id: int) -> Steps[None]:
    """Drop all that is known of a bucket that is removed."""
    for statement in (DETACH, DROP_DIVERGENCES, DROP_MISSES):
        yield statement(in_bucket=bucket_id)


def owed_page(bucket_id: int, after: str, limit: int, due: int) -> Transaction[Sequence[Divergence]]:
    """Changes that the upstream does not have, and that are to be tried by then, by key."""

    def steps(attempt: Attempt) -> Steps[Sequence[Divergence]]:
        rows = yield OWED_PAGE(in_bucket=bucket_id, after=after, rows=limit, due=due)
        return [divergence_of(row) for row in rows]

    return steps


def take(bucket_id: int, limit: int, lease: int, now: int) -> Transaction[Sequence[Divergence]]:
    """Changes that are due to be written out, taken so that nobody else does it meanwhile."""

    def steps(attempt: Attempt) -> Steps[Sequence[Divergence]]:
        rows = yield TAKE(in_bucket=bucket_id, due=now, rows=limit, until=now + lease)
        return sorted((divergence_of(row) for row in rows), key=lambda each: each.key)

    return steps


def send(bucket_id: int, key: str, content: str) -> Transaction[None]:
    """A content that is about to be written out, so that it is known for ours should nobody live to settle it."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield SEND(in_bucket=bucket_id, of_key=key, content=content)

    return steps


def settle(bucket_id: int, paid: Divergence, pin: str, modified: int, now: int) -> Transaction[bool]:
    """A change that the upstream has now, and what it calls it; whether nothing else came in between."""

    def steps(attempt: Attempt) -> Steps[bool]:
        rows = yield SETTLE(**_this(bucket_id, paid), its_pin=pin, its_time=modified)
        if not rows:
            yield RELEASE(in_bucket=bucket_id, of_key=paid.key, at=now, its_pin=pin, its_time=modified)
        return bool(rows)

    return steps


def postpone(bucket_id: int, owed: Divergence, until: int, trouble: str) -> Transaction[None]:
    """A change that could not be written out, to be tried again later."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield POSTPONE(**_this(bucket_id, owed), until=until, why=trouble)

    return steps


def owing(bucket_id: int) -> Transaction[Owing]:
    """How many changes the upstream does not have, and since when."""

    def steps(attempt: Attempt) -> Steps[Owing]:
        count, since, trouble = (yield OWED(in_bucket=bucket_id))[0]
        return Owing(int(count), since, trouble or "")

    return steps


def stranded(upstream: Upstream, after: tuple[str, str], limit: int) -> Transaction[Sequence[Stranded]]:
    """Versions of any bucket whose bytes are only in the store of an upstream, as others wrote them, by blob."""

    def steps(attempt: Attempt) -> Steps[Sequence[Stranded]]:
        of = {"of_store": upstream.store, "in_bucket": upstream.bucket_id}
        rows = yield STRANDED(**of, after=after[0], after_id=after[1], rows=limit)
        return [Stranded(*row) for row in rows]

    return steps


def upstream_of(row: Row) -> Upstream:
    """Return the upstream of a row of `ONE` or `ALL`."""
    tenant, bucket, store, prefix, phase, dual, fresh, keep, attached, *rest = row
    return Upstream(
        *(tenant, bucket, store, prefix, Phase(phase), bool(dual), bool(fresh), bool(keep), attached), *rest
    )


def divergence_of(row: Row) -> Divergence:
    """Return the divergence of a row of `DIVERGED` or `OWED_PAGE`."""
    key, version_id, at, pin, modified, owed, *rest = row
    return Divergence(key, version_id, at, pin, modified, bool(owed), *rest)


def _this(bucket_id: int, divergence: Divergence) -> Mapping[str, Any]:
    return {
        "in_bucket": bucket_id,
        "of_key": divergence.key,
        "of_version": divergence.version_id,
        "since": divergence.at,
    }


def _told(upstream: Upstream, action: str, at: int, actor: Actor) -> Any:
    detail = {
        "store": upstream.store,
        "prefix": upstream.prefix,
        "dual_write": str(upstream.dual_write).lower(),
    }
    return audited(at, upstream.tenant, action, actor, bucket=upstream.bucket, detail=detail)
