"""What was found wrong with stores, and how far copies are proved. For operators."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.listing import number
from holdfast.api.models import Name, decode, encode
from holdfast.core.findings import Finding
from holdfast.engine.findings import ProvenStores

_Seconds = Annotated[float, Meta(ge=0)]


class FindingInfo(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a blob. `until`: when quarantined bytes are removed."""

    store: str
    blob: str
    kind: str
    state: str
    size: int
    version_id: str
    detail: str
    job_id: str
    first_seen: str
    last_seen: str
    sightings: int
    until: str | None


class FindingList(Struct, frozen=True, kw_only=True):
    """One page of findings; `next_after` is the `after` of the next one, "" when this is the last."""

    findings: list[FindingInfo]
    next_after: str


class FindingWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which dark bytes are meant. `hold`: seconds of quarantine, where that is asked for."""

    store: Name
    blob: Name
    hold: _Seconds | None = None


class ProvenInfo(Struct, frozen=True, kw_only=True):
    """How far the copies in a store are proved. `never`: never read whole, or known to be bad (`suspect`)."""

    store: str
    copies: int
    bytes: int
    never: int
    suspect: int
    proved: int
    proved_bytes: int
    share: float | None
    oldest: str | None


class ProvenAnswer(Struct, frozen=True, kw_only=True):
    """What is proved since a time, store by store."""

    since: str
    stores: list[ProvenInfo]


async def list_findings(exchange: Exchange) -> None:
    """Answer with findings, by store and blob; with `store` and `blob` those of one blob."""
    query = exchange.query
    limit = number(exchange, "limit", 100, least=1, most=1000)
    desk = exchange.session.admin.findings
    if query.get("store") and query.get("blob"):
        found = await desk.of_blob(query["store"], query["blob"])
        answer = FindingList(findings=[told(one) for one in found], next_after="")
        await exchange.answer_json(200, encode(answer))
        return
    store, _, rest = query.get("after", "").partition(" ")
    kind, _, blob = rest.partition(" ")
    page = await desk.all(
        store=query.get("store", ""),
        kind=query.get("kind", ""),
        state=query.get("state", ""),
        after=(store, blob, kind),
        limit=limit,
    )
    last = f"{page[-1].store} {page[-1].kind} {page[-1].blob}" if len(page) == limit else ""
    answer = FindingList(findings=[told(one) for one in page], next_after=last)
    await exchange.answer_json(200, encode(answer))


async def quarantine(exchange: Exchange) -> None:
    """Have dark bytes removed when a quarantine is over, without waiting for a second sighting."""
    wish = decode(FindingWish, await small_body(exchange, MAX_JSON))
    made = await exchange.session.admin.findings.quarantine(wish.store, wish.blob, hold=wish.hold)
    await exchange.answer_json(200, encode(told(made)))


async def release(exchange: Exchange) -> None:
    """Leave dark bytes alone from now on."""
    wish = decode(FindingWish, await small_body(exchange, MAX_JSON))
    made = await exchange.session.admin.findings.release(wish.store, wish.blob)
    await exchange.answer_json(200, encode(told(made)))


async def remove(exchange: Exchange) -> None:
    """Leave quarantined bytes to the sweep now."""
    wish = decode(FindingWish, await small_body(exchange, MAX_JSON))
    made = await exchange.session.admin.findings.remove(wish.store, wish.blob)
    await exchange.answer_json(200, encode(told(made)))


async def proved(exchange: Exchange) -> None:
    """Answer how far the copies in each store were read whole and found right in the last `days`."""
    days = number(exchange, "days", 30, least=0, most=36600)
    found = await exchange.session.admin.findings.proved(days=days)
    await exchange.answer_json(200, encode(proven(found)))


def told(finding: Finding) -> FindingInfo:
    """Return a finding as it is shown."""
    return FindingInfo(
        store=finding.store,
        blob=finding.blob,
        kind=finding.kind.value,
        state=finding.state.value,
        size=finding.size,
        version_id=finding.version_id,
        detail=finding.detail,
        job_id=finding.run,
        first_seen=iso(finding.first_seen),
        last_seen=iso(finding.last_seen),
        sightings=finding.sightings,
        until=None if finding.until is None else iso(finding.until),
    )


def proven(found: ProvenStores) -> ProvenAnswer:
    """Return proofs as they are shown."""
    rows = [
        ProvenInfo(
            store=one.store,
            copies=one.copies,
            bytes=one.bytes,
            never=one.never,
            suspect=one.suspect,
            proved=one.since,
            proved_bytes=one.since_bytes,
            share=None if not one.copies else round(one.since / one.copies, 4),
            oldest=None if one.oldest is None else iso(one.oldest),
        )
        for one in found.stores
    ]
    return ProvenAnswer(since=iso(found.since), stores=rows)
