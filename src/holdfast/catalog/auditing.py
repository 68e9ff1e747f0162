"""Transactions of the audit: rows still open, segments sealed from them, and what lies between for a reader."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from holdfast.catalog.chain import (
    NO_MAC,
    AuditHead,
    Chain,
    Line,
    Packed,
    Pruned,
    Sealed,
    entries_of,
    extended,
)
from holdfast.catalog.common import AUDIT, NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.rows import mapping_of
from holdfast.catalog.schema import audit, audit_heads, audit_segments, secrets
from holdfast.catalog.statements import Many, Row, Statement, insert_into, int_param, text_param, upsert_into
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import ConflictError, CorruptedError
from holdfast.core.types import AuditEntry

SYSTEM = ""  #: the tenant of what belongs to none
BEGUN = "audit-begin"  #: said in the system's audit of each audit that begins
KNOWN = "audit-known"  #: said of each there is, when the system's own is pruned
_MARK = "audit-begun:"  #: and a tenant: the name of the mark that its audit has begun, among the secrets

_OPEN = (
    *("id", "at", "principal", "action", "bucket", "key", "version_id", "request_id"),
    *("detail", "address", "bytes"),
)
_HEAD = ("segments", "records", "mac", "pruned_segments", "pruned_records", "pruned_mac", "seal")
_SEALED = ("number", "first", "count", "from_at", "to_at", "mac", "records")

OPEN = Statement(
    select(*[audit.c[name] for name in _OPEN])
    .where(audit.c.tenant == text_param("tenant"))
    .order_by(audit.c.id)
    .limit(int_param("rows"))
    .offset(int_param("skip"))
)
OPEN_TENANTS = Statement(select(audit.c.tenant).distinct())
TAKE = Statement(
    delete(audit)
    .where(
        audit.c.tenant == text_param("tenant"),
        audit.c.id >= int_param("lowest"),
        audit.c.id <= int_param("highest"),
    )
    .returning(audit.c.id)
)
_last = (
    select(func.max(audit_segments.c.number))
    .where(audit_segments.c.tenant == text_param("tenant"))
    .scalar_subquery()
)
HEAD = Statement(
    select(*[audit_heads.c[name] for name in _HEAD]).where(audit_heads.c.tenant == text_param("tenant"))
)
HEADS = Statement(select(audit_heads.c.tenant).order_by(audit_heads.c.tenant))
HEAD_PUT = upsert_into(audit_heads, "tenant", *_HEAD, unique=("tenant",))
LAST = Statement(select(_last))
SEGMENT_ADD = insert_into(audit_segments, "tenant", *_SEALED)
MAC = Statement(
    select(audit_segments.c.mac).where(
        audit_segments.c.tenant == text_param("tenant"), audit_segments.c.number == int_param("of_number")
    )
)
SEGMENTS = Statement(
    select(*[audit_segments.c[name] for name in _SEALED])
    .where(audit_segments.c.tenant == text_param("tenant"), audit_segments.c.number > int_param("after"))
    .order_by(audit_segments.c.number)
    .limit(int_param("rows"))
)
_start = (
    select(func.max(audit_segments.c.number))
    .where(audit_segments.c.tenant == text_param("tenant"), audit_segments.c.first <= int_param("record"))
    .scalar_subquery()
)
#: From the segment that holds `record` on, those with records of the time from `since` to `until`.
SEGMENTS_OF_TIME = Statement(
    select(*[audit_segments.c[name] for name in _SEALED])
    .where(
        audit_segments.c.tenant == text_param("tenant"),
        audit_segments.c.number >= func.coalesce(_start, int_param("least")),
        audit_segments.c.number > int_param("after"),
        audit_segments.c.to_at >= int_param("since"),
        audit_segments.c.from_at < int_param("until"),
    )
    .order_by(audit_segments.c.number)
    .limit(int_param("rows"))
)
#: The oldest segment that is to stay: the first with a record of `before` or later.
KEEP_FROM = Statement(
    select(func.min(audit_segments.c.number)).where(
        audit_segments.c.tenant == text_param("tenant"), audit_segments.c.to_at >= int_param("before")
    )
)
SEGMENTS_REMOVE = Statement(
    delete(audit_segments).where(
        audit_segments.c.tenant == text_param("tenant"), audit_segments.c.number <= int_param("last")
    )
)
RECORDS_UP_TO = Statement(
    select(audit_segments.c.first, audit_segments.c.count, audit_segments.c.mac).where(
        audit_segments.c.tenant == text_param("tenant"), audit_segments.c.number == int_param("last")
    )
)
MARKS = Statement(
    select(secrets.c.name).where(secrets.c.name >= text_param("least"), secrets.c.name < text_param("most"))
)
MARKED = Statement(select(secrets.c.value).where(secrets.c.name == text_param("of_name")))
MARK_PUT = upsert_into(secrets, "name", "value", "created", unique=("name",))

_FOREVER = 1 << 62


def _head_of(row: Row) -> AuditHead:
    segments, records, mac, pruned_segments, pruned_records, pruned_mac, seal = row
    return AuditHead(
        segments, records, _raw(mac), pruned_segments, pruned_records, _raw(pruned_mac), _raw(seal)
    )


def _sealed_of(row: Row) -> Sealed:
    number, first, count, from_at, to_at, mac, records = row
    return Sealed(number, first, count, from_at, to_at, _raw(mac), _raw(records))


def _raw(value: object) -> bytes:
    """Return what must be bytes; SQLite holds anything in any column, once somebody has put it there."""
    if not isinstance(value, bytes | memoryview):
        raise TypeError("the audit holds a value of a wrong kind")
    return bytes(value)


def _line_of(row: Row) -> Line:
    _, at, principal, action, bucket, key, version_id, request_id, detail, address, size = row
    return Line(
        at,
        principal,
        action,
        bucket,
        key,
        version_id,
        request_id,
        dict(mapping_of(detail)),
        address,
        bytes=size,
    )


# -- reading ------------------------------------------------------------------------------------------------------


def open_tenants() -> Transaction[Sequence[str]]:
    """Tenants that have rows which are not sealed."""

    def steps(attempt: Attempt) -> Steps[Sequence[str]]:
        return [row[0] for row in (yield OPEN_TENANTS())]

    return steps


def open_lines(tenant: str, limit: int) -> Transaction[tuple[Sequence[int], Sequence[Line]]]:
    """The oldest rows that are not sealed: their ids and what they say."""

    def steps(attempt: Attempt) -> Steps[tuple[Sequence[int], Sequence[Line]]]:
        rows = yield OPEN(tenant=tenant, rows=limit, skip=0)
        return [row[0] for row in rows], [_line_of(row) for row in rows]

    return steps


def heads() -> Transaction[Sequence[str]]:
    """Tenants that have an audit, or had one, as its mark says."""

    def steps(attempt: Attempt) -> Steps[Sequence[str]]:
        found = {row[0] for row in (yield HEADS())}
        rows = yield MARKS(least=_MARK, most=_MARK[:-1] + chr(ord(_MARK[-1]) + 1))
        return sorted(found | {row[0].removeprefix(_MARK) for row in rows})

    return steps


def mark(tenant: str) -> Transaction[bytes | None]:
    """What tells, apart from its chain, that an audit has begun; None when it has not."""

    def steps(attempt: Attempt) -> Steps[bytes | None]:
        rows = yield MARKED(of_name=_MARK + tenant)
        return _raw(rows[0][0]) if rows else None

    return steps


def head(tenant: str) -> Transaction[AuditHead | None]:
    """Where the chain stands; None when nothing was sealed."""

    def steps(attempt: Attempt) -> Steps[AuditHead | None]:
        rows = yield HEAD(tenant=tenant)
        return _head_of(rows[0]) if rows else None

    return steps


def segments(tenant: str, after: int, limit: int) -> Transaction[Sequence[Sealed]]:
    """Segments with a number greater than `after`."""

    def steps(attempt: Attempt) -> Steps[Sequence[Sealed]]:
        return [_sealed_of(row) for row in (yield SEGMENTS(tenant=tenant, after=after, rows=limit))]

    return steps


def page(tenant: str, after: int, limit: int, since: int, until: int) -> Transaction[Sequence[AuditEntry]]:
    """Records with a number greater than `after`: sealed ones, then open ones, none missed between the two."""

    def steps(attempt: Attempt) -> Steps[Sequence[AuditEntry]]:
        while True:
            before = yield HEAD(tenant=tenant)
            found = yield from _sealed_page(tenant, after, limit, since, until)
            if len(found) >= limit:
                return found[:limit]
            sealed = before[0][1] if before else 0
            skip = max(after - sealed, 0)
            rows = yield OPEN(tenant=tenant, rows=limit - len(found), skip=skip)
            if (yield HEAD(tenant=tenant)) == before:  # else rows may have moved while we looked
                numbered = enumerate(rows, start=sealed + skip + 1)
                entries = [_line_of(row).entry(tenant, number) for number, row in numbered]
                return [*found, *(entry for entry in entries if since <= entry.at < until)]

    return steps


def _sealed_page(tenant: str, after: int, limit: int, since: int, until: int) -> Steps[list[AuditEntry]]:
    found: list[AuditEntry] = []
    number = 0
    while len(found) < limit:
        rows = yield SEGMENTS_OF_TIME(
            tenant=tenant,
            record=after + 1,
            least=0,
            after=number,
            since=since,
            until=until,
            rows=max(1, min(8, limit // 100)),
        )
        if not rows:
            break
        for segment in map(_sealed_of, rows):
            number = segment.number
            found += [
                entry
                for entry in entries_of(tenant, segment)
                if entry.number > after and since <= entry.at < until
            ]
    return found


# -- sealing ------------------------------------------------------------------------------------------------------


def append(
    tenant: str, chain: Chain, packed: Sequence[Packed], taken: Sequence[int], now: int | None
) -> Transaction[AuditHead]:
    """New segments at the end of the chain; the open rows `taken`, which they hold, are gone with it.

    `ConflictError`: somebody took some of these rows first, or there are others between them; look again.
    """

    def steps(attempt: Attempt) -> Steps[AuditHead]:
        if attempt.again and (made := attempt.seen.get("head")):
            rows = yield MAC(tenant=tenant, of_number=made.segments)
            if rows and bytes(rows[0][0]) == made.mac:
                return made  # type: ignore[no-any-return]
        stood = yield from _standing(tenant, chain)
        if taken:
            rows = yield TAKE(tenant=tenant, lowest=taken[0], highest=taken[-1])
            if sorted(row[0] for row in rows) != list(taken):
                raise ConflictError("rows of the audit were sealed by somebody else", operation="seal")
        made_segments, made_head = extended(chain, stood or AuditHead(), packed)
        attempt.seen["head"] = made_head
        for segment in made_segments:
            yield SEGMENT_ADD(tenant=tenant, **_columns(segment))
        yield HEAD_PUT(tenant=tenant, **_head_columns(made_head))
        if stood is None:
            at = (yield NOW(now=now))[0][0]
            yield MARK_PUT(name=_MARK + tenant, value=chain.mark(), created=at)
            if tenant != SYSTEM:
                yield audited(at, SYSTEM, BEGUN, _SERVICE, detail={"of": tenant})
        return made_head

    return steps


def prune(tenant: str, chain: Chain, before: int, actor: Actor, now: int | None) -> Transaction[Pruned]:
    """The oldest segments gone, those whose records are all of a time before `before`; a row says so."""

    def steps(attempt: Attempt) -> Steps[Pruned]:
        if attempt.again and (done := attempt.seen.get("done")):
            rows = yield HEAD(tenant=tenant)
            if rows and _head_of(rows[0]).pruned_segments >= done[0]:
                return done[1]  # type: ignore[no-any-return]
        stood = yield from _standing(tenant, chain)
        kept = (yield KEEP_FROM(tenant=tenant, before=before))[0][0]
        last = 0 if stood is None else (stood.segments if kept is None else kept - 1)
        if stood is None or last <= stood.pruned_segments:
            return Pruned()
        rows = yield RECORDS_UP_TO(tenant=tenant, last=last)
        if not rows:
            raise CorruptedError(f"segment {last} of the audit is missing; run: holdfast audit verify")
        first, count, mac = rows[0]
        records = first + count - 1
        pruned = Pruned(last - stood.pruned_segments, records - stood.pruned_records)
        left = AuditHead(stood.segments, stood.records, stood.mac, last, records, bytes(mac))
        attempt.seen["done"] = (last, pruned)
        yield SEGMENTS_REMOVE(tenant=tenant, last=last)
        yield HEAD_PUT(tenant=tenant, **_head_columns(chain.sealed(left)))
        at = (yield NOW(now=now))[0][0]
        detail = {"before": str(before), "segments": str(pruned.segments), "records": str(pruned.records)}
        yield audited(at, tenant, "prune-audit", actor, detail=detail)
        yield from _remember_audits(tenant, at)
        return pruned

    return steps


def restart(tenant: str, chain: Chain, actor: Actor, now: int | None) -> Transaction[Pruned]:
    """What is sealed given up, whatever is wrong with it, so that sealing can go on; a row says so.

    Numbers are counted on from where the old chain claimed to be, so that none is used twice.
    """

    def steps(attempt: Attempt) -> Steps[Pruned]:
        rows = yield HEAD(tenant=tenant)
        stood = _head_of(rows[0]) if rows else AuditHead()
        last = (yield LAST(tenant=tenant))[0][0] or 0
        if attempt.again and not last and attempt.seen.get("head") == stood:
            return attempt.seen["given up"]  # type: ignore[no-any-return]
        number = max(_sane(stood.segments), _sane(last))
        record = _sane(stood.records)
        head = chain.sealed(AuditHead(number, record, NO_MAC, number, record, NO_MAC))
        given_up = Pruned(number - _sane(stood.pruned_segments), record - _sane(stood.pruned_records))
        attempt.seen.update({"head": head, "given up": given_up})
        yield SEGMENTS_REMOVE(tenant=tenant, last=_FOREVER)
        yield HEAD_PUT(tenant=tenant, **_head_columns(head))
        at = (yield NOW(now=now))[0][0]
        yield MARK_PUT(name=_MARK + tenant, value=chain.mark(), created=at)
        detail = {"segments": str(number), "records": str(record), "mac": stood.mac.hex()}
        yield audited(at, tenant, "restart-audit", actor, detail=detail)
        yield from _remember_audits(tenant, at)
        return given_up

    return steps


def _remember_audits(tenant: str, at: int) -> Steps[None]:
    """When the system's audit loses records: say again which audits have begun, so that none can vanish."""
    if tenant == SYSTEM:
        names = [row[0] for row in (yield HEADS()) if row[0] != SYSTEM]
        yield Many(
            AUDIT, [audited(at, SYSTEM, KNOWN, _SERVICE, detail={"of": name}).params for name in names]
        )


def _standing(tenant: str, chain: Chain) -> Steps[AuditHead | None]:
    """Return the head, after seeing that it is ours, that nothing lies behind it, and that it is not gone."""
    rows = yield HEAD(tenant=tenant)
    last = (yield LAST(tenant=tenant))[0][0] or 0
    stood = _head_of(rows[0]) if rows else None
    gone = stood is None and bool((yield MARKED(of_name=_MARK + tenant)))
    sound = chain.holds(stood) if stood is not None else last == 0 and not gone
    if not sound or last > (stood.segments if stood is not None else 0):
        raise CorruptedError(
            f"the audit of {tenant or 'the service'} was altered, or the secret is not the one that sealed it;"
            " look at it with: holdfast audit verify"
        )
    return stood


def _columns(segment: Sealed) -> dict[str, int | bytes]:
    return {name: getattr(segment, name) for name in _SEALED}


def _head_columns(head: AuditHead) -> dict[str, int | bytes]:
    return {name: getattr(head, name) for name in _HEAD}


def _sane(number: int) -> int:
    """Return a number that nobody vouches for, as one that can be counted on from."""
    return min(max(number, 0), 1 << 52)


_SERVICE = Actor("holdfast")
