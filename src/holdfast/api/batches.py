"""Requests over many objects: small ones answered when they are done, large ones watched while they run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, Final

from msgspec import UNSET

from holdfast.api.archives import TYPES, archive_of, chunks_of
from holdfast.api.batching import items_of, tracked
from holdfast.api.body import small_body
from holdfast.api.describe import disposition
from holdfast.api.errors import status_of
from holdfast.api.exchange import Exchange
from holdfast.api.file_models import (
    BatchCopy,
    BatchDelete,
    BatchDownload,
    BatchList,
    BatchResults,
    BatchTag,
    batch_info,
    outcome,
)
from holdfast.api.job_events import Watchers
from holdfast.api.listing import number
from holdfast.api.models import decode, encode
from holdfast.api.server.cycle import ClientGone
from holdfast.catalog.contract import Actor, Batch, BatchState
from holdfast.core.clock import Clock
from holdfast.core.errors import (
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.engine.acting import VERBS, Deed, Doing, act_of, located
from holdfast.engine.batches import DIRECT, Item, Result, check_count
from holdfast.engine.engine import Engine
from holdfast.engine.item_log import ItemLog, Origin
from holdfast.engine.session import Session
from holdfast.jobs.batch import Begun, begin

_AGENT: Final = 256  #: of what the client calls itself, as the audit keeps it
_MAX_JSON: Final = 16 << 20  #: bytes: 10,000 long keys
_LOOK: Final = 0.5  #: seconds between two looks at a batch that is watched
_ALIVE: Final = 10.0  #: seconds after which a watcher hears something anyway
_LONGEST: Final = 300.0  #: seconds that one watch lasts; who wants more asks again
_WAIT: Final = 60  #: seconds that a watcher may wait for a batch to begin
_SSE: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class BatchDoor:
    """Requests over many objects, and how far they are."""

    def __init__(self, engine: Engine, clock: Clock, watchers: Watchers, *, audit_reads: bool = True) -> None:
        self._engine = engine
        self._watchers = watchers
        self._log = ItemLog(engine.audit.recorder, clock, reads=audit_reads, status_of=status_of)
        self._batches = engine.batches
        self._clock = clock

    # -- doing ----------------------------------------------------------------------------------------------------
    async def delete(self, exchange: Exchange) -> None:
        """Remove many objects; ids, and items with a version, for good.

        Up to 200 objects are answered when it is done: 200, or 207 when some failed. More, or with `async`, are
        answered with 202 at once. What is not there counts as removed.
        """
        wish = decode(BatchDelete, await small_body(exchange, _MAX_JSON))
        items = await items_of(exchange.session, wish)
        await self._do(exchange, Doing(Deed.DELETE), items, wish.batch_id, background=wish.background)

    async def tag(self, exchange: Exchange) -> None:
        """Change tags or metadata of many objects; answered as a batch delete is."""
        wish = decode(BatchTag, await small_body(exchange, _MAX_JSON))
        if wish.tags is None and wish.metadata is None:
            raise InvalidRequestError("name the tags or the metadata to be set")
        doing = Doing(Deed.TAG, wish.metadata, wish.tags, merge=not wish.replace)
        items = await items_of(exchange.session, wish)
        await self._do(exchange, doing, items, wish.batch_id, background=wish.background)

    async def copy(self, exchange: Exchange) -> None:
        """Copy many objects, inside their store where it can; answered as a batch delete is."""
        wish = decode(BatchCopy, await small_body(exchange, _MAX_JSON))
        items = await _copies(exchange.session, wish)
        await self._do(exchange, Doing(Deed.COPY), items, wish.batch_id, background=wish.background)

    async def _do(
        self,
        exchange: Exchange,
        doing: Doing,
        items: Sequence[Item],
        batch_id: str | None,
        *,
        background: bool,
    ) -> None:
        session, origin = exchange.session, _origin(exchange)
        principal, kind = session.principal, doing.deed.value
        _refuse(session, kind, items)
        if background or len(items) > DIRECT:
            begun = Begun(
                doing=doing,
                principal=principal,
                request_id=origin.request_id,
                address=origin.address,
                agent=origin.agent,
            )
            batch = await begin(self._engine, begun, items, id=batch_id)
            place = ((b"location", f"/api/v1/batch/{batch.id}".encode()),)
            await exchange.answer_json(202, encode(batch_info(batch)), place)
            return
        batch, results = await self._batches.run(
            principal.tenant,
            principal.id,
            kind,
            items,
            self._log.watched(origin, VERBS[kind], act_of(session, doing)),
            id=batch_id,
            still=partial(self._engine.directory.check_still, principal),
        )
        await _answer(exchange, batch, results)

    async def download(self, exchange: Exchange) -> None:
        """Send many objects as one zip, tar or tar.gz, made while it is sent.

        What cannot be opened is named in `_errors.json`, the last member. With a `batch_id` of the client the
        progress can be watched from another connection.
        """
        wish = decode(BatchDownload, await small_body(exchange, _MAX_JSON))
        if wish.format not in TYPES:
            raise InvalidRequestError("format is zip, tar or tar.gz")
        session = exchange.session
        items = [await _known(session, item) for item in await items_of(session, wish)]
        _refuse(session, "download", items)
        async with (
            tracked(self._engine, exchange, "download", len(items), wish.batch_id) as progress,
            AsyncExitStack() as leaving,
        ):
            archive = chunks_of(
                archive_of(wish.format), session, items, progress, self._log.told(_origin(exchange), "get")
            )
            chunks = await leaving.enter_async_context(aclosing(archive))
            first = await anext(chunks)
            name = re.sub(r"[/\\\x00-\x1f]", "_", wish.name).strip() or "files"
            headers = [
                (b"content-type", TYPES[wish.format]),
                (b"content-disposition", disposition("attachment", f"{name}.{wish.format}")),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
            ]
            await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": first, "more_body": True})
            async for chunk in chunks:
                await progress.go_on()
                await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    # -- looking --------------------------------------------------------------------------------------------------
    async def show(self, exchange: Exchange, batch_id: str) -> None:
        """Answer with how far a batch is. Whoever began it may ask, and who looks after the whole tenant."""
        await exchange.answer_json(200, encode(batch_info(await self._get(exchange.session, batch_id))))

    async def list(self, exchange: Exchange) -> None:
        """Answer with batches, the newest first; they are forgotten a day after they began."""
        limit = number(exchange, "limit", 100, least=1, most=1000)
        before = number(exchange, "before", 0)
        principal = exchange.session.principal
        found = await self._batches.list(principal.tenant, before=before or None, limit=limit)
        seen = [batch for batch in found if _is_for(exchange.session, batch)]
        more = found[-1].created if len(found) == limit else 0
        await exchange.answer_json(200, encode(BatchList([batch_info(batch) for batch in seen], more)))

    async def cancel(self, exchange: Exchange, batch_id: str) -> None:
        """Stop a batch; what was done stays done. Answers with how far it is."""
        session = exchange.session
        await self._get(session, batch_id)
        actor = Actor(session.principal.id, exchange.request_id, exchange.address)
        await self._batches.cancel(session.principal.tenant, batch_id, actor=actor)
        await exchange.answer_json(200, encode(batch_info(await self._get(session, batch_id))))

    async def events(self, exchange: Exchange, batch_id: str) -> None:
        """Send how far a batch is whenever that changes, as server-sent events: `progress`, and `end` for the last.

        `wait` is for how many seconds to wait for a batch that has not begun yet. One answer lasts five minutes at
        most, and ends when the service is stopped; browsers ask again by themselves. Whoever closes their side of the
        connection is sent no more.
        """
        wait = number(exchange, "wait", 0, most=_WAIT)
        with self._watchers.place(exchange.session.principal.tenant):
            await self._tell(exchange, batch_id, wait)
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, exchange: Exchange, batch_id: str, wait: int) -> None:
        batch = await self._begun(exchange, batch_id, wait)
        await exchange.send({"type": "http.response.start", "status": 200, "headers": list(_SSE)})
        ends, heard, known = self._clock.monotonic() + _LONGEST, self._clock.monotonic(), None
        while True:
            running, now = batch.state is BatchState.RUNNING, self._clock.monotonic()
            if batch != known:
                await _event(exchange, "progress" if running else "end", encode(batch_info(batch)))
                known, heard = batch, now
            elif now - heard > _ALIVE:
                await _say(exchange, b": still there\n\n")
                heard = now
            if not running or now > ends or exchange.draining:
                return
            await self._rest(exchange)
            await self._engine.directory.check_still(exchange.session.principal)
            batch = await self._get(exchange.session, batch_id)

    async def _begun(self, exchange: Exchange, batch_id: str, wait: int) -> Batch:
        ends = self._clock.monotonic() + wait
        while True:
            try:
                return await self._get(exchange.session, batch_id)
            except NotFoundError:
                if self._clock.monotonic() >= ends:
                    raise
            if exchange.draining:
                raise UnavailableError("the service is stopping; ask again", retry_after=1)
            await self._rest(exchange)

    async def _rest(self, exchange: Exchange) -> None:
        """Wait until the next look, or raise `ClientGone` when nobody would see it."""
        await self._clock.sleep(_LOOK)
        if exchange.forsaken:
            raise ClientGone("nobody watches any more")

    async def _get(self, session: Session, batch_id: str) -> Batch:
        batch = await self._batches.get(session.principal.tenant, batch_id)
        if not _is_for(session, batch):
            raise NotFoundError("there is no such batch", name=batch_id)
        return batch


def _origin(exchange: Exchange) -> Origin:
    agent = exchange.headers.get(b"user-agent", b"")[:_AGENT].decode("utf-8", "replace")
    return Origin(exchange.session.principal, exchange.request_id, exchange.address, agent)


def _is_for(session: Session, batch: Batch) -> bool:
    """Tell whether a batch may be looked at: by whoever began it, or whoever looks after the whole tenant."""
    principal = session.principal
    return batch.principal == principal.id or (
        principal.role in ("admin", "operator") and not principal.scopes
    )


def _refuse(session: Session, kind: str, items: Sequence[Item]) -> None:
    """Refuse a batch of which nothing is allowed; what is allowed in part fails item by item."""
    verb = VERBS[kind]
    for item in items:
        if not item.key or session.may(verb, item.bucket, item.key):
            return
    raise PermissionDeniedError(f"none of these objects may be asked to {kind}", operation=verb)


async def _known(session: Session, item: Item) -> Item:
    try:
        return await located(session, item, "get")
    except HoldfastError:
        return Item("", item.version_id or "", item.version_id)


async def _copies(session: Session, wish: BatchCopy) -> list[Item]:
    """Return what is to be copied, each with its target. That of an id is known as far as its key."""
    items = []
    for pair in wish.copies:
        source, target = pair.source, pair.target
        place = (target.bucket or wish.bucket, target.key)
        items.append(Item(source.bucket or wish.bucket, source.key, source.version_id, place))
    if any(not item.bucket or item.target is None or not item.target[0] for item in items):
        raise InvalidRequestError("name the bucket of each source and target")
    if wish.target is not None:
        cut = len(wish.prefix or "")
        for item in await items_of(session, wish):
            key = wish.target.prefix + item.key[cut:] if item.key else wish.target.prefix
            items.append(
                Item(item.bucket, item.key, item.version_id, (wish.target.bucket or item.bucket, key))
            )
    check_count(len(items))
    if any(item.target == (item.bucket, item.key) and item.version_id is None for item in items):
        raise InvalidRequestError("an object would be copied onto itself; name another bucket or prefix")
    return items


async def _answer(exchange: Exchange, batch: Batch, results: Sequence[Result]) -> None:
    """Answer with how it went with each item; when nothing went well, with the error of the first."""
    answer = BatchResults(
        success=not batch.failed,
        total=batch.total,
        done=batch.done,
        failed=batch.failed,
        bytes=batch.bytes,
        results=[outcome(result) for result in results],
        batch_id=batch.id or UNSET,
    )
    if batch.failed == batch.total and results[0].error is not None:
        told: Any = decode(dict, encode(answer))
        exchange.more = {"results": told["results"]}
        raise results[0].error
    await exchange.answer_json(207 if batch.failed else 200, encode(answer))


async def _event(exchange: Exchange, name: str, data: bytes) -> None:
    await _say(exchange, b"event: %s\ndata: %s\n\n" % (name.encode(), data))


async def _say(exchange: Exchange, text: bytes) -> None:
    await exchange.send({"type": "http.response.body", "body": text, "more_body": True})
