"""The audit over HTTP: records in pages, and whether it is whole. For those who may, which the session checks."""

from __future__ import annotations

from msgspec import Struct

from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.listing import MAX_PAGE, number
from holdfast.api.models import encode
from holdfast.core.clock import moment
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import AuditEntry
from holdfast.engine.audit import AuditFilter
from holdfast.engine.verifying import Verdict


class Record(Struct, frozen=True, kw_only=True):
    """One access, or one change: then `status` is 0, since it was committed. `bytes` counts both ways."""

    number: int
    at: str
    principal: str
    action: str
    bucket: str
    key: str
    version_id: str
    request_id: str
    address: str
    status: int
    bytes: int
    received: int
    agent: str
    error: str
    detail: dict[str, str]


class Records(Struct, frozen=True, kw_only=True):
    """A page of records. It may be empty and not the last: go on with `next_after` while `truncated`."""

    records: list[Record]
    truncated: bool
    next_after: int


class Verification(Struct, frozen=True, kw_only=True):
    """Whether the audit is whole. `head` stands for all of it: kept elsewhere and given back, it shows a rollback."""

    whole: bool
    problem: str
    segment: int
    text: str
    head: str
    segments: int
    records: int
    pruned: int
    open: int


async def show_audit(exchange: Exchange) -> None:
    """Answer with a page of records, oldest first."""
    query = exchange.query
    wanted = AuditFilter(
        query.get("bucket", ""),
        query.get("prefix", ""),
        query.get("principal", ""),
        moment(query["since"]) if query.get("since") else 0,
        moment(query["until"]) if query.get("until") else AuditFilter().until,
    )
    found, after = await exchange.session.audit(
        wanted,
        after=number(exchange, "after", 0),
        limit=number(exchange, "limit", 100, least=1, most=MAX_PAGE),
        service=_service(exchange),
    )
    page = Records(records=[record(entry) for entry in found], truncated=after > 0, next_after=after)
    await exchange.answer_json(200, encode(page))


async def verify_audit(exchange: Exchange) -> None:
    """Answer whether the audit is whole."""
    expected = exchange.query.get("expect") or None
    verdict = await exchange.session.verify_audit(expected, service=_service(exchange))
    await exchange.answer_json(200, encode(verification(verdict)))


def record(entry: AuditEntry) -> Record:
    """Return a record as it travels."""
    return Record(
        number=entry.number,
        at=iso(entry.at),
        principal=entry.principal,
        action=entry.action,
        bucket=entry.bucket,
        key=entry.key,
        version_id=entry.version_id,
        request_id=entry.request_id,
        address=entry.address,
        status=entry.status,
        bytes=entry.bytes,
        received=entry.received,
        agent=entry.agent,
        error=entry.error,
        detail=dict(entry.detail),
    )


def verification(verdict: Verdict) -> Verification:
    """Return a verdict as it travels."""
    return Verification(
        whole=verdict.whole,
        problem=verdict.problem,
        segment=verdict.segment,
        text=verdict.text,
        head=verdict.head,
        segments=verdict.segments,
        records=verdict.records,
        pruned=verdict.pruned,
        open=verdict.open,
    )


def _service(exchange: Exchange) -> bool:
    text = exchange.query.get("service", "false")
    if text not in ("true", "false"):
        raise InvalidRequestError("service is true or false")
    return text == "true"
