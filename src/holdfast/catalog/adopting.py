"""Transactions of adoption: what others wrote gets rows, some hundred objects at a time.

A version that is adopted has one live copy, whose blob is named after the content (`core.adopted`), so that reading it
either gives that content or says that it is gone. What is here already is judged in the transaction, under the bucket's
lock held alone: whatever was looked up before may have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import func, null, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import (
    DAY,
    INLINE_GRACE,
    IS_LABELLED,
    OBJECT_PUT,
    VERSION_ADD,
    Head,
    audited,
    check_removable,
    counted,
    in_bucket,
    is_readable,
    no_bucket,
    removed,
)
from holdfast.catalog.contract import Actor, NewVersion, Owed
from holdfast.catalog.diverging import CONVERGE
from holdfast.catalog.owing import OWE, debt_row
from holdfast.catalog.rows import version_params
from holdfast.catalog.schema import buckets, debts, findings, replicas, upstreams, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.statements import (
    Batch,
    Call,
    Many,
    Statement,
    catalog_now,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.terms import TERMS_ADD, terms_of
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.upstreams import DIVERGED, divergence_of
from holdfast.core.adopted import (
    Candidate,
    HeldKey,
    Hold,
    Judge,
    Outcome,
    Phase,
    Taken,
    Taking,
    Verdict,
    Way,
    foreign_name,
    is_foreign,
)
from holdfast.core.errors import ConflictError
from holdfast.core.names import BACKUPS, is_minted
from holdfast.core.types import ObjectRef, Segment

#: The bucket, and what it follows; none of the last when it follows nothing.
STATE = Statement(
    select(
        buckets.c.id,
        buckets.c.versioning,
        buckets.c.metered,
        buckets.c.settings,
        catalog_now().label("now"),
        buckets.c.upstream,
        upstreams.c.store,
        upstreams.c.phase,
        upstreams.c.dual_write,
        buckets.c.snapped,
    )
    .select_from(buckets.outerjoin(upstreams, upstreams.c.bucket_id == buckets.c.id))
    .where(in_bucket())
)
_older = versions.alias("older")
_NEWEST = (
    select(func.max(_older.c.seq))
    .where(_older.c.bucket_id == versions.c.bucket_id, _older.c.key == versions.c.key)
    .correlate(versions)
    .scalar_subquery()
)
_IS_OWED = (
    select(debts.c.version_id)
    .where(debts.c.version_id == versions.c.id)
    .correlate(versions)
    .exists()
    .label("owed")
)
HEADS = Statement(
    select(
        versions.c.key,
        versions.c.seq,
        versions.c.id,
        versions.c.size,
        versions.c.etag,
        versions.c.created,
        versions.c.delete_marker,
        versions.c.pieces,
        IS_LABELLED.label("labelled"),
        versions.c.hold,
        versions.c.locked_until,
        versions.c.pin,
        _IS_OWED,
    ).where(
        versions.c.bucket_id == int_param("in_bucket"),
        one_of(versions.c.key, "keys"),
        versions.c.seq == _NEWEST,
    )
)
TAKEN = Statement(
    select(replicas.c.blob, replicas.c.id, replicas.c.state, replicas.c.version_id).where(
        replicas.c.store == text_param("of_store"), one_of(replicas.c.blob, "blobs")
    )
)
#: What was told of as bytes that no row knows is known from now on. A removal that comes first makes a row; one that
#: comes after finds another state.
LEAVE = Statement(
    update(findings)
    .where(
        findings.c.store == text_param("of_store"),
        one_of(findings.c.blob, "blobs"),
        findings.c.kind == constant("dark"),
        findings.c.state != constant("removed"),
    )
    .values(state=constant("released"), until=null())
)
FORGET = Statement(
    replicas.delete().where(one_of(replicas.c.id, "ids"), replicas.c.state == constant("doomed"))
)
BLOBS = Statement(
    select(replicas.c.blob).where(replicas.c.version_id == text_param("of_version"), is_readable(replicas))
)
REPLICA_ADD = insert_into(
    replicas,
    *("version_id", "id", "segment_id", "store", "blob", "size", "state", "copy_number", "committed"),
)
REMEMBER = Statement(
    update(buckets)
    .where(buckets.c.id == int_param("in_bucket"), buckets.c.upstream == constant(""))
    .values(upstream=constant("adopted"))
)
#: The head of a key that has no version.
NO_HEAD: Final = Head(
    bucket_id=0,
    versioning=False,
    metered=False,
    settings="",
    clock=0,
    seq=None,
    version_id=None,
    size=0,
    etag="",
    created=0,
    delete_marker=False,
    pieces=0,
    labelled=False,
    hold=None,
    locked_until=None,
    upstream="",
    pin=None,
    snapped=None,
)


@dataclass(frozen=True, slots=True)
class _Place:
    """The bucket that takes over, as the transaction found it."""

    ref: ObjectRef  #: of no key
    taking: Taking
    head: Head  #: of no key: what is said of the bucket
    way: Way
    grace: int


@dataclass(slots=True)
class _Work:
    """What a transaction adds and removes."""

    rows: dict[Statement, list[Mapping[str, Any]]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    objects: int = 0
    versions: int = 0
    bytes: int = 0

    def add(self, statement: Statement, **row: Any) -> None:
        self.rows.setdefault(statement, []).append(row)


def held(tenant: str, bucket: str, keys: Sequence[str]) -> Transaction[Mapping[str, HeldKey]]:
    """What is here of these keys; nothing of a key means that there was never anything."""

    def steps(attempt: Attempt) -> Steps[Mapping[str, HeldKey]]:
        state = yield STATE(tenant=tenant, bucket=bucket, now=0)
        if not state:
            raise no_bucket(bucket)
        heads, diverged = yield from _known(state[0][0], keys)
        found = {key: _held(key, heads.get(key), diverged.get(key)) for key in {*heads, *diverged}}
        return found

    return steps


def _known(bucket_id: int, keys: Sequence[str]) -> Steps[tuple[dict[str, Any], dict[str, Any]]]:
    heads = {row[0]: row for row in (yield HEADS(in_bucket=bucket_id, keys=list(keys)))}
    diverged = {row[0]: row for row in (yield DIVERGED(in_bucket=bucket_id, keys=list(keys)))}
    return heads, diverged


def _held(key: str, head: Any, diverged: Any) -> HeldKey:
    divergence = None if diverged is None else divergence_of(diverged)
    if head is None:
        return HeldKey(key, divergence=divergence)
    return HeldKey(key, head[2], head[5], head[11] or "", bool(head[6]), bool(head[12]), divergence)


def take(
    tenant: str,
    bucket: str,
    taking: Taking,
    candidates: Sequence[Candidate],
    *,
    judge: Judge,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Sequence[Taken]]:
    """Rows for what was found, where it is newer than what is here; what became of each, in order."""

    def steps(attempt: Attempt) -> Steps[Sequence[Taken]]:
        place = yield from _place(tenant, bucket, taking, grace, now)
        at = place.head.bucket_id
        heads, diverged = yield from _known(at, [each.found.key for each in candidates])
        judged = []
        for each in candidates:
            known = _held(each.found.key, heads.get(each.found.key), diverged.get(each.found.key))
            judged.append((each, known, _judged(each, known, place, judge)))
        going = [each for each, _, taken in judged if taken.outcome is Outcome.TAKEN]
        if told := [name for each in going for name in _ours(each.found.name)]:  # before rows are asked for
            yield LEAVE(of_store=taking.store, blobs=told)
        rows = yield TAKEN(of_store=taking.store, blobs=_names(going))
        occupied: dict[str, list[Any]] = {}
        for row in rows:
            occupied.setdefault(row[0], []).append(row)
        work, results = _Work(), []
        for each, known, taken in judged:
            if taken.outcome is Outcome.TAKEN:
                taken = yield from _take(place, each, known, heads.get(known.key), occupied, work)
            results.append(taken)
        yield from _write(place, work, actor)
        return results

    return steps


def _place(tenant: str, bucket: str, taking: Taking, grace: int, now: int | None) -> Steps[_Place]:
    rows = yield STATE(tenant=tenant, bucket=bucket, now=now)
    if not rows:
        raise no_bucket(bucket)
    id_, versioning, metered, settings, at, upstream, store, phase, dual, snapped = rows[0]
    if snapped is not None:
        raise ConflictError(
            "the bucket has snapshots, and what is adopted keeps its old times; adopt into another bucket",
            name=bucket,
        )
    if taking.follows and (store != taking.store or phase == Phase.CUTOVER):
        raise ConflictError("the bucket does not follow that store any more", name=bucket)
    head = NO_HEAD._replace(
        bucket_id=id_,
        versioning=bool(versioning),
        metered=bool(metered),
        settings=settings,
        clock=at,
        upstream=upstream,
    )
    if not taking.follows and store == taking.store and phase != Phase.CUTOVER:
        taking = replace(taking, rule="")  # the bucket is to leave that store
    way = Way(taking.follows, (bool(dual) or phase == Phase.BACK) and not taking.later)
    return _Place(ObjectRef(tenant, bucket, ""), taking, head, way, grace)


def _judged(each: Candidate, known: HeldKey, place: _Place, judge: Judge) -> Taken:
    found = each.found
    verdict = judge(found, known, place.way, certain=each.over == known.version_id)
    outcome = {
        Verdict.TAKE: Outcome.TAKEN,
        Verdict.SAME: Outcome.SAME,
        Verdict.OURS: Outcome.OURS,
        Verdict.LOOK: Outcome.RACED,
    }[verdict]
    return Taken(found.key, outcome, known.version_id)


def _names(candidates: Sequence[Candidate]) -> list[str]:
    """Return the names under which what is to be taken may be known already, ours among them."""
    names = []
    for each in candidates:
        found = each.found
        names += [foreign_name(found.name, found.pin, hold) for hold in (Hold.KEEP, Hold.OWN)]
        names += _ours(found.name)
    return names


def _ours(name: str) -> list[str]:
    """Return the name of the blob that `name` looks like, if it looks like one that was minted here."""
    plain = name.removesuffix(" ")  # as keys end at servers that keep folders
    return [plain, plain.removesuffix(":about")] if is_minted(plain.rpartition("/")[2]) else []


def _take(
    place: _Place, each: Candidate, known: HeldKey, head: Any, occupied: Mapping[str, Any], work: _Work
) -> Steps[Taken]:
    found, taking = each.found, place.taking
    if found.name.startswith(BACKUPS) or any(name in occupied for name in _ours(found.name)):
        return Taken(found.key, Outcome.MINTED)
    blob = foreign_name(found.name, found.pin, Hold.KEEP if taking.keep else Hold.OWN)
    known_as = [(hold, foreign_name(found.name, found.pin, hold)) for hold in (Hold.KEEP, Hold.OWN)]
    for hold, row in [(hold, row) for hold, name in known_as for row in occupied.get(name, ())]:
        going = row[2] == "doomed"
        if not going or hold is Hold.OWN:
            why = (
                "is about to be deleted, as it was here" if going else "was adopted already as another object"
            )
            return Taken(found.key, Outcome.REFUSED, reason=f"{found.name[:200]!r} {why}")
        work.forget.append(row[1])
    try:
        if head is not None:
            yield from _replace(place, head, work)
    except ConflictError as error:
        return Taken(found.key, Outcome.REFUSED, reason=error.message)
    _add(place, each, blob, 1 if head is None else head[1] + 1, work)
    if known.divergence is not None:
        work.calls.append(CONVERGE(in_bucket=place.head.bucket_id, of_key=found.key))
    work.objects += 1 if head is None or head[6] else 0
    replaced = head is not None and not head[6]
    return Taken(found.key, Outcome.CHANGED if replaced else Outcome.TAKEN, each.version_id)


def _replace(place: _Place, head: Any, work: _Work) -> Steps[None]:
    """Remove the newest version of a key, unless its bucket keeps versions and somebody has its bytes still."""
    key, seq, version_id, size, _, _, marker, pieces, labelled, hold, locked_until, *_ = head
    if place.head.versioning:
        if marker:
            return
        blobs = [row[0] for row in (yield BLOBS(of_version=version_id))]
        if not blobs or not all(is_foreign(blob) for blob in blobs):
            return
    check_removable(f"{place.ref.bucket}/{key}", hold, locked_until, place.head.clock)
    work.calls += removed(
        place.head.bucket_id,
        key,
        seq=seq,
        version_id=version_id,
        pieces=pieces,
        labelled=bool(labelled),
        delete_marker=bool(marker),
        delete_from=place.head.clock + place.grace,
        inline_from=place.head.clock + min(place.grace, INLINE_GRACE),
    )
    if not marker:
        work.versions -= 1
        work.bytes -= size


def _add(place: _Place, each: Candidate, blob: str, seq: int, work: _Work) -> None:
    found, head, id_ = each.found, place.head, each.version_id
    days = bucket_settings(head.settings).retention_days
    version = NewVersion(
        id_,
        replace(place.ref, key=found.key),
        found.size,
        found.pin,
        (Segment(id_, found.size),),
        found.content_type,
        found.metadata,
        found.tags,
        expires=None if days is None else found.modified + days * DAY,
        pin=found.pin,
    )
    row = version_params(version, head.bucket_id, seq=seq, created=found.modified)
    work.add(VERSION_ADD, **{**row, **head.lock})
    at = {"bucket_id": head.bucket_id, "key": found.key, "version_id": id_}
    work.add(OBJECT_PUT, **at, seq=seq, generation=1)
    work.add(
        REPLICA_ADD,
        version_id=id_,
        id=each.replica_id,
        segment_id=id_,
        store=place.taking.store,
        blob=blob,
        size=found.size,
        state="live",
        copy_number=0,
        committed=head.now,
    )
    if found.metadata or found.tags:
        terms = terms_of(found.metadata, found.tags)
        work.calls.append(TERMS_ADD(in_bucket=head.bucket_id, of_key=found.key, of_version=id_, terms=terms))
    if place.taking.rule is not None:
        work.add(OWE, **debt_row(id_, head.bucket_id, Owed(place.taking.rule, "adopted"), head.clock))
    work.versions += 1
    work.bytes += found.size


def _write(place: _Place, work: _Work, actor: Actor) -> Steps[None]:
    added = work.rows.get(VERSION_ADD, [])
    if not added:
        return
    if work.forget:
        yield FORGET(ids=work.forget)
    if work.calls:
        yield Batch(work.calls)
    for statement, rows in work.rows.items():
        yield Many(statement, rows)
    if not place.head.upstream:
        yield REMEMBER(in_bucket=place.head.bucket_id)
    detail = {"store": place.taking.store, "objects": str(len(added)), "last": str(added[-1]["key"])}
    one = len(added) == 1
    yield audited(
        place.head.clock,
        place.ref.tenant,
        "adopt",
        actor,
        bucket=place.ref.bucket,
        key=str(added[0]["key"]),
        version_id=str(added[0]["id"]) if one else "",
        size=sum(int(row["size"]) for row in added),
        detail={"store": place.taking.store} if one else detail,
    )
    yield counted(place.head.bucket_id, objects=work.objects, versions=work.versions, bytes=work.bytes)
    if place.head.metered:
        yield from quotas.charge(
            place.ref.tenant, place.head.bucket_id, bytes=work.bytes, objects=work.versions
        )
