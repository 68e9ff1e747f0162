"""Uploads that go on where they broke off: every piece is appended at a known offset, durable before it counts.

What a client sends is cut into pieces, each a part of the same `uploads` table as multipart uploads. When the client
vanishes, what had arrived is kept as a shorter piece; when this process dies, every acknowledged piece stays. Two
writers at one offset cannot both go on: the catalog appends to exactly the length that a writer knows, or refuses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, Idempotency
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.types import EMPTY, ObjectRef, Part, Upload, Version
from holdfast.engine import uploads
from holdfast.engine.context import Context
from holdfast.engine.grants import check_most, check_upload_size, check_upload_type, once_of
from holdfast.engine.pieces import Check, Pieces, append_piece, room_of
from holdfast.engine.telling import tell_whole
from holdfast.engine.write import ObjectInput, too_large

WHOLE: Final = "tus"
PARTIAL: Final = "tus-partial"
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_IF_MATCH, _IF_NONE_MATCH = "if-match", "if-none-match"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is. `version` is what it made, once it is complete; then there is no upload any more."""

    id: str
    ref: ObjectRef
    offset: int
    length: int | None
    kind: str = WHOLE
    expires: int | None = None
    version: Version | None = None
    options: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    broken: bool = False  #: the source broke off; what had arrived by then is kept


async def create(
    context: Context,
    ref: ObjectRef,
    about: ObjectInput = ObjectInput(),
    *,
    length: int | None = None,
    kind: str = WHOLE,
    options: Mapping[str, str] = EMPTY,
    conditions: Preconditions = NO_CONDITIONS,
    lifetime: float | None = None,
    actor: Actor,
) -> Progress:
    """Open an upload of `length` bytes (None: told later), and reserve them. `conditions` hold when it completes."""
    kept = {**options, **_kept(conditions)}
    upload = await uploads.create(
        context, ref, about, length=length, kind=kind, options=kept, lifetime=lifetime, actor=actor
    )
    return await progress(context, upload, actor=actor)


async def find(context: Context, tenant: str, upload_id: str) -> tuple[Upload | None, Version | None]:
    """Return the upload if it is open, else the version that it made, else nothing."""
    if not _ID.fullmatch(upload_id):
        return None, None
    with suppress(NotFoundError):
        return await context.catalog.upload_by_id(tenant, upload_id), None
    with suppress(NotFoundError):
        version = await context.catalog.version_by_id(tenant, upload_id)
        if version.parts:
            return None, version
    return None, None


def not_open(upload_id: str) -> NotFoundError:
    """Return the error for an upload that is not there."""
    return NotFoundError(
        "there is no such upload: it was given up, has expired, or what it made is gone", name=upload_id
    )


def done(version: Version) -> Progress:
    """Return the progress of an upload that has become `version`."""
    return Progress(version.id, version.ref, version.size, version.size, version=version)


async def progress(context: Context, upload: Upload, *, actor: Actor) -> Progress:
    """Return how far an open upload is. One that has all its bytes is completed now, if it could not be before."""
    if upload.received != upload.length or upload.kind != WHOLE:
        return open_progress(upload)
    try:
        return await _finished(context, upload, actor)
    except NotFoundError:
        _, version = await find(context, upload.ref.tenant, upload.id)
        if version is None:
            raise
        return done(version)  # another request was faster


async def append(
    context: Context,
    upload: Upload,
    offset: int,
    source: AsyncIterator[bytes],
    *,
    announced: int | None = None,
    check: Check | None = None,
    actor: Actor,
) -> Progress:
    """Put the bytes of `source` behind the first `offset` ones; with the last byte the object appears.

    `announced` is the length of `source`, None when it is unknown. With a `check` all of `source` counts or nothing.

    Raises:
        ConflictError: the upload has not `offset` bytes, or another writer was faster.
        TooLargeError: more than the announced length, or than an object may have.
        DigestMismatchError: `check` does not hold.
    """
    if offset != upload.received:
        raise ConflictError(
            f"the upload has {upload.received} bytes, not {offset}; ask for its offset and go on from there",
            name=upload.id,
        )
    room = await room_of(context, upload)
    if room is not None and announced is not None and announced > room:
        raise too_large(offset + room)
    pieces = Pieces(source)
    last: Part | None = await context.catalog.last_part(upload.id)
    while await pieces.more():
        try:
            last, grown = await append_piece(context, upload, last, pieces, announced=announced, check=check)
        except NotFoundError as error:
            if (await find(context, upload.ref.tenant, upload.id))[1] is not None:
                raise ConflictError("another request has completed the upload", name=upload.id) from error
            raise
        failpoint("append.after_piece")
        upload = replace(upload, received=upload.received + grown)
        if announced is not None:
            announced -= grown
    if check is not None:
        check.settle(empty=upload.received == offset)
    now = await progress(context, upload, actor=actor)
    return replace(now, broken=True) if pieces.broken else now


async def set_length(context: Context, upload: Upload, length: int) -> Upload:
    """Return the upload with its length, which was left open when it was created; what is missing is reserved."""
    room = await room_of(context, upload)
    if room is not None and length > upload.received + room:
        raise too_large(upload.received + room)
    await context.catalog.set_upload_length(upload, length)
    return replace(upload, length=length)


