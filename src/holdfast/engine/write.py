"""Put and copy: intent, bytes, one commit.

The order is the whole point. `begin` records every copy that is about to be tried; then bytes move and are durable;
then one transaction makes them visible. Whatever fails in between leaves pending rows, which `sweep` collects with
their bytes. No error handler deletes bytes: `abandon` only dooms rows that are still pending.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from holdfast.catalog.contract import Actor, Idempotency, NewVersion, Reserve
from holdfast.core.backend import Capability, Describer
from holdfast.core.body import CHUNK, Body, Meter
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import (
    ConflictError,
    DigestMismatchError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
)
from holdfast.core.failpoints import failpoint
from holdfast.core.names import INLINE, check_key, is_sealed
from holdfast.core.types import (
    Bucket,
    Deleted,
    Digests,
    Located,
    More,
    ObjectRef,
    Replica,
    Segment,
    Version,
)
from holdfast.engine import checksums, rules
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.following import bring
from holdfast.engine.object_input import NO_INPUT as NO_INPUT
from holdfast.engine.object_input import ObjectInput as ObjectInput
from holdfast.engine.object_input import check_input as check_input
from holdfast.engine.object_input import unprintable
from holdfast.engine.part_reading import head_of
from holdfast.engine.storing import land, more_of, told_of
from holdfast.engine.targets import accepted, blamed, owed_since, target_of

too_large = rules.too_large


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
    if conditions:
        await bring(context, ref)
    version_id = context.environment.new_id()
    idempotency = once or await _idempotency(context, idempotency_key, ref, about, conditions)
    bucket = await context.rules.bucket(ref.tenant, ref.bucket)
    rules.check_type(bucket, ref.key, content_type)
    asked = await asking(context, bucket)
    most = rules.largest(bucket, context.settings.max_object_size)
    head, body = await opened(context, body, most, look=asked.look)
    rules.check_content(bucket, ref.key, content_type, head)
    facts = asked.facts(ref, body.size, content_type, tags=about.tags, storage_class=about.storage_class)
    plan = asked.plan(facts)
    rules.check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
    if plan.inline and body.data is not None:
        return await _put_inline(
            context, ref, version_id, body, about, content_type, conditions, idempotency, actor
        )
    reserve, body = await _reserve(context, bucket, ref, body)
    landed = await land(
        context,
        ref,
        plan,
        bucket,
        body,
        version_id=version_id,
        announced=about.digests,
        content_type=content_type,
        reserve=reserve,
        idempotency=idempotency,
        more=More(content_type, about.metadata, about.tags, about.storage_class),
    )
    if landed.earlier is not None:
        return await _same(context, landed.earlier, landed.body, about.digests)
    written = landed.written
    try:
        failpoint("put.after_store")
        owed = landed.target.owed
        if (placement := await context.placing.fresh()) is not asked.placement:
            owed = owed_since(landed.target, placement.plan(facts))
        version = await context.catalog.commit_put(
            replace(_new_version(version_id, ref, written.segment, about, content_type), owed=owed),
            written.replica_ids,
            conditions=conditions,
            idempotency=idempotency,
            grace=context.grace,
            actor=actor,
        )
    except BaseException:
        await context.abandon(written.replicas)
        raise
    context.activity.uploaded(ref.tenant, ref.bucket)
    failpoint("put.after_commit")
    if version.id != version_id:  # another request with this idempotency key was first
        _refuse_other(version, written.segment)
    return version


async def _put_inline(
    context: Context,
    ref: ObjectRef,
    version_id: str,
    body: Body,
    about: ObjectInput,
    content_type: str,
    conditions: Preconditions,
    idempotency: Idempotency | None,
    actor: Actor,
) -> Version:
    """Put a body that is in memory into the catalog, with its version and all that follows, in one transaction.

    There is no intent before it: whatever fails, nothing is left over. What the bucket has room for is settled in that
    transaction alone, so a body that is refused is refused there.
    """
    assert body.data is not None
    segment = await _digested(context, version_id, body.data, about.digests)
    version = await context.catalog.commit_inline(
        _new_version(version_id, ref, segment, about, content_type),
        context.replica(ref, context.store(INLINE), version_id, version_id, segment.size, 0),
        body.data,
        conditions=conditions,
        idempotency=idempotency,
        grace=context.grace,
        actor=actor,
    )
    context.activity.uploaded(ref.tenant, ref.bucket)
    failpoint("put.after_commit")
    if version.id != version_id:  # an earlier request with this idempotency key
        _refuse_other(version, segment)
    return version


async def _digested(context: Context, segment_id: str, data: bytes, announced: Digests) -> Segment:
    """Return the segment that `data` is, compared with what was announced of it."""
    hashers = checksums.factories(len(data), announced, md5_limit=context.settings.md5_limit)
    meter = Meter(hashers, None if len(data) <= CHUNK else context.executor)
    await meter.update(data)
    found = await meter.finish()
    if wrong := announced.mismatch(found):
        raise DigestMismatchError(f"the {wrong} of the body is not the announced one")
    digests = Digests(found.sha256, found.md5 or None, found.crc64nvme)
    return Segment(segment_id, len(data), digests, *checksums.chunk_list(meter))


def _new_version(
    version_id: str, ref: ObjectRef, segment: Segment, about: ObjectInput, content_type: str
) -> NewVersion:
    """Return the version whose only segment this is."""
    return NewVersion(
        id=version_id,
        ref=ref,
        size=segment.size,
        etag=checksums.etag_of(segment.digests),
        segments=(segment,),
        content_type=content_type,
        metadata=about.metadata,
        tags=about.tags,
        digests=segment.digests,
        storage_class=about.storage_class,
    )


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
    about = about or said_of(version)
    content_type = check_input(about, target.key)
    bucket = await context.rules.bucket(target.tenant, target.bucket)
    rules.check_type(bucket, target.key, content_type)
    rules.check_size(bucket, version.size, context.settings.max_object_size)
    await check_kept(context, bucket, source, target.key, content_type)
    asked = await asking(context, bucket)
    plan = asked.plan(
        asked.facts(
            target,
            version.size,
            content_type,
            tags=about.tags,
            storage_class=about.storage_class,
            apart=version.parts > 0,  # parts are kept, and with them the ETag
        )
    )
    rules.check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
    goal = target_of(context, plan, bucket)
    pairs = _copy_pairs(context, source, target, goal.stores, sealed=goal.encrypt)
    if pairs is None:  # so is it for an inline plan: small contents are read and put in one transaction
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
                    await _copy_blob(context, source, target, old, made, about, content_type)
        failpoint("copy.after_store")
        accepted(context, goal)
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
                storage_class=about.storage_class,
                owed=goal.owed,
            ),
            [made.id for made in replicas],
            conditions=conditions,
            idempotency=idempotency,
            grace=context.grace,
            actor=actor,
        )
    except BaseException as error:
        await context.abandon(replicas)
        if isinstance(error, UnavailableError) and isinstance(error.__cause__, NotFoundError):
            return None  # what is to be copied is not there: read it, perhaps elsewhere; the store is not to blame
        if blamed(context, goal.stores, error) and goal.spare:
            return None  # put it instead: that may go to another store
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
    there = None if version_id is not None else await bring(context, ref, at_once=True)
    deleted = await context.catalog.delete_object(
        ref,
        version_id=version_id,
        there=None if there is None else (there.pin, there.modified),
        marker_id=context.environment.new_id(),
        conditions=conditions,
        grace=context.grace,
        actor=actor,
    )
    failpoint("delete.after_commit")
    return deleted


def said_of(version: Version) -> ObjectInput:
    """Return what was said of `version`, to say the same of another."""
    return ObjectInput(
        version.content_type, version.metadata, version.tags, storage_class=version.storage_class
    )


async def opened(context: Context, body: Body, limit: int | None, *, look: int = 0) -> tuple[bytes, Body]:
    """Return the first bytes of `body`, and all of it: in good chunks, in memory when small, at most `limit` bytes.

    One below `look` bytes is in memory then, and its size known.

    Raises:
        TooLargeError: at once when the size is known, else while it flows.
    """
    if limit is not None and body.size is not None and body.size > limit:
        raise too_large(limit)
    if body.data is not None:
        return body.data[: rules.HEAD], body
    wanted = max(rules.HEAD, look) if body.size is None or body.size < look else rules.HEAD
    head, peeked = await _sourced(body).peek(wanted)
    head = head[: rules.HEAD]
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
    if not 1 <= len(key) <= 255 or unprintable(key):
        raise InvalidRequestError("an idempotency key has 1 to 255 printable characters")
    described = (about.content_type, sorted(about.metadata.items()), sorted(about.tags.items()))
    if about.storage_class:
        more = (*more, about.storage_class)
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


async def _copy_blob(
    context: Context,
    source: Located,
    target: ObjectRef,
    old: Replica,
    made: Replica,
    about: ObjectInput,
    content_type: str,
) -> None:
    """Copy one blob inside its store, after saying what the copy is."""
    backend = context.store(made.store).for_blob(made.blob)
    if isinstance(backend, Describer):
        number, segment = next(
            (number, one) for number, one in enumerate(source.segments, 1) if one.id == old.segment_id
        )
        part = number if source.version.parts else None
        said = more_of(source.version, segment, len(source.segments))
        more = replace(
            said,
            content_type=content_type,
            metadata=about.metadata,
            tags=about.tags,
            storage_class=about.storage_class,
        )
        await backend.describe(
            made.blob, told_of(context, target, made, part=part, sha256=segment.digests.sha256, more=more)
        )
    await backend.copy(old.blob, made.blob)


def _copy_pairs(
    context: Context, source: Located, target: ObjectRef, stores: Sequence[str], *, sealed: bool
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
            made = context.replica(target, store, new_id, segment_id, segment.size, number, sealed=sealed)
            if is_sealed(held[name].blob) or is_sealed(made.blob):  # each encrypted blob has a key of its own
                return None
            pairs.append((held[name], made))
    return pairs
