"""Multipart uploads: parts are blobs of their own, and completing is one transaction over their list.

So completing costs the same for a megabyte and a terabyte, parts may arrive in any order, repeatedly and in parallel,
on any replica of the service, and a part that was acknowledged is as durable as an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from holdfast.catalog.contract import Actor, NewVersion
from holdfast.core.body import Body
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.names import check_key
from holdfast.core.types import ChecksumType, Digests, ObjectRef, Part, Segment, Upload, Version
from holdfast.engine import checksums
from holdfast.engine.context import Context
from holdfast.engine.write import ObjectInput, check_input, prepare, store_segment, too_large
from holdfast.policy.placement import Facts

MAX_PARTS = 10_000
_PAGE = 1000


async def create(context: Context, ref: ObjectRef, about: ObjectInput, *, actor: Actor) -> Upload:
    """Open an upload for `ref`; it must be completed within the lifetime that `Upload.expires` shows."""
    check_key(ref.key)
    content_type = check_input(about, ref.key)
    now = await context.catalog.now()
    upload_id = context.environment.new_id()
    upload = Upload(
        id=upload_id,
        ref=ref,
        version_id=upload_id,  # the version it will be; so a repeated completion finds what the first one made
        created=now,
        expires=now + int(context.settings.upload_lifetime * 1_000_000),
        content_type=content_type,
        metadata=about.metadata,
        tags=about.tags,
    )
    return await context.catalog.create_upload(upload, actor=actor)


async def put_part(
    context: Context, ref: ObjectRef, upload_id: str, number: int, body: Body, announced: Digests
) -> Part:
    """Store part `number` (1 to 10,000), replacing an earlier one of that number, and return it once it is durable."""
    if not 1 <= number <= MAX_PARTS:
        raise InvalidRequestError(f"part number {number}; parts are numbered 1 to {MAX_PARTS}")
    upload = await context.catalog.upload(ref, upload_id)
    body = await prepare(context, body)
    plan = context.placement.plan(Facts(ref, body.size, upload.content_type))
    segment_id = context.environment.new_id()
    replicas = context.pending(ref, plan, upload.version_id, segment_id, body.size)
    await context.catalog.begin(ref, replicas, lease_until=await context.lease_until())
    failpoint("part.after_begin")
    try:
        written = await store_segment(context, ref, replicas, body, announced, upload.content_type)
        failpoint("part.after_store")
        segment = written.segment
        part = Part(
            number=number,
            segment_id=segment_id,
            size=segment.size,
            etag=checksums.etag_of(segment.digests),
            digests=segment.digests,
            created=await context.catalog.now(),
            chunk_size=segment.chunk_size,
            chunk_crcs=segment.chunk_crcs,
        )
        acknowledged = await context.catalog.commit_part(upload_id, part, written.replica_ids)
    except BaseException:
        await context.abandon(replicas)
        raise
    failpoint("part.after_commit")
    return acknowledged


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

    Completing again after success returns the same version.

    Raises:
        NotFoundError: no such upload. InvalidRequestError: the list is empty, not ascending, or names a part that
        was not uploaded with that ETag. TooLargeError: the sum is over the limit.
    """
    try:
        upload = await context.catalog.upload(ref, upload_id)
    except NotFoundError:
        return await _completed_before(context, ref, upload_id)
    chosen = _choose(parts, {part.number: part for part in await _all_parts(context, upload_id)})
    size = sum(part.size for part in chosen)
    limit = context.settings.max_object_size
    if limit is not None and size > limit:
        raise too_large(limit)
    digests, etag = checksums.joined([(part.digests, part.size, part.etag) for part in chosen])
    version = NewVersion(
        id=upload.version_id,
        ref=ref,
        size=size,
        etag=etag,
        segments=[
            Segment(part.segment_id, part.size, part.digests, part.chunk_size, part.chunk_crcs)
            for part in chosen
        ],
        content_type=upload.content_type,
        metadata=upload.metadata,
        tags=upload.tags,
        digests=digests,
        checksum_type=ChecksumType.FULL_OBJECT if len(chosen) == 1 else ChecksumType.COMPOSITE,
        parts=len(chosen),
    )
    failpoint("complete.before_commit")
    completed = await context.catalog.complete_upload(
        upload_id, version, conditions=conditions, grace=context.grace, actor=actor
    )
    failpoint("complete.after_commit")
    return completed


async def _completed_before(context: Context, ref: ObjectRef, upload_id: str) -> Version:
    with suppress(NotFoundError):
        version = await context.catalog.version(ref, upload_id)
        if version.parts:
            return version
    raise NotFoundError(f"upload {upload_id} of {ref} is not open", operation="upload", name=str(ref))


async def _all_parts(context: Context, upload_id: str) -> list[Part]:
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