async def concatenate(
    context: Context,
    ref: ObjectRef,
    upload_ids: Sequence[str],
    about: ObjectInput,
    *,
    conditions: Preconditions = NO_CONDITIONS,
    allowed: Callable[[ObjectRef], bool],
    most: int | None = None,
    types: Sequence[str] = (),
    actor: Actor,
) -> Progress:
    """Make one object of finished partial uploads, in this order, without copying a byte; they are gone then.

    Asked again for the same uploads and the same object it answers with what was made. `allowed` tells whether the
    caller may take the parts of an upload to that key. It has at most `most` bytes and each of `types`, beside what the
    uploads themselves were bound to.
    """
    lifetime = int(context.settings.idempotency_lifetime * 1_000_000)
    request = _joint_request(upload_ids, ref, await context.catalog.now() + lifetime)
    if (earlier := await context.catalog.answered(ref.tenant, request)) is not None:
        return done(earlier)
    partials = [await _partial(context, ref, name, allowed) for name in upload_ids]
    if not partials or len(set(upload_ids)) != len(partials):
        raise InvalidRequestError("name each partial upload once")
    owned: list[tuple[Upload, Part]] = []
    for partial in partials:
        owned += [(partial, part) for part in await uploads.all_parts(context, partial.id)]
    if not owned:
        raise InvalidRequestError("the partial uploads are all empty; upload an empty object as it is")
    if len(owned) > uploads.MAX_PARTS:
        raise InvalidRequestError(f"{len(owned)} pieces; an object has at most {uploads.MAX_PARTS}")
    size = sum(part.size for _, part in owned)
    check_most(most, size)
    for partial in partials:
        check_upload_size(partial, size)
    check_upload_type(partials, about, ref.key)
    new_id = context.environment.new_id()
    version = await uploads.version_of(context, ref, new_id, owned, about, types=types)
    await tell_whole(context, version, owned, each=True)
    failpoint("concatenate.before_commit")
    made = await context.catalog.concatenate(
        version, partials, conditions=conditions, idempotency=request, grace=context.grace, actor=actor
    )
    failpoint("concatenate.after_commit")
    return done(made)


async def _partial(
    context: Context, ref: ObjectRef, upload_id: str, allowed: Callable[[ObjectRef], bool]
) -> Upload:
    upload, _ = await find(context, ref.tenant, upload_id)
    if upload is None or not allowed(upload.ref):
        raise not_open(upload_id)
    if upload.kind != PARTIAL or upload.received != upload.length:
        raise ConflictError("only finished partial uploads can be put together", name=upload_id)
    if upload.ref.bucket != ref.bucket:
        raise InvalidRequestError("the partial uploads are in another bucket", name=upload_id)
    return upload


def _joint_request(ids: Sequence[str], ref: ObjectRef, expires: int) -> Idempotency:
    """Return the name of the request to put these uploads together: asked again, it finds what the first one made."""
    told = hashlib.sha256("\n".join([str(ref), *ids]).encode("utf-8", "surrogatepass")).digest()
    return Idempotency(f"\x01concat {told.hex()}", told, expires)


async def _finished(context: Context, upload: Upload, actor: Actor) -> Progress:
    parts = await uploads.all_parts(context, upload.id)
    if not parts and upload.length:
        raise not_open(upload.id)
    if not parts:  # an empty object has one piece, which is empty
        part, _ = await append_piece(context, upload, None, Pieces(_nothing()))
        parts = [part]
    check_upload_size(upload, sum(part.size for part in parts))
    about = uploads.said_of_upload(upload)
    owned = [(upload, part) for part in parts]
    version = await uploads.version_of(context, upload.ref, upload.version_id, owned, about)
    await tell_whole(context, version, owned)
    failpoint("append.before_complete")
    made = await context.catalog.complete_upload(
        upload.id,
        version,
        conditions=_conditions(upload),
        idempotency=once_of(upload, context.settings.upload_lifetime),
        grace=context.grace,
        actor=actor,
    )
    context.activity.uploaded(upload.ref.tenant, upload.ref.bucket)
    failpoint("append.after_complete")
    return done(made)


def open_progress(upload: Upload) -> Progress:
    """Return how far an open upload is."""
    return Progress(
        upload.id,
        upload.ref,
        upload.received,
        upload.length,
        upload.kind,
        upload.expires,
        options=upload.options,
    )


def _kept(conditions: Preconditions) -> dict[str, str]:
    pairs = {_IF_MATCH: conditions.if_match, _IF_NONE_MATCH: conditions.if_none_match}
    return {name: "\n".join(etags) for name, etags in pairs.items() if etags}


def _conditions(upload: Upload) -> Preconditions:
    kept = {
        name: tuple(upload.options[name].split("\n"))
        for name in (_IF_MATCH, _IF_NONE_MATCH)
        if name in upload.options
    }
    return Preconditions(if_match=kept.get(_IF_MATCH, ()), if_none_match=kept.get(_IF_NONE_MATCH, ()))


async def _nothing() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for chunk in none:
        yield chunk
