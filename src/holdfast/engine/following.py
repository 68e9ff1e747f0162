"""A bucket that follows a store which others still write to: its upstream.

Before a key is read, changed or deleted here, what the upstream has of it is taken over if it is newer; so a reader gets
what was written there a moment ago, and nothing else. Changes made here are divergences, rows of the transaction that
makes them; where they are to be written out, that is done later, one process at a time for a key, and again until it is
done. While the upstream does not answer, what is here is served.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Final

import structlog

from holdfast.catalog.contract import Actor
from holdfast.core.adopted import (
    Divergence,
    Found,
    HeldKey,
    Hold,
    Outcome,
    Taking,
    Upstream,
    Verdict,
    Way,
    foreign_name,
    is_foreign,
    parse_foreign,
)
from holdfast.core.backend import Backend, PutOptions
from holdfast.core.body import CHUNK, Body, Meter
from holdfast.core.errors import (
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from holdfast.core.failpoints import failpoint
from holdfast.core.types import ChecksumType, Located, ObjectRef, Span, Version
from holdfast.engine import adopting
from holdfast.engine.context import Context
from holdfast.engine.run import Health, Run
from holdfast.policy.following import judge

ACTOR: Final = Actor("upstream")  #: who it was, in the audit
LEASE: Final = (
    60_000_000  #: microseconds for which a change is nobody else's to write out; and one more for each byte
)
_log = structlog.get_logger("holdfast.upstream")


def way_of(upstream: Upstream) -> Way:
    """Return how the bucket of `upstream` takes over."""
    return Way(True, upstream.writes)


def taking_of(upstream: Upstream) -> Taking:
    """Return how objects of an upstream are taken over: they belong where the rules say, and a debt brings them there."""
    return Taking(upstream.store, keep=upstream.keep, follows=True, rule="")


async def bring(context: Context, ref: ObjectRef, *, at_once: bool = False) -> Found | None:
    """Take over what the upstream of a bucket has of a key, if it is newer; return what it has, if it was asked.

    With `at_once` the upstream is asked even if the key is here and its bucket does not ask each time: a delete must know
    what it deletes, or that would seem to have come after it.

    Raises:
        UnavailableError: nothing is here of the key, and the upstream cannot tell whether it has something.
    """
    upstream = await context.following.of(ref.tenant, ref.bucket)
    if upstream is None or not upstream.reads:
        return None
    held = (await context.catalog.held_keys(ref.tenant, ref.bucket, [ref.key])).get(ref.key, HeldKey(ref.key))
    known = bool(held.version_id) or held.divergence is not None
    if known and not (upstream.fresh or at_once):
        return None
    ours = upstream.writes and held.divergence is not None and held.divergence.owed  # it is on its way there
    if ours and not at_once:
        return None
    try:
        return await _bring(context, upstream, ref, held, take=not ours)
    except ConflictError:  # it is not followed any more
        context.following.forget()
    except HoldfastError as error:
        if not known:
            raise UnavailableError(
                f"it is not here, and cannot be had from store {upstream.store!r}, which the bucket follows:"
                f" {error.message}",
                operation="get",
            ) from error
        _log.info("nothing newer could be had from the upstream", store=upstream.store, reason=error.message)
    return None


async def _bring(
    context: Context, upstream: Upstream, ref: ObjectRef, held: HeldKey, *, take: bool
) -> Found | None:
    backend = adopting.foreign_store(context, upstream.store).backend
    name = upstream.name(ref.key)
    found = await adopting.look(backend, name, ref.key)
    failpoint("upstream.after_look")
    if found is None or not take or judge(found, held, way_of(upstream), certain=True) is not Verdict.TAKE:
        return found
    taking = taking_of(upstream)
    taken = await adopting.take_found(
        context, ref.tenant, ref.bucket, taking, found, over=held.version_id, actor=ACTOR
    )
    if taken.outcome is Outcome.REFUSED:
        raise UnavailableError(f"what is there cannot be taken over: {taken.reason}")
    return found


async def again(context: Context, ref: ObjectRef, located: Located) -> None:
    """Take over anew what was adopted, after it could not be read: its key may have got another content.

    Raises:
        NotFoundError: the key is gone from the store that it was adopted from, and it was nowhere else.
        UnavailableError: that store does not answer.
    """
    foreign = [copy for copy in located.replicas if is_foreign(copy.blob)]
    upstream = await context.following.of(ref.tenant, ref.bucket)
    for copy in foreign:
        told = parse_foreign(copy.blob)
        taking = Taking(copy.store, keep=told.hold is Hold.KEEP)
        if upstream is not None and upstream.reads and upstream.store == copy.store:
            taking = taking_of(upstream)
        with suppress(ConflictError):
            taken = await adopting.take_one(
                context, ref.tenant, ref.bucket, taking, told.key, ref.key, actor=ACTOR
            )
            if taken.outcome is Outcome.GONE and len(foreign) == len(located.replicas):
                raise NotFoundError(
                    f"it was adopted from store {copy.store!r}, which has it no more", name=str(ref)
                )


# -- changes written out ----------------------------------------------------------------------------------------------
async def write_out(context: Context, upstream: Upstream, owed: Divergence) -> int:
    """Give the upstream a change that was made here, and return the bytes that went there.

    What others wrote there later is taken over in its place. Dying before the end means that it is done again. Whoever
    calls has taken `owed`, so nobody else does it.

    Raises:
        HoldfastError: it could not be written out now.
    """
    backend = adopting.foreign_store(context, upstream.store).backend
    plain = upstream.name(owed.key)
    if await adopting.is_ours(context, upstream.store, plain):
        raise InvalidRequestError(
            "blobs and backups of this service have such names there; give the object another key"
        )
    found = await adopting.look(backend, plain, owed.key)
    held = HeldKey(owed.key, owed.version_id, divergence=owed)
    later = found is not None and judge(found, held, Way(True), certain=True) is Verdict.TAKE
    if found is not None and later and not await _was_sent(context, backend, found, owed.sent):
        await _taken_instead(context, upstream, owed, plain)
        return 0
    if owed.deleted:
        if found is not None:  # and nothing that came in its place since we looked
            await backend.delete(foreign_name(plain, found.pin, Hold.OWN))
        failpoint("upstream.after_delete")
        await context.catalog.settle_out(upstream, owed, pin=owed.pin, modified=owed.modified)
        return 0
    ref = ObjectRef(upstream.tenant, upstream.bucket, owed.key)
    try:
        located = await context.catalog.resolve(ref, version_id=owed.version_id)
    except NotFoundError:  # it was changed again, and that is owed as well
        return 0
    version = located.version
    options = PutOptions(version.content_type, version.metadata, tags=version.tags)
    body = Body.of_stream(_bytes_of(context, located), size=version.size)
    await context.catalog.send_out(upstream, owed.key, _content_of(version))
    name = foreign_name(plain)
    put = await backend.put(name, body, options=options)
    failpoint("upstream.after_put")
    told = await backend.head(name)
    modified = told.modified if told.etag == put.etag else put.modified
    await context.catalog.settle_out(upstream, owed, pin=put.etag or "", modified=modified)
    return version.size


def _content_of(version: Version) -> str:
    """Return what `Divergence.sent` says of a version; "" where its digest is not known."""
    digest = version.digests.sha256 if version.checksum_type is ChecksumType.FULL_OBJECT else None
    return f"{version.size}:{digest.hex()}" if digest else ""


async def _was_sent(context: Context, backend: Backend, found: Found, sent: str) -> bool:
    """Tell whether `found` is a content that was written out by somebody who died before it was noted."""
    size, _, digest = sent.partition(":")
    if size != str(found.size):
        return False
    meter = Meter({"sha256": sha256}, context.executor if found.size > CHUNK else None)
    try:
        async with backend.get(foreign_name(found.name, found.pin, Hold.KEEP)) as reader:
            async for chunk in reader:
                await meter.update(chunk)
    except NotFoundError:
        return False
    return ((await meter.finish()).sha256 or b"").hex() == digest


async def _taken_instead(context: Context, upstream: Upstream, owed: Divergence, name: str) -> None:
    """Take over what came after a change that was to be written out."""
    if not upstream.reads:
        raise ConflictError(
            "it was changed there later, and the bucket was cut over; go back to take that over"
        )
    taking = replace(taking_of(upstream), later=True)
    taken = await adopting.take_one(
        context, upstream.tenant, upstream.bucket, taking, name, owed.key, actor=ACTOR
    )
    if taken.outcome not in (Outcome.TAKEN, Outcome.CHANGED):
        raise ConflictError(
            f"it was changed there later, and could not be taken over: {taken.reason or 'it changes'}"
        )


async def _bytes_of(context: Context, located: Located) -> AsyncIterator[bytes]:
    """Yield all bytes of a version, each chunk proved, from whichever copies can be read."""
    if located.data is not None:
        yield located.data
        return
    health = Health(context)
    for segment in located.segments:
        if not segment.size:
            continue
        copies = [copy for copy in located.replicas if copy.segment_id == segment.id]
        run = Run(context, health, located.version.ref, segment, Span(0, segment.size), copies)
        try:
            async for chunk in run.chunks():
                yield chunk
        finally:
            await run.close()
