"""Legal hold, retention lock and the rules of a bucket, of one version of an object, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.core.retention import LockMode, moment
from holdfast.engine.retention import Kept, LifeExplained, Wished
from holdfast.policy.lifecycle_form import moment_of

Reason = Annotated[str, Meta(max_length=500)]


class HoldWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether nobody may remove the version; the audit keeps the reason."""

    hold: bool
    reason: Reason = ""


class LockWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`mode` governance or compliance, and `until` (a time with its zone) or `days` from now; null: no lock.

    With a `reason`, a lock in governance mode may be made shorter or lifted.
    """

    mode: Literal["governance", "compliance"] | None
    until: Annotated[str, Meta(max_length=40)] | None = None
    days: int | None = None
    reason: Reason = ""


class KeptInfo(Struct, frozen=True, kw_only=True):
    """What keeps a version from being removed. `until` null: no lock; one that is over keeps nothing."""

    bucket: str
    key: str
    version_id: str
    hold: bool
    mode: str | None
    until: str | None


class WishedInfo(Struct, frozen=True, kw_only=True):
    """What a rule wants: `expire`, `remove` or `move`; `due` null: nobody can say yet."""

    rule: str
    action: str
    due: str | None
    why: str
    to: str | None


class NotMeant(Struct, frozen=True):
    """A rule that is not about the version, and why."""

    rule: str
    why: str


class LifeInfo(KeptInfo, frozen=True, kw_only=True):
    """What becomes of a version: what rules want by time; `now` what the next run does, unless `refused` says why not."""

    wishes: list[WishedInfo]
    not_meant: list[NotMeant]
    now: WishedInfo | None
    refused: str
    expires: str | None


async def show_hold(exchange: Exchange, bucket: str, key: str) -> None:
    """Answer with what keeps a version."""
    await _answer(
        exchange, await exchange.session.retention.keeping(bucket, key, version_id=_version(exchange))
    )


async def set_hold(exchange: Exchange, bucket: str, key: str) -> None:
    """Set or clear the legal hold of a version."""
    wish = decode(HoldWish, await small_body(exchange, MAX_JSON))
    kept = await exchange.session.retention.hold(
        bucket, key, wish.hold, version_id=_version(exchange), reason=wish.reason
    )
    await _answer(exchange, kept)


async def set_lock(exchange: Exchange, bucket: str, key: str) -> None:
    """Set, lengthen, shorten or lift the retention lock of a version."""
    wish = decode(LockWish, await small_body(exchange, MAX_JSON))
    kept = await exchange.session.retention.lock(
        bucket,
        key,
        None if wish.mode is None else LockMode(wish.mode),
        until=None if wish.until is None else moment_of(wish.until),
        days=wish.days,
        version_id=_version(exchange),
        reason=wish.reason,
    )
    await _answer(exchange, kept)


async def explain(exchange: Exchange, bucket: str, key: str) -> None:
    """Answer with what the rules of the bucket want of a version, when and why."""
    told = await exchange.session.retention.explain(bucket, key, version_id=_version(exchange))
    await exchange.answer_json(200, encode(_life(told)))


def _version(exchange: Exchange) -> str | None:
    return exchange.query.get("version_id") or None


async def _answer(exchange: Exchange, kept: Kept) -> None:
    await exchange.answer_json(200, encode(KeptInfo(**_kept(kept))))


def _kept(kept: Kept | LifeExplained) -> dict[str, Any]:
    keeping = kept.keeping
    return {
        "bucket": kept.ref.bucket,
        "key": kept.ref.key,
        "version_id": kept.version_id,
        "hold": keeping.hold,
        "mode": None if keeping.mode is None else keeping.mode.value,
        "until": None if keeping.until is None else moment(keeping.until),
    }


def _life(told: LifeExplained) -> LifeInfo:
    return LifeInfo(
        **_kept(told),
        wishes=[_wish(wish) for wish in told.wishes],
        not_meant=[NotMeant(*one) for one in told.not_meant],
        now=None if told.now is None else _wish(told.now),
        refused=told.refused,
        expires=_iso(told.expires),
    )


def _wish(wish: Wished) -> WishedInfo:
    return WishedInfo(
        rule=wish.rule, action=wish.action.value, due=_iso(wish.due), why=wish.why, to=wish.to or None
    )


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)
