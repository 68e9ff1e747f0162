"""Put and copy: intent, bytes, one commit.

The order is the whole point. `begin` records every copy that is about to be tried; then bytes move and are durable;
then one transaction makes them visible. Whatever fails in between leaves pending rows, which `sweep` collects with
their bytes. No error handler deletes bytes: `abandon` only dooms rows that are still pending.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, Idempotency, NewVersion, Reserve
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import CHUNK, Body, Meter
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, HoldfastError, InvalidRequestError, QuotaExceededError
from holdfast.core.failpoints import failpoint
from holdfast.core.names import check_key
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    Bucket,
    Deleted,
    Digests,
    Located,
    ObjectRef,
    Replica,
    Segment,
    Version,
)
from holdfast.engine import checksums, rules
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context
from holdfast.engine.fanout import put_all
from holdfast.engine.part_reading import head_of
from holdfast.policy import media
from holdfast.policy.placement import Facts

MAX_METADATA_BYTES: Final = 8192
MAX_TAGS: Final = 50


@dataclass(frozen=True, slots=True)
class ObjectInput:
    """What a writer says about an object.

    `content_type` None is guessed from the key's extension. `digests` are announced digests of the body: they are
    compared before anything becomes visible. Metadata keys are kept as given; at most 8 KiB in all, and 50 tags.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    digests: Digests = NO_DIGESTS


NO_INPUT: Final = ObjectInput()
too_large = rules.too_large


@dataclass(frozen=True, slots=True)
class Written:
    """A segment whose copies are durable but not yet visible."""

    segment: Segment
    replicas: Sequence[Replica]

    @property
    def replica_ids(self) -> list[str]:
        """The ids that the commit flips to live."""
        return [replica.id for replica in self.replicas]


async def put(
    context: Context,
    ref: ObjectRef,
    body: Body,
    about: ObjectInput = NO_INPUT,
    *,
    conditions: Preconditions = NO_CONDITIONS,
    idempotency_key: str | None = None,
    once: Idempotency | None = None,
    actor: Actor,
) -> Version:
    """Store `body` as the new current version of `ref` and return it, once it would survive the loss of power.

    `once` takes the place of an idempotency key: what may be done one single time.

    Raises:
        NotFoundError: no such bucket.
        PreconditionFailedError: `conditions` do not hold at the commit.
        DigestMismatchError: the body is not what `about.digests` or its size announced.
        ConflictError: the idempotency key was used for another request.
        TooLargeError, QuotaExceededError, UnavailableError: nothing became visible.
    """
    check_key(ref.key)
    content_type = check_input(about, ref.key)
    version_id = context.environment.new_id()
    idempotency = once or await _idempotency(context, idempotency_key, ref, about, conditions)
    bucket = await context.rules.bucket(ref.tenant, ref.bucket)
    rules.check_type(bucket, ref.key, content_type)
    head, body = await opened(context, body, rules.largest(bucket, context.settings.max_object_size))
    rules.check_content(bucket, ref.key, content_type, head)
    plan = context.placement.plan(Facts(ref, body.size, content_type))
    rules.check_encryption(bucket, context.stores, plan.stores)
    reserve, body = await _reserve(context, bucket, ref, body)
    replicas = context.pending(ref, plan, version_id, version_id, body.size)
    earlier = await context.catalog.begin(
        ref,
        replicas,
        lease_until=await context.lease_until(),
        idempotency=idempotency,
        reserve=reserve,
    )
    if earlier is not None:
        return await _same(context, earlier, body, about.digests)
    failpoint("put.after_begin")
    try:
        written = await store_segment(context, ref, replicas, body, about.digests, content_type)
        failpoint("put.after_store")
        version = await context.catalog.commit_put(
            NewVersion(
                id=version_id,
                ref=ref,
                size=written.segment.size,
                etag=checksums.etag_of(written.segment.digests),
                segments=(written.segment,),
                content_type=content_type,
                metadata=about.metadata,
                tags=about.tags,
                digests=written.segment.digests,
            ),
            written.replica_ids,
            conditions=conditions,
            idempotency=idempotency,
            grace=context.grace,
            actor=actor,
        )
    except BaseException:
        await context.abandon(replicas)
        raise
    context.activity.uploaded(ref.tenant, ref.bucket)
    failpoint("put.after_commit")
    if version.id != version_id:  # another request with this idempotency key was first
        _refuse_other(version, written.segment)
    return version


