"""Snapshots of buckets, and what became of keys between two moments, over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.listing import MAX_PAGE, number
from holdfast.api.models import Stored, decode, encode, listed
from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import Snapshot
from holdfast.policy.moments import Changed, text_of, time_of


class SnapshotWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The moment (a time with its zone; null: now) and a note."""

    at: Annotated[str, Meta(max_length=40)] | None = None
    note: Annotated[str, Meta(max_length=500)] = ""


class SnapshotInfo(Struct, frozen=True, kw_only=True):
    """A moment of a bucket that has a name. What was current then stays until it is deleted."""

    bucket: str
    name: str
    at: str
    created: str
    principal: str
    note: str


class SnapshotList(Struct, frozen=True, kw_only=True):
    """Snapshots by name; `next_marker` is where the next page begins, "" when this is the last."""

    snapshots: list[SnapshotInfo]
    next_marker: str


class ChangeInfo(Struct, frozen=True, kw_only=True):
    """A key that is not the same at two moments. `gap`: what it was at the first may have been removed for good."""

    key: str
    change: Literal["added", "removed", "changed"]
    then: Stored | UnsetType
    later: Stored | UnsetType
    gap: bool


class Differences(Struct, frozen=True, kw_only=True):
    """Changes by key. A page may be short, or empty, and not be the last: go on while `next_marker` is not ""."""

    bucket: str
    changes: list[ChangeInfo]
    next_marker: str


async def list_snapshots(exchange: Exchange, bucket: str) -> None:
    """Answer with snapshots of a bucket."""
    limit = max(number(exchange, "limit", MAX_PAGE, most=MAX_PAGE), 1)
    found = await exchange.session.moments.snapshots(
        bucket, after=exchange.query.get("marker", ""), limit=limit
    )
    after = found[-1].name if len(found) == limit else ""
    page = SnapshotList(snapshots=[_info(one) for one in found], next_marker=after)
    await exchange.answer_json(200, encode(page))


async def create_snapshot(exchange: Exchange, bucket: str, name: str) -> None:
    """Give a moment of a bucket a name."""
    data = await small_body(exchange, MAX_JSON)
    wish = decode(SnapshotWish, data) if data else SnapshotWish()
    at = None if wish.at is None else time_of(wish.at)
    made = await exchange.session.moments.create(bucket, name, at=at, note=wish.note)
    await exchange.answer_json(201, encode(_info(made)))


async def show_snapshot(exchange: Exchange, bucket: str, name: str) -> None:
    """Answer with one snapshot."""
    await exchange.answer_json(200, encode(_info(await exchange.session.moments.snapshot(bucket, name))))


async def delete_snapshot(exchange: Exchange, bucket: str, name: str) -> None:
    """Forget a snapshot; no version is removed by it."""
    await exchange.session.moments.delete(bucket, name)
    await exchange.answer(204, ())


async def differences(exchange: Exchange, bucket: str) -> None:
    """Answer with keys that are not the same at two moments; without the first, since before there was anything."""
    query = exchange.query
    at, until = query.get("at", ""), query.get("until", "")
    page = await exchange.session.moments.compare(
        bucket,
        time_of(at) if at else 0,
        time_of(until) if until else None,
        prefix=query.get("prefix", ""),
        marker=query.get("marker", ""),
        limit=max(number(exchange, "limit", MAX_PAGE, most=MAX_PAGE), 1),
    )
    found = Differences(
        bucket=bucket, changes=[_change(one) for one in page.changes], next_marker=page.next_marker
    )
    await exchange.answer_json(200, encode(found))


def moment_of(exchange: Exchange) -> int | None:
    """Return the moment that a request names, None when it names none."""
    text = exchange.query.get("at", "")
    return time_of(text) if text else None


async def version_of(exchange: Exchange, bucket: str, key: str) -> str | None:
    """Return the version that a request names by its id or by a moment; None: the current one.

    Raises:
        InvalidRequestError: it names both. NotFoundError: there was none at that moment.
    """
    version_id, at = exchange.query.get("version_id") or None, moment_of(exchange)
    if at is None:
        return version_id
    if version_id is not None:
        raise InvalidRequestError("name a version, or a moment, not both: version_id or at")
    return await exchange.session.moments.version_id(bucket, key, at)


def _info(snapshot: Snapshot) -> SnapshotInfo:
    return SnapshotInfo(
        bucket=snapshot.bucket,
        name=snapshot.name,
        at=text_of(snapshot.at),
        created=iso(snapshot.created),
        principal=snapshot.principal,
        note=snapshot.note,
    )


def _change(one: Changed) -> ChangeInfo:
    return ChangeInfo(
        key=one.key,
        change=one.change.value,
        then=UNSET if one.then is None else listed(one.then),
        later=UNSET if one.later is None else listed(one.later),
        gap=one.gap,
    )
