"""Transactions of findings: noted while a run goes on, counted when it was sound, and the way of what is dark to its end.

A run only notes. `judge` is called once the whole listing of a store was seen and believed: then what was noted is seen
once more, what the run did not see is no longer so, and what is dark and was seen long enough is quarantined. `remove`
makes a doomed row, for `sweep`, and only where no row knows the blob.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import and_, case, func, literal_column, null, or_, select, update

from holdfast.catalog.common import NOW, audited, is_readable
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import findings, replicas
from holdfast.catalog.statements import (
    Many,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.findings import Finding, FindingCounts, FindingKind, FindingState, Judged

_SERVICE: Final = ""  #: the audit of what belongs to no tenant
REMEMBERED: Final = 30 * 86_400_000_000  #: microseconds for which a removed one is shown
_STALE: Final = 2 * 86_400_000_000  #: microseconds after which nobody waits for a run that noted something

_COLUMNS: Final = (
    *("store", "blob", "kind", "size", "state", "version_id", "detail", "run"),
    *("first_seen", "last_seen", "sightings", "until"),
)
_ROW: Final = tuple(findings.c[name] for name in _COLUMNS)
_NOTED: Final = (*_COLUMNS[:-1], "noted")
_KEPT: Final = ("state", "first_seen", "last_seen", "sightings")
NOTE = upsert_into(
    findings,
    *_NOTED,
    unique=("store", "blob", "kind"),
    change={name: findings.c[name] for name in _KEPT},
)
_one = and_(
    findings.c.store == text_param("of_store"),
    findings.c.blob == text_param("of_blob"),
    findings.c.kind == text_param("of_kind"),
)
ONE = Statement(select(*_ROW).where(_one))
_any: Any = literal_column("''")
PAGE = Statement(
    select(*_ROW)
    .where(
        findings.c.store >= text_param("after_store"),
        or_(
            findings.c.store > text_param("after_store"),
            findings.c.blob > text_param("after_blob"),
            and_(findings.c.blob == text_param("after_blob"), findings.c.kind > text_param("after_kind")),
        ),
        or_(text_param("of_store") == _any, findings.c.store == text_param("of_store")),
        or_(text_param("of_kind") == _any, findings.c.kind == text_param("of_kind")),
        or_(
            findings.c.state == text_param("of_state"),
            and_(text_param("of_state") == _any, findings.c.state != constant("noted")),
        ),
    )
    .order_by(findings.c.store, findings.c.blob, findings.c.kind)
    .limit(int_param("rows"))
)
_of_run = and_(findings.c.store == text_param("of_store"), findings.c.run == text_param("of_run"))
_anew = findings.c.state.in_([literal_column("'noted'"), literal_column("'removed'")])
COUNT_IN = Statement(
    update(findings)
    .where(_of_run, findings.c.noted.is_not(None))
    .values(
        sightings=case((_anew, literal_column("1")), else_=findings.c.sightings + constant(1)),
        first_seen=case((_anew, findings.c.noted), else_=findings.c.first_seen),
        last_seen=findings.c.noted,
        state=case((_anew, constant("seen")), else_=findings.c.state),
        noted=null(),
    )
)
#: Not seen by a run that would have seen it, and not by one that goes on still.
GONE = Statement(
    findings.delete()
    .where(
        findings.c.store == text_param("of_store"),
        findings.c.run != text_param("of_run"),
        one_of(findings.c.kind, "kinds"),
        or_(
            and_(
                or_(findings.c.noted.is_(None), findings.c.noted < int_param("stale")),
                findings.c.state != constant("removed"),
            ),
            findings.c.last_seen < int_param("forgotten"),
        ),
        findings.c.last_seen < int_param("began"),
    )
    .returning(findings.c.blob)
)
_row_of = (
    select(literal_column("1"))
    .select_from(replicas)
    .where(replicas.c.store == findings.c.store, replicas.c.blob == findings.c.blob, is_readable(replicas))
    .correlate(findings)
    .exists()
)
#: About a copy that is none any more.
MOOT = Statement(
    findings.delete()
    .where(
        findings.c.store == text_param("of_store"),
        findings.c.kind != constant("dark"),
        ~_row_of,
    )
    .returning(findings.c.blob)
)
QUARANTINE = Statement(
    update(findings)
    .where(
        _of_run,
        findings.c.kind == constant("dark"),
        findings.c.state == constant("seen"),
        findings.c.noted.is_(None),
        findings.c.sightings >= constant(2),
        findings.c.last_seen - findings.c.first_seen >= int_param("gap"),
    )
    .values(state=constant("quarantined"), until=int_param("until"))
    .returning(findings.c.blob)
)
_over = and_(
    findings.c.kind == constant("dark"),
    findings.c.state == constant("quarantined"),
    findings.c.until <= int_param("at"),
)
OVER = Statement(
    select(*_ROW)
    .where(_of_run, _over, findings.c.noted.is_(None), findings.c.blob > text_param("after"))
    .order_by(findings.c.blob)
    .limit(int_param("rows"))
)
LOST = Statement(
    select(*_ROW)
    .where(_of_run, findings.c.kind != constant("dark"), findings.c.blob > text_param("after"))
    .order_by(findings.c.blob, findings.c.kind)
    .limit(int_param("rows"))
)
RESOLVE = Statement(
    findings.delete().where(
        findings.c.store == text_param("of_store"),
        one_of(findings.c.blob, "blobs"),
        one_of(findings.c.kind, "kinds"),
    )
)
SET = Statement(
    update(findings)
    .where(_one, findings.c.state == text_param("was"))
    .values(state=text_param("becomes"), until=int_param("until"))
    .returning(findings.c.blob)
)
KNOWN = Statement(
    select(replicas.c.id, replicas.c.state).where(
        replicas.c.store == text_param("of_store"), one_of(replicas.c.blob, "blobs")
    )
)
DOOM = insert_into(
    replicas,
    *("version_id", "id", "segment_id", "store", "blob", "size", "state", "copy_number", "not_before"),
)
COUNTS = Statement(
    select(findings.c.store, findings.c.kind, findings.c.state, func.count())
    .group_by(findings.c.store, findings.c.kind, findings.c.state)
    .order_by(findings.c.store, findings.c.kind, findings.c.state)
)


def note(found: Sequence[Finding], run: str, at: int) -> Transaction[None]:
    """What a run that goes on has seen; noted twice is noted once."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield Many(NOTE, [_noted(finding, run, at) for finding in found])

    return steps