async def copy(
    context: Context,
    source: Located,
    target: ObjectRef,
    about: ObjectInput | None = None,
    *,
    conditions: Preconditions = NO_CONDITIONS,
    idempotency: Idempotency | None = None,
    actor: Actor,
) -> Version | None:
    """Copy inside the stores that hold `source`, without the bytes passing through us, and return the new version.

    `about` None carries content type, metadata and tags over. Returns None when that cannot be done (a store that
    cannot copy, or another plan for the target): then read and put.
    """
    check_key(target.key)
    version = source.version
    about = about or ObjectInput(version.content_type, version.metadata, version.tags)
    content_type = check_input(about, target.key)
    bucket = await context.rules.bucket(target.tenant, target.bucket)
    rules.check_type(bucket, target.key, content_type)
    rules.check_size(bucket, version.size, context.settings.max_object_size)
    await check_kept(context, bucket, source, target.key, content_type)
    plan = context.placement.plan(Facts(target, version.size, content_type))
    rules.check_encryption(bucket, context.stores, plan.stores)
    pairs = _copy_pairs(context, source, target, plan.stores[: plan.acknowledge])
    if pairs is None:
        return None
    new_id = pairs[0][1].version_id
    replicas = [made for _, made in pairs]
    earlier = await context.catalog.begin(
        target,
        replicas,
        lease_until=await context.lease_until(),
        idempotency=idempotency,
        reserve=Reserve(version.size) if bucket.metered else None,
    )
    if earlier is not None:
        return earlier
    failpoint("copy.after_begin")
    try:
        async with context.leased(replicas):
            with at_stores():
                for old, made in pairs:
                    await context.store(made.store).backend.copy(old.blob, made.blob)
        failpoint("copy.after_store")
        segment_ids = {old.segment_id: made.segment_id for old, made in pairs}
        copied = await context.catalog.commit_put(
            NewVersion(
                id=new_id,
                ref=target,
                size=version.size,
                etag=version.etag,
                segments=[replace(segment, id=segment_ids[segment.id]) for segment in source.segments],
                content_type=content_type,
                metadata=about.metadata,
                tags=about.tags,
                digests=version.digests,
                checksum_type=version.checksum_type,
                parts=version.parts,
            ),
            [made.id for made in replicas],
            conditions=conditions,
            idempotency=idempotency,
            grace=context.grace,
            actor=actor,
        )
    except BaseException:
        await context.abandon(replicas)
        raise
    context.activity.uploaded(target.tenant, target.bucket)
    failpoint("copy.after_commit")
    return copied


async def delete(
    context: Context,
    ref: ObjectRef,
    *,
    version_id: str | None = None,
    conditions: Preconditions = NO_CONDITIONS,
    actor: Actor,
) -> Deleted:
    """Remove the object, or one version of it, in one transaction; the bytes are left to `sweep`."""
    deleted = await context.catalog.delete_object(
        ref,
        version_id=version_id,
        marker_id=context.environment.new_id(),
        conditions=conditions,
        grace=context.grace,
        actor=actor,
    )
    failpoint("delete.after_commit")
    return deleted


async def store_segment(
    context: Context,
    ref: ObjectRef,
    replicas: Sequence[Replica],
    body: Body,
    announced: Digests,
    content_type: str,
    *,
    md5: bool = True,
) -> Written:
    """Move `body` into the announced copies, digesting it on its way; durable when this returns.

    With `md5` false none is taken: of a piece whose ETag nobody will see.
    """
    limit = context.settings.md5_limit if md5 else -1
    hashers = checksums.factories(body.size, announced, md5_limit=limit)
    small = body.data is not None and len(body.data) <= CHUNK
    meter = Meter(hashers, None if small else context.executor)
    flow = body.metered(meter).expecting(size=body.size, digests=announced, meter=meter)
    if small:
        # Already here: digest now, so that the driver can take the bytes in one piece.
        async for _ in flow.chunks():
            pass
        flow = body
    targets = [(context.store(replica.store), replica.blob) for replica in replicas]
    options = PutOptions(content_type)
    async with nullcontext() if small else context.leased(replicas):
        with at_stores():
            await put_all(targets, flow, options)
    chunk_size, chunk_crcs = checksums.chunk_list(meter)
    digests = checksums.settled(meter)
    segment = Segment(replicas[0].segment_id, meter.size, digests, chunk_size, chunk_crcs)
    return Written(segment, replicas)


async def opened(context: Context, body: Body, limit: int | None) -> tuple[bytes, Body]:
    """Return the first bytes of `body`, and all of it: in good chunks, in memory when small, at most `limit` bytes.

    Raises:
        TooLargeError: at once when the size is known, else while it flows.
    """
    if limit is not None and body.size is not None and body.size > limit:
        raise too_large(limit)
    if body.data is not None:
        return body.data[: rules.HEAD], body
    head, peeked = await _sourced(body).peek(rules.HEAD)
    if peeked.data is not None:
        if limit is not None and len(peeked.data) > limit:
            raise too_large(limit)
        return head, peeked
    gathered = peeked.gathered(CHUNK)
    return head, gathered if limit is None else _bounded(gathered, limit, too_large(limit))


async def _reserve(
    context: Context, bucket: Bucket, ref: ObjectRef, body: Body
) -> tuple[Reserve | None, Body]:
    """Return what to reserve in a metered bucket, and the body: one of unknown size may fill what is left."""
    if not bucket.metered:
        return None, body
    if body.size is not None:
        return Reserve(body.size), body
    room = await context.catalog.room(ref)
    if room is None:
        return Reserve(0), body
    full = QuotaExceededError(
        f"the body is larger than the {room} bytes that are left of the quota", name=str(ref)
    )
    return Reserve(0), _bounded(body, room, full)


