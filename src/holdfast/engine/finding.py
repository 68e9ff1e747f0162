"""Searches over several buckets, a page at a time, each page at a bounded cost."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.search import Found, Search
from holdfast.core.types import Version
from holdfast.engine.context import Context

MAX_PAGE: Final = 1000
_BUDGET: Final = 10_000  #: rows that a page may look at
_PER_BUCKET: Final = 20  #: what turning to another bucket costs, in rows


async def search(
    context: Context, tenant: str, buckets: Sequence[str], wish: Search, *, limit: int, cursor: str
) -> Found:
    """Return one page of what is found in `buckets`, which are in byte order, from `cursor` on.

    Raises:
        InvalidRequestError: the cursor is none of ours.
        NotFoundError: the only bucket is not there.
    """
    start, place = _read(cursor)
    left = [name for name in buckets if name >= start]
    items: list[Version] = []
    budget = _BUDGET
    for number, bucket in enumerate(left):
        after = place if bucket == start else ("", "")
        try:
            part = await context.catalog.search(
                tenant, bucket, wish, after=after, limit=limit - len(items), budget=budget
            )
        except NotFoundError:
            if len(buckets) == 1:
                raise
            continue  # removed since the buckets were listed
        items += part.items
        if part.place is not None:
            return Found(items, _written(bucket, part.place))
        budget -= part.examined + _PER_BUCKET
        if (budget <= 0 or len(items) >= limit) and number + 1 < len(left):
            return Found(items, _written(left[number + 1], ("", "")))
    return Found(items)


def _written(bucket: str, place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([bucket, *place])).decode().rstrip("=")


def _read(cursor: str) -> tuple[str, tuple[str, str]]:
    if not cursor:
        return "", ("", "")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        bucket, key, version_id = msgspec.json.decode(raw, type=tuple[str, str, str])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidRequestError("the cursor is not one that a search returned") from None
    return bucket, (key, version_id)
