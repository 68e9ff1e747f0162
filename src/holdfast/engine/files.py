"""Versions found by their id, and the versions of one key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from holdfast.core.errors import HoldfastError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import ObjectRef, Principal, Version
from holdfast.engine.context import Context
from holdfast.engine.permits import Permit
from holdfast.policy.access import ANONYMOUS

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


def gone(file_id: str) -> NotFoundError:
    """Return the error for a file id that leads nowhere, or nowhere for whoever asks."""
    return NotFoundError(
        "there is no such file: it was never there, was deleted, or was overwritten in a bucket that keeps no versions",
        name=file_id[:80],
    )


async def find(context: Context, permit: Permit, principal: Principal, file_id: str, verb: str) -> Version:
    """Return the version of that id if `verb` is allowed on it; else it is not there for whoever asks."""
    nobody = principal.role == ANONYMOUS
    try:
        if not _ID.fullmatch(file_id):
            raise gone(file_id)
        version = await context.catalog.version_by_id(principal.tenant, file_id)
        ref = version.ref
        if version.delete_marker or not permit.may(verb, ref.bucket, ref.key):
            raise gone(file_id)
        if nobody:
            await permit.resolve(ref, file_id)
        else:
            await permit.enter(verb, ref.bucket, ref.key)
    except (NotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
        raise (_needs_token() if nobody else gone(file_id)) from error
    return version


def _needs_token() -> HoldfastError:
    return UnauthenticatedError("a token is needed: Authorization: Bearer TOKEN")


async def current_or_named(context: Context, ref: ObjectRef, version_id: str | None) -> Version:
    """Return the current version of a key, or the one named; `NotFoundError` when that holds no content."""
    if version_id is None:
        return (await context.catalog.resolve(ref)).version
    version = await context.catalog.version(ref, version_id)
    if version.delete_marker:
        raise NotFoundError("that version is a delete marker", name=str(ref))
    return version


async def of_key(context: Context, ref: ObjectRef, after: str, limit: int) -> tuple[Sequence[Version], bool]:
    """Return versions of exactly one key, the newest first; its longer namesakes come behind it in a listing."""
    page = await context.catalog.list_versions(
        ref.tenant,
        ref.bucket,
        prefix=ref.key,
        key_marker=ref.key if after else "",
        version_marker=after,
        limit=limit,
    )
    own = [version for version in page.items if version.ref.key == ref.key]
    return own, page.truncated and len(own) == len(page.items) > 0


async def searchable(context: Context, permit: Permit, tenant: str, prefix: str) -> Sequence[str]:
    """Return the buckets of the tenant that may be searched for keys with that prefix, in byte order."""
    names = []
    for bucket, _ in await context.catalog.buckets(tenant):
        if not permit.may("search", bucket.name, prefix=prefix):
            continue
        try:
            await permit.enter("search", bucket.name, prefix=prefix)
        except (NotFoundError, PermissionDeniedError):
            continue
        names.append(bucket.name)
    if not names:
        permit.allow("search", "", prefix=prefix)
    return sorted(names)
