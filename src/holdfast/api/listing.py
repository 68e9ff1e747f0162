"""Buckets, and pages of what is in them."""

from __future__ import annotations

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import (
    Buckets,
    Done,
    Listing,
    NewBucket,
    Versions,
    bucket_info,
    decode,
    encode,
    listed,
)
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Usage

MAX_PAGE = 1000


async def list_buckets(exchange: Exchange) -> None:
    """Answer with all buckets and their counters."""
    buckets = await exchange.session.buckets()
    await exchange.answer_json(200, encode(Buckets([bucket_info(*pair) for pair in buckets])))


async def create_bucket(exchange: Exchange) -> None:
    """Make a bucket; answers 201."""
    wish = decode(NewBucket, await small_body(exchange, MAX_JSON))
    made = await exchange.session.create_bucket(wish.name, versioning=wish.versioning)
    await exchange.answer_json(201, encode(bucket_info(made, Usage())))


async def delete_bucket(exchange: Exchange, name: str) -> None:
    """Remove an empty bucket; 409 while there is anything in it."""
    await exchange.session.delete_bucket(name)
    await exchange.answer_json(200, encode(Done(message="Bucket deleted successfully", bucket=name)))


async def list_objects(exchange: Exchange, bucket: str) -> None:
    """Answer with one page of current objects."""
    query = exchange.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    page = await exchange.session.list(
        bucket,
        prefix=prefix,
        delimiter=delimiter,
        marker=query.get("marker", ""),
        limit=number(exchange, "limit", MAX_PAGE, most=MAX_PAGE),
    )
    listing = Listing(
        bucket=bucket,
        prefix=prefix,
        delimiter=delimiter,
        objects=[listed(version) for version in page.items],
        prefixes=list(page.prefixes),
        truncated=page.truncated,
        next_marker=page.next_marker if page.truncated else "",
    )
    await exchange.answer_json(200, encode(listing))


async def list_versions(exchange: Exchange, bucket: str) -> None:
    """Answer with one page of all versions."""
    query = exchange.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    page = await exchange.session.versions(
        bucket,
        prefix=prefix,
        delimiter=delimiter,
        key_marker=query.get("key_marker", ""),
        version_marker=query.get("version_marker", ""),
        limit=number(exchange, "limit", MAX_PAGE, most=MAX_PAGE),
    )
    versions = Versions(
        bucket=bucket,
        prefix=prefix,
        delimiter=delimiter,
        versions=[listed(version, full=True) for version in page.items],
        prefixes=list(page.prefixes),
        truncated=page.truncated,
        next_key_marker=page.next_key,
        next_version_marker=page.next_version,
    )
    await exchange.answer_json(200, encode(versions))


def number(exchange: Exchange, name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number of the query; more than `most` counts as `most`.

    Raises:
        InvalidRequestError: it is not a number or less than `least`.
    """
    text = exchange.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18) or int(text) < least:
        raise InvalidRequestError(f"{name} is a whole number from {least}")
    return int(text) if most is None else min(int(text), most)
