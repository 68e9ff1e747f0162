"""Pages of what is in a bucket."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from holdfast.api.exchange import Exchange
from holdfast.api.models import Listing, Versions, encode, listed
from holdfast.core.errors import InvalidRequestError
from holdfast.policy.moments import time_of

MAX_PAGE = 1000
_BY_NAME: Final = "/api/v1/list/"  #: whose clients read `name` and `count`


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
        at=time_of(query["at"]) if query.get("at") else None,
    )
    named = exchange.route.startswith(_BY_NAME)
    listing = Listing(
        bucket=bucket,
        prefix=prefix,
        delimiter=delimiter,
        objects=[listed(version, named=named) for version in page.items],
        prefixes=list(page.prefixes),
        truncated=page.truncated,
        next_marker=page.next_marker if page.truncated else "",
        count=len(page.items) if named else UNSET,
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
