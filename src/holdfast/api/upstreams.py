"""Upstreams over HTTP: stores that buckets follow while others still write to them. For operators.

Jobs do the work (`POST /api/v1/background-jobs`, kinds `follow` and `verify-upstream`).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.core.adopted import Upstream
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.upstream_desk import UpstreamStatus


class UpstreamWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store that a bucket is to follow, and how. `tenant`: whose bucket it is; null: one's own."""

    store: Name
    prefix: str = ""
    tenant: str | None = None
    dual_write: bool = False
    fresh: bool = True
    keep: bool = True


class UpstreamChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be otherwise; null leaves it as it is."""

    dual_write: bool | None = None
    fresh: bool | None = None


class UpstreamForm(Struct, frozen=True, kw_only=True):
    """What a bucket follows, and how far it is. `owed` changes are to be written out; `away` are not where they belong."""

    tenant: str
    bucket: str
    store: str
    prefix: str
    phase: Literal["following", "cutover", "back"]
    dual_write: bool
    fresh: bool
    keep: bool
    attached: str
    passes: int
    passed: str | None
    complete: bool
    verified: str | None
    differences: int | None
    owed: int
    owed_since: str | None
    trouble: str
    away: int
    missing: int


class UpstreamsAnswer(Struct, frozen=True, kw_only=True):
    """Every upstream."""

    upstreams: list[UpstreamForm]


async def show_upstreams(exchange: Exchange) -> None:
    """Answer with every upstream, or those of one tenant."""
    found = await exchange.session.admin.upstreams.all(exchange.query.get("tenant") or "")
    await exchange.answer_json(200, encode(UpstreamsAnswer(upstreams=[form_of(one) for one in found])))


async def attach_upstream(exchange: Exchange, bucket: str) -> None:
    """Have a bucket follow a store."""
    wish = decode(UpstreamWish, await small_body(exchange, MAX_JSON))
    upstream = Upstream(
        wish.tenant or exchange.session.principal.tenant,
        bucket,
        wish.store,
        wish.prefix,
        dual_write=wish.dual_write,
        fresh=wish.fresh,
        keep=wish.keep,
    )
    await _answer(exchange, await exchange.session.admin.upstreams.attach(upstream))


async def show_upstream(exchange: Exchange, bucket: str) -> None:
    """Answer with what a bucket follows, and how far it is."""
    await _answer(exchange, await exchange.session.admin.upstreams.status(_tenant(exchange), bucket))


async def change_upstream(exchange: Exchange, bucket: str) -> None:
    """Change how a bucket follows."""
    wish = decode(UpstreamChange, await small_body(exchange, MAX_JSON))
    changed = await exchange.session.admin.upstreams.change(
        _tenant(exchange), bucket, dual_write=wish.dual_write, fresh=wish.fresh
    )
    await _answer(exchange, changed)


async def take_upstream_back(exchange: Exchange, bucket: str) -> None:
    """Have everything that was changed here written out, so that clients may go back."""
    await _answer(exchange, await exchange.session.admin.upstreams.back(_tenant(exchange), bucket))


async def detach_upstream(exchange: Exchange, bucket: str) -> None:
    """Have a bucket follow nothing any more; 409 while changes are to be written out, and not `force`."""
    force = exchange.query.get("force", "false").lower()
    if force not in ("true", "false"):
        raise InvalidRequestError("force is true or false")
    await exchange.session.admin.upstreams.detach(_tenant(exchange), bucket, force=force == "true")
    await exchange.answer(204, ())


def form_of(status: UpstreamStatus) -> UpstreamForm:
    """Return an upstream as it travels."""
    upstream = status.upstream
    return UpstreamForm(
        tenant=upstream.tenant,
        bucket=upstream.bucket,
        store=upstream.store,
        prefix=upstream.prefix,
        phase=upstream.phase.value,
        dual_write=upstream.dual_write,
        fresh=upstream.fresh,
        keep=upstream.keep,
        attached=iso(upstream.attached),
        passes=upstream.passes,
        passed=None if upstream.passed is None else iso(upstream.passed),
        complete=status.complete,
        verified=None if upstream.verified is None else iso(upstream.verified),
        differences=upstream.differences,
        owed=status.owing.count,
        owed_since=None if status.owing.since is None else iso(status.owing.since),
        trouble=status.owing.trouble,
        away=status.away,
        missing=status.missing,
    )


def _tenant(exchange: Exchange) -> str:
    return exchange.query.get("tenant") or exchange.session.principal.tenant


async def _answer(exchange: Exchange, status: UpstreamStatus) -> None:
    await exchange.answer_json(200, encode(form_of(status)))