def judge(
    store: str,
    run: str,
    *,
    kinds: Sequence[str],
    began: int,
    gap: int,
    hold: int,
    quarantines: bool,
    now: int | None,
) -> Transaction[Judged]:
    """The end of a sound run over a store; judged twice is judged once."""

    def steps(attempt: Attempt) -> Steps[Judged]:
        at = int((yield NOW(now=now))[0][0])
        of = {"of_store": store, "of_run": run}
        yield COUNT_IN(**of)
        forgotten, stale = at - REMEMBERED, began - _STALE
        gone = yield GONE(**of, kinds=list(kinds), forgotten=forgotten, stale=stale, began=began)
        moot = yield MOOT(of_store=store)
        held = (yield QUARANTINE(**of, gap=gap, until=at + hold)) if quarantines else ()
        return Judged(gone=len(gone) + len(moot), quarantined=len(held))

    return steps


def count_in(store: str, run: str) -> Transaction[None]:
    """What a run noted of a store counted as seen, and nothing else judged: it looked at each blob by itself."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield COUNT_IN(of_store=store, of_run=run)

    return steps


def over(store: str, run: str, after: str, limit: int, now: int | None) -> Transaction[Sequence[Finding]]:
    """What this run saw, and whose quarantine is over."""

    def steps(attempt: Attempt) -> Steps[Sequence[Finding]]:
        at = int((yield NOW(now=now))[0][0])
        rows = yield OVER(of_store=store, of_run=run, at=at, after=after, rows=limit)
        return [_finding(row) for row in rows]

    return steps


def bad(store: str, run: str, after: str, limit: int) -> Transaction[Sequence[Finding]]:
    """Copies that this run found bad, by blob."""

    def steps(attempt: Attempt) -> Steps[Sequence[Finding]]:
        return [_finding(row) for row in (yield LOST(of_store=store, of_run=run, after=after, rows=limit))]

    return steps


def resolve(store: str, blobs: Sequence[str], kinds: Sequence[str]) -> Transaction[None]:
    """What is no longer so of these blobs, forgotten."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield RESOLVE(of_store=store, blobs=list(blobs), kinds=list(kinds))

    return steps


def page(
    store: str, kind: str, state: str, after: tuple[str, str, str], limit: int
) -> Transaction[Sequence[Finding]]:
    """Findings by store, blob and kind; "" for those of all."""

    def steps(attempt: Attempt) -> Steps[Sequence[Finding]]:
        rows = yield PAGE(
            of_store=store,
            of_kind=kind,
            of_state=state,
            after_store=after[0],
            after_blob=after[1],
            after_kind=after[2],
            rows=limit,
        )
        return [_finding(row) for row in rows]

    return steps


