"""Buckets and their settings."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.bucket_models import (
    BucketChange,
    BucketDetail,
    Buckets,
    NewBucket,
    StorageBuckets,
    bucket_detail,
    bucket_figures,
    bucket_info,
    quota_info,
)
from holdfast.api.exchange import Exchange
from holdfast.api.models import Done, decode, encode
from holdfast.core.errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from holdfast.core.types import QuotaUse, Usage
from holdfast.engine.buckets import BucketStats
from holdfast.policy.buckets import changed


async def list_buckets(exchange: Exchange) -> None:
    """Answer with all buckets and their counters."""
    buckets = await exchange.session.buckets()
    await exchange.answer_json(200, encode(Buckets([bucket_info(*pair) for pair in buckets])))


async def create_bucket(exchange: Exchange) -> None:
    """Make a bucket; answers 201."""
    wish = decode(NewBucket, await small_body(exchange, MAX_JSON))
    await exchange.answer_json(201, encode(await _create(exchange, wish.name, wish)))


async def show_bucket(exchange: Exchange, name: str) -> None:
    """Answer with a bucket, its counters and its settings."""
    await _answer(exchange, 200, name)


async def put_bucket(exchange: Exchange, name: str) -> None:
    """Make a bucket (201), or give the one that is there exactly these settings (200)."""
    wish = decode(BucketChange, await small_body(exchange, MAX_JSON) or b"{}")
    try:
        await _replace(exchange, name, wish)
    except NotFoundError:
        with suppress(AlreadyExistsError):  # somebody else was first
            made = await _create(exchange, name, wish)
            await exchange.answer_json(201, encode(made))
            return
        await _replace(exchange, name, wish)
    await _answer(exchange, 200, name)


async def change_bucket(exchange: Exchange, name: str) -> None:
    """Change the settings that are given."""
    wish = decode(BucketChange, await small_body(exchange, MAX_JSON))
    changes = wish.settings
    await exchange.session.update_bucket(
        name,
        versioning=wish.versioning if isinstance(wish.versioning, bool) else None,
        change=partial(changed, changes=changes) if changes else None,
    )
    await _answer(exchange, 200, name)


async def delete_bucket(exchange: Exchange, name: str) -> None:
    """Remove an empty bucket; 409 while there is anything in it, unless forced."""
    force = exchange.query.get("force", "false").lower()
    if force not in ("true", "false", "1", "0"):
        raise InvalidRequestError("force is true or false")
    await exchange.session.delete_bucket(name, force=force in ("true", "1"))
    await exchange.answer_json(200, encode(Done(message="Bucket deleted successfully", bucket=name)))


async def storage_buckets(exchange: Exchange) -> None:
    """Answer with what each bucket holds and may hold."""
    figures = [bucket_figures(*pair) for pair in await exchange.session.buckets()]
    await exchange.answer_json(200, encode(StorageBuckets(figures, len(figures))))


async def storage_bucket(exchange: Exchange, name: str) -> None:
    """Answer with what one bucket holds and may hold."""
    stats = await exchange.session.bucket_stats(name)
    await exchange.answer_json(200, encode(bucket_figures(stats.bucket, stats.usage, stats.use)))


async def show_quota(exchange: Exchange) -> None:
    """Answer with the tenant's limits and how much of them is taken."""
    await exchange.answer_json(200, encode(quota_info(await exchange.session.quota())))


async def _create(exchange: Exchange, name: str, wish: BucketChange) -> BucketDetail:
    settings = changed(exchange.session.default_settings, wish.settings)
    made = await exchange.session.create_bucket(name, versioning=wish.versioning is True, settings=settings)
    return bucket_detail(BucketStats(made, Usage(), QuotaUse(settings.quota)))


async def _replace(exchange: Exchange, name: str, wish: BucketChange) -> None:
    settings = changed(exchange.session.default_settings, wish.settings)
    await exchange.session.update_bucket(name, versioning=wish.versioning is True, change=lambda _: settings)


async def _answer(exchange: Exchange, status: int, name: str) -> None:
    await exchange.answer_json(status, encode(bucket_detail(await exchange.session.bucket_stats(name))))