async def check_kept(context: Context, bucket: Bucket, source: Located, key: str, content_type: str) -> None:
    """Raise `InvalidRequestError` when a kept content may not be in `bucket` under this name and type."""
    if bucket.settings.allowed_types:
        rules.check_content(bucket, key, content_type, await head_of(context, source, rules.HEAD))


def check_input(about: ObjectInput, key: str) -> str:
    """Return the content type; `InvalidRequestError` for text that cannot travel in a header or is too much."""
    content_type = about.content_type or media.guess(key) or media.UNKNOWN
    total = 0
    for name, value in (*about.metadata.items(), *about.tags.items(), ("content-type", content_type)):
        if not name or _unprintable(name) or _unprintable(value):
            raise InvalidRequestError(
                f"{name[:80]!r}: metadata, tags and types may not hold control characters"
            )
        total += len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass"))
    if total > MAX_METADATA_BYTES:
        raise InvalidRequestError(
            f"metadata and tags have {total} bytes; at most {MAX_METADATA_BYTES} are allowed"
        )
    if len(about.tags) > MAX_TAGS:
        raise InvalidRequestError(f"{len(about.tags)} tags; at most {MAX_TAGS} are allowed")
    if len(content_type) > 255 or not media.is_media_type(content_type):
        raise InvalidRequestError(
            f"{content_type[:80]!r} is not a content type; one is like text/csv or text/html; charset=utf-8"
        )
    return content_type


def _unprintable(text: str) -> bool:
    return any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in text)


def _sourced(body: Body) -> Body:
    """Return `body` with failures of its source as what they are, so that no store takes them for its own."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in body.chunks():
                yield chunk
        except HoldfastError:
            raise
        except Exception as error:
            raise InvalidRequestError(
                f"the source of the body failed: {type(error).__name__}: {error}"
            ) from error

    return replace(body, opener=chunks)


def _bounded(body: Body, limit: int, error: HoldfastError) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in body.chunks():
            seen += len(chunk)
            if seen > limit:
                raise error
            yield chunk

    return replace(body, opener=chunks)


async def copy_request(
    context: Context,
    key: str | None,
    source: ObjectRef,
    version_id: str | None,
    target: ObjectRef,
    about: ObjectInput | None,
    conditions: Preconditions,
) -> Idempotency | None:
    """Return the client's own name for a copy, None when it gave none; the copy's source belongs to what it asks."""
    asked = ("copy", str(source), version_id, about is None)
    return await _idempotency(context, key, target, about or NO_INPUT, conditions, *asked)


async def _idempotency(
    context: Context,
    key: str | None,
    ref: ObjectRef,
    about: ObjectInput,
    conditions: Preconditions,
    *more: object,
) -> Idempotency | None:
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or _unprintable(key):
        raise InvalidRequestError("an idempotency key has 1 to 255 printable characters")
    described = (about.content_type, sorted(about.metadata.items()), sorted(about.tags.items()))
    asked = repr((str(ref), described, conditions, *more))
    fingerprint = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()
    lifetime = int(context.settings.idempotency_lifetime * 1_000_000)
    return Idempotency(key, fingerprint, await context.catalog.now() + lifetime)


async def _same(context: Context, earlier: Version, body: Body, announced: Digests) -> Version:
    """Return the version that an earlier request with this idempotency key made, if its content is that of `body`."""
    meter = Meter(checksums.factories(body.size, announced, md5_limit=0), context.executor)
    async for _ in body.metered(meter).expecting(size=body.size, digests=announced, meter=meter).chunks():
        pass
    _refuse_other(earlier, Segment("", meter.size, checksums.settled(meter)))
    return earlier


def _refuse_other(earlier: Version, sent: Segment) -> None:
    if earlier.digests.sha256 != sent.digests.sha256 or earlier.size != sent.size:
        raise ConflictError("the idempotency key was used for another content", name=str(earlier.ref))


def _copy_pairs(
    context: Context, source: Located, target: ObjectRef, stores: Sequence[str]
) -> list[tuple[Replica, Replica]] | None:
    """Return (existing, new) for each copy that the target needs, or None when a store cannot copy inside itself."""
    new_id = context.environment.new_id()
    single = len(source.segments) == 1 and source.version.parts == 0
    pairs = []
    for segment in source.segments:
        segment_id = new_id if single else context.environment.new_id()
        held = {replica.store: replica for replica in source.replicas if replica.segment_id == segment.id}
        for number, name in enumerate(stores):
            store = context.stores.get(name)
            if store is None or name not in held or Capability.COPY not in store.backend.capabilities:
                return None
            made = context.replica(target, store, new_id, segment_id, segment.size, number)
            pairs.append((held[name], made))
    return pairs