def one(store: str, blob: str, kind: str) -> Transaction[Finding]:
    """One finding."""

    def steps(attempt: Attempt) -> Steps[Finding]:
        return (yield from _read(store, blob, kind))

    return steps


def change(
    finding: Finding, state: FindingState, hold: int | None, *, actor: Actor, now: int | None
) -> Transaction[Finding]:
    """A finding given another state by somebody; it must still have the one that it was seen with."""

    def steps(attempt: Attempt) -> Steps[Finding]:
        at = int((yield NOW(now=now))[0][0])
        until = None if hold is None else at + hold
        of = _key(finding)
        if not (yield SET(**of, was=finding.state.value, becomes=state.value, until=until)):
            current = yield from _read(finding.store, finding.blob, finding.kind.value)
            if not attempt.again or current.state is not state:
                raise ConflictError(f"the finding is {current.state} meanwhile", name=finding.blob)
            return current
        yield audited(at, _SERVICE, f"{_VERBS[state]}-finding", actor, detail=_detail(finding))
        return (yield from _read(finding.store, finding.blob, finding.kind.value))

    return steps


def remove(
    finding: Finding, row_id: str, names: Sequence[str], *, actor: Actor, now: int | None
) -> Transaction[bool]:
    """Dark bytes left to `sweep`, if no row knows them and their quarantine is over; whether they were.

    `names` are those under which a row may know them besides: they may have been adopted.

    The row is that of a version that never was, so nothing keeps it; its bytes are discarded like those of a put that did
    not end, which removes what such a put may leave besides.
    """

    def steps(attempt: Attempt) -> Steps[bool]:
        at = int((yield NOW(now=now))[0][0])
        known = yield KNOWN(of_store=finding.store, blobs=[finding.blob, *names])
        if known:
            return bool(attempt.again and any(row[0] == row_id for row in known))
        current = yield from _read(finding.store, finding.blob, finding.kind.value)
        due = current.until is not None and current.until <= at
        if current.kind is not FindingKind.DARK or current.state is not FindingState.QUARANTINED or not due:
            return False
        becomes = FindingState.REMOVED.value
        of = _key(finding)
        if not (yield SET(**of, was=FindingState.QUARANTINED.value, becomes=becomes, until=current.until)):
            return False
        yield DOOM(
            version_id=row_id,
            id=row_id,
            segment_id=row_id,
            store=finding.store,
            blob=finding.blob,
            size=finding.size,
            state="doomed",
            copy_number=0,
            not_before=at,
        )
        yield audited(at, _SERVICE, "remove-finding", actor, size=finding.size, detail=_detail(finding))
        return True

    return steps


def counts() -> Transaction[FindingCounts]:
    """How many findings there are, by store, kind and state."""

    def steps(attempt: Attempt) -> Steps[FindingCounts]:
        return {(row[0], row[1], row[2]): int(row[3]) for row in (yield COUNTS())}

    return steps


_VERBS: Final = {FindingState.QUARANTINED: "quarantine", FindingState.RELEASED: "release"}


def _read(store: str, blob: str, kind: str) -> Steps[Finding]:
    rows = yield ONE(of_store=store, of_blob=blob, of_kind=kind)
    if not rows:
        raise NotFoundError("there is no such finding; see: holdfast findings list", store=store, name=blob)
    return _finding(rows[0])


def _key(finding: Finding) -> dict[str, Any]:
    return {"of_store": finding.store, "of_blob": finding.blob, "of_kind": finding.kind.value}


def _detail(finding: Finding) -> dict[str, str]:
    return {"store": finding.store, "blob": finding.blob, "kind": finding.kind.value}


def _noted(finding: Finding, run: str, at: int) -> dict[str, Any]:
    return {
        "store": finding.store,
        "blob": finding.blob,
        "kind": finding.kind.value,
        "size": finding.size,
        "version_id": finding.version_id,
        "state": FindingState.NOTED.value,
        "detail": finding.detail[:1000],
        "run": run,
        "first_seen": at,
        "last_seen": at,
        "sightings": 0,
        "noted": at,
    }


def _finding(row: Row) -> Finding:
    store, blob, kind, size, state, version_id, detail, run, first, last, sightings, until = row
    return Finding(
        store,
        blob,
        FindingKind(kind),
        size,
        FindingState(state),
        version_id,
        detail,
        run,
        first,
        last,
        sightings,
        until,
    )
