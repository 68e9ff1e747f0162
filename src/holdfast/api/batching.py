"""What requests over many objects share: their progress, and the objects that they name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from holdfast.api.exchange import Exchange
from holdfast.api.file_models import Selection
from holdfast.catalog.contract import Batch
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.engine.batches import MAX_ITEMS, Item, Progress, check_count
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session


@asynccontextmanager
async def tracked(
    engine: Engine, exchange: Exchange, kind: str, total: int, batch_id: str | None
) -> AsyncIterator[Progress]:
    """Give the progress of what the block does; others see it only under a `batch_id` of the client."""
    principal = exchange.session.principal
    still = partial(engine.directory.check_still, principal)
    if batch_id is None:
        yield Progress(Batch("", principal.tenant, kind, principal.id, total, 0, 0, 0), still=still)
        return
    async with engine.batches.track(
        principal.tenant, principal.id, kind, total, id=batch_id, still=still
    ) as progress:
        yield progress


async def items_of(session: Session, wish: Selection) -> list[Item]:
    """Return the objects that a selection names, each once, in its order.

    Raises:
        InvalidRequestError: it names none, too many, or an object without a bucket.
    """
    items = [Item(wish.bucket, key) for key in wish.keys]
    items += [Item(item.bucket or wish.bucket, item.key, item.version_id) for item in wish.items]
    items += [Item("", "", file_id) for file_id in wish.file_ids]
    check_count(max(len(items), 1))
    if any(not item.bucket for item in items if item.key) or (wish.prefix is not None and not wish.bucket):
        raise InvalidRequestError("name the bucket of the objects: `bucket`, or one with each item")
    if wish.prefix is not None:
        items += await _under(session, wish.bucket, wish.prefix)
    items = list(dict.fromkeys(items))
    if wish.prefix is None or len(items) > MAX_ITEMS:
        check_count(len(items))
    return items


async def _under(session: Session, bucket: str, prefix: str) -> list[Item]:
    found: list[Item] = []
    marker = ""
    while len(found) <= MAX_ITEMS:
        page = await session.list(bucket, prefix=prefix, marker=marker)
        found += [Item(bucket, version.ref.key) for version in page.items]
        if not page.truncated:
            if not found:
                raise NotFoundError("there is nothing under that prefix", name=f"{bucket}/{prefix}")
            return found
        marker = page.next_marker
    check_count(len(found))
    return found
