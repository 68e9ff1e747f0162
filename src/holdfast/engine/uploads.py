"""Multipart uploads: parts are blobs of their own, and completing is one transaction over their list.

So completing costs the same for a megabyte and a terabyte, parts may arrive in any order, repeatedly and in parallel,
on any replica of the service, and a part that was acknowledged is as durable as an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from holdfast.catalog.contract import Actor, NewVersion, Owed, Reserve
from holdfast.core.body import Body
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.names import check_key
from holdfast.core.types import (
    EMPTY,
    Bucket,
    ChecksumType,
    Digests,
    More,
    ObjectRef,
    Part,
    Replica,
    Segment,
    Upload,
    Version,
)
from holdfast.engine import checksums, rules
from holdfast.engine.context import Context
from holdfast.engine.facts import STORAGE_CLASS, asking
from holdfast.engine.following import bring
from holdfast.engine.grants import check_granted_content, check_upload_size, once_of, types_of
from holdfast.engine.part_reading import first_bytes
from holdfast.engine.storing import store_segment
from holdfast.engine.targets import (
    blamed,
    fell_back,
    owed_by,
    owed_since,
    pending,
    pinned,
    target_in,
    target_of,
)
from holdfast.engine.telling import tell_whole
from holdfast.engine.write import ObjectInput, check_input, opened

MAX_PARTS = 10_000
_PAGE = 1000


def part_of(segment: Segment, *, number: int, created: int) -> Part:
    """Return the part that `segment` is the content of."""
    return Part(
        number=number,
        segment_id=segment.id,
        size=segment.size,
        etag=checksums.etag_of(segment.digests),
        digests=segment.digests,
        created=created,
        chunk_size=segment.chunk_size,
        chunk_crcs=segment.chunk_crcs,
    )


async def create(
    context: Context,
    ref: ObjectRef,
    about: ObjectInput,
    *,
    length: int | None = None,
    lifetime: float | None = None,
    kind: str = "multipart",
    options: Mapping[str, str] = EMPTY,
    actor: Actor,
) -> Upload:
    """Open an upload for `ref`; it must be completed within the lifetime that `Upload.expires` shows.

    Args:
        length: bytes of the whole, when they are known: a quota that has no room for them refuses now.
        lifetime: seconds; the longest, and the default, is `upload_lifetime` of the settings.

    Raises:
        TooLargeError, QuotaExceededError: `length` does not fit. InvalidRequestError: `about` cannot be kept.
    """
    check_key(ref.key)
    content_type = check_input(about, ref.key)
    bucket = await context.rules.bucket(ref.tenant, ref.bucket)
    if kind != "tus-partial":  # what it becomes a part of is checked instead
        rules.check_type(bucket, ref.key, content_type)
    rules.check_size(bucket, length or 0, context.settings.max_object_size)
    longest = context.settings.upload_lifetime
    now = await context.catalog.now()
    upload_id = context.environment.new_id()
    upload = Upload(
        id=upload_id,
        ref=ref,
        version_id=upload_id,  # the version it will be; so a repeated completion finds what the first one made
        created=now,
        expires=now + int(min(longest, lifetime or longest) * 1_000_000),
        content_type=content_type,
        metadata=about.metadata,
        tags=about.tags,
        kind=kind,
        length=length,
        options={**options, STORAGE_CLASS: about.storage_class} if about.storage_class else options,
    )
    plan = (await asking(context, bucket)).of_upload(upload)
    target = target_of(context, plan, bucket, strict=kind == "tus-partial")
    upload = replace(upload, options={**upload.options, **pinned(target)})
    opened_upload = await context.catalog.create_upload(upload, actor=actor)
    fell_back(context, target)
    return opened_upload


async def put_part(
    context: Context, ref: ObjectRef, upload_id: str, number: int, body: Body, announced: Digests
) -> Part:
    """Store part `number` (1 to 10,000), replacing an earlier one of that number, and return it once it is durable."""
    if not 1 <= number <= MAX_PARTS:
        raise InvalidRequestError(f"part number {number}; parts are numbered 1 to {MAX_PARTS}")
    upload = await _multipart(context, ref, upload_id)
    bucket = await context.rules.bucket(ref.tenant, ref.bucket)
    _, body = await opened(context, body, rules.largest(bucket, context.settings.max_object_size))
    replicas = await begin_part(context, upload, body.size, body.size or 0)
    failpoint("part.after_begin")
    try:
        written = await store_segment(
            context,
            ref,
            replicas,
            body,
            announced,
            upload.content_type,
            part=number,
            more=said_by(upload),
        )
        failpoint("part.after_store")
        part = part_of(written.segment, number=number, created=await context.catalog.now())
        acknowledged = await context.catalog.commit_part(upload, part, written.replica_ids)
    except BaseException as error:
        await context.abandon(replicas)
        blamed(context, [replica.store for replica in replicas], error)
        raise
    failpoint("part.after_commit")
    return acknowledged


async def begin_part(context: Context, upload: Upload, size: int | None, reserve: int) -> list[Replica]:
    """Announce the copies of a part; `reserve` bytes of a quota if the upload has not reserved its whole length."""
    bucket = await context.rules.bucket(upload.ref.tenant, upload.ref.bucket)
    asked = await asking(context, bucket)
    target = target_in(upload.options) or target_of(context, asked.of_upload(upload), bucket, strict=True)
    rules.check_encryption(bucket, context.stores, target.stores, encrypt=target.encrypt)
    segment_id = context.environment.new_id()
    replicas = pending(context, upload.ref, target, upload.version_id, segment_id, size)
    apart = bucket.metered and upload.length is None
    await context.catalog.begin(
        upload.ref,
        replicas,
        lease_until=await context.lease_until(),
        reserve=Reserve(reserve, objects=0, replaces=False) if apart else None,
    )
    return replicas


async def _multipart(context: Context, ref: ObjectRef, upload_id: str) -> Upload:
    """Return an open upload whose parts have numbers."""
    upload = await context.catalog.upload(ref, upload_id)
    if upload.kind != "multipart":
        raise ConflictError("this upload grows at its end (tus); it takes no numbered parts", name=upload_id)
    return upload


async def complete(
    context: Context,
    ref: ObjectRef,
    upload_id: str,
    parts: Sequence[tuple[int, str]],
    *,
    conditions: Preconditions = NO_CONDITIONS,
    actor: Actor,
) -> Version:
    """Make the parts, given as (number, ETag) in ascending order, the current version of `ref`.

    Completing again with the same list after success returns the same version.

    Raises:
        NotFoundError: no such upload. ConflictError: it was completed with another list. InvalidRequestError: the
        list is empty, not ascending, names a part that was not uploaded with that ETag, or has not the size that
        was announced. TooLargeError: the sum is over the limit.
    """
    try:
        upload = await _multipart(context, ref, upload_id)
    except NotFoundError:
        return await _completed_before(context, ref, upload_id, parts)
    if conditions:
        await bring(context, ref)
    chosen = _choose(parts, {part.number: part for part in await all_parts(context, upload_id)})
    size = sum(part.size for part in chosen)
    if upload.length is not None and size != upload.length:
        raise InvalidRequestError(
            f"the parts have {size} bytes; the upload was announced with {upload.length}"
        )
    about = said_of_upload(upload)
    check_upload_size(upload, size)
    owned = [(upload, part) for part in chosen]
    version = await version_of(context, ref, upload.version_id, owned, about)
    await tell_whole(context, version, owned)
    failpoint("complete.before_commit")
    completed = await context.catalog.complete_upload(
        upload_id,
        version,
        conditions=conditions,
        idempotency=once_of(upload, context.settings.upload_lifetime),
        grace=context.grace,
        actor=actor,
    )
    context.activity.uploaded(ref.tenant, ref.bucket)
    failpoint("complete.after_commit")
    return completed


def said_by(upload: Upload) -> More:
    """Return what parts of an upload say of the version that it may become."""
    storage_class = upload.options.get(STORAGE_CLASS, "")
    return More(upload.content_type, upload.metadata, upload.tags, storage_class)


def said_of_upload(upload: Upload) -> ObjectInput:
    """Return what was said of the object when its upload was opened."""
    storage_class = upload.options.get(STORAGE_CLASS, "")
    return ObjectInput(upload.content_type, upload.metadata, upload.tags, storage_class=storage_class)


async def version_of(
    context: Context,
    ref: ObjectRef,
    version_id: str,
    owned: Sequence[tuple[Upload, Part]],
    about: ObjectInput,
    *,
    types: Sequence[str] = (),
) -> NewVersion:
    """Return the version that these parts, each of its upload, make in this order, if its bucket takes it.

    `types` were signed for it, beside those that were signed for its uploads.

    Raises:
        TooLargeError: it is over a limit. InvalidRequestError: the bucket does not take this type or content.
        PermissionDeniedError: the content is of another type than was signed.
    """
    content_type = check_input(about, ref.key)
    chosen = [part for _, part in owned]
    size = sum(part.size for part in chosen)
    bucket = await context.rules.bucket(ref.tenant, ref.bucket)
    rules.check_type(bucket, ref.key, content_type)
    rules.check_size(bucket, size, context.settings.max_object_size)
    signed = {*types, *(wanted for upload, _ in owned for wanted in types_of(upload))}
    if bucket.settings.allowed_types or signed:
        head = await first_bytes(context, owned, rules.HEAD)
        rules.check_content(bucket, ref.key, content_type, head)
        for wanted in signed:
            check_granted_content(wanted, ref.key, content_type, head)
    digests, etag = checksums.joined([(part.digests, part.size, part.etag) for part in chosen])
    return NewVersion(
        id=version_id,
        ref=ref,
        size=size,
        etag=etag,
        segments=[
            Segment(part.segment_id, part.size, part.digests, part.chunk_size, part.chunk_crcs)
            for part in chosen
        ],
        content_type=content_type,
        metadata=about.metadata,
        tags=about.tags,
        digests=digests,
        checksum_type=ChecksumType.FULL_OBJECT if len(chosen) == 1 else ChecksumType.COMPOSITE,
        parts=len(chosen),
        storage_class=about.storage_class,
        owed=await _owed(context, bucket, [upload for upload, _ in owned]),
    )


async def _owed(context: Context, bucket: Bucket, uploads: Sequence[Upload]) -> Owed | None:
    """Return what the version owes that is made of these uploads: a store that was moved since they were opened, too."""
    if (owed := owed_by(uploads)) is not None:
        return owed
    asked = await asking(context, bucket)
    for upload in uploads:
        target = target_in(upload.options)
        if target is not None and (since := owed_since(target, asked.of_upload(upload))) is not None:
            return since
    return None


async def _completed_before(
    context: Context, ref: ObjectRef, upload_id: str, parts: Sequence[tuple[int, str]]
) -> Version:
    """Return the version that the same list made before: its ETag is that of the parts' ETags."""
    with suppress(NotFoundError):
        version = await context.catalog.version(ref, upload_id)
        if version.parts:
            if version.etag != checksums.joint_etag([etag.strip('"') for _, etag in parts]):
                raise ConflictError("the upload was completed with another list of parts", name=upload_id)
            return version
    raise NotFoundError(f"upload {upload_id} of {ref} is not open", operation="upload", name=str(ref))


async def all_parts(context: Context, upload_id: str) -> list[Part]:
    """Return all acknowledged parts by number."""
    found: list[Part] = []
    while page := await context.catalog.list_parts(
        upload_id, after=found[-1].number if found else 0, limit=_PAGE
    ):
        found += page
        if len(page) < _PAGE:
            break
    return found


def _choose(wanted: Sequence[tuple[int, str]], held: dict[int, Part]) -> list[Part]:
    if not wanted:
        raise InvalidRequestError("the list of parts is empty")
    numbers = [number for number, _ in wanted]
    if any(first >= second for first, second in pairwise(numbers)):
        raise InvalidRequestError("the parts are not in ascending order of their numbers")
    for number, etag in wanted:
        if number not in held or held[number].etag != etag.strip('"'):
            raise InvalidRequestError(f"part {number} was not uploaded with ETag {etag[:80]!r}")
    return [replace(held[number]) for number in numbers]
