"""Buckets with their settings: made, changed, removed with everything in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.names import check_bucket
from holdfast.core.types import Bucket, BucketSettings, ObjectRef, QuotaUse, Usage, Version
from holdfast.engine import rules
from holdfast.engine.context import Context
from holdfast.policy.artifacts import KINDS
from holdfast.policy.buckets import check_settings

Change = Callable[[BucketSettings], BucketSettings]

_PAGE: Final = 1000
_AT_ONCE: Final = 16
_ROUNDS: Final = 10  #: times that a forced removal goes over what others have added meanwhile


@dataclass(frozen=True, slots=True)
class BucketStats:
    """A bucket, what is in it, and how much of its limits is taken."""

    bucket: Bucket
    usage: Usage
    use: QuotaUse


def defaults(context: Context) -> BucketSettings:
    """Return the settings of a bucket that is made without its own."""
    return BucketSettings(retention_days=context.settings.default_retention_days)


async def create(
    context: Context,
    tenant: str,
    name: str,
    *,
    versioning: bool,
    settings: BucketSettings | None,
    actor: Actor,
) -> Bucket:
    """Make a bucket; without `settings` with the defaults of the service."""
    check_bucket(name)
    settings = check_settings(defaults(context) if settings is None else settings)
    _check_stores(context, tenant, name, settings)
    made = await context.catalog.create_bucket(
        tenant, name, versioning=versioning, settings=settings, actor=actor
    )
    context.rules.learn(made)
    return made


async def create_default(context: Context, tenant: str, kind: str, actor: Actor) -> str | None:
    """Make the bucket for a kind of artifacts; return its name, None when there is one already.

    Raises:
        NotFoundError: there is no such kind.
    """
    if kind not in KINDS:
        raise NotFoundError(f"there is no such kind; choose one of {', '.join(KINDS)}", name=kind)
    name = context.settings.artifact_buckets.bucket(kind)
    try:
        await create(
            context,
            tenant,
            name,
            versioning=KINDS[kind].versioning,
            settings=KINDS[kind].settings,
            actor=actor,
        )
    except AlreadyExistsError:
        return None
    return name


async def update(
    context: Context, tenant: str, name: str, *, versioning: bool | None, change: Change | None, actor: Actor
) -> Bucket:
    """Change a bucket; `change` is given its settings as they are when it is done."""

    def checked(settings: BucketSettings) -> BucketSettings:
        wanted = check_settings(settings if change is None else change(settings))
        if wanted.encryption != settings.encryption:
            _check_stores(context, tenant, name, wanted)
        return wanted

    context.rules.forget(tenant, name)
    made = await context.catalog.update_bucket(
        tenant, name, versioning=versioning, change=None if change is None else checked, actor=actor
    )
    context.rules.learn(made)
    return made


async def remove(context: Context, tenant: str, name: str, *, force: bool, actor: Actor) -> None:
    """Remove a bucket; with `force`, everything in it first, for good, page by page.

    Broken off, a forced removal has removed a part, and can be repeated.

    Raises:
        ConflictError: it is not empty; with `force`, because others went on adding to it, or a version is kept.
    """
    context.rules.forget(tenant, name)
    if force and (why := await context.catalog.kept(tenant, name)):
        raise ConflictError(f"{why}; nothing of the bucket was removed", name=name)
    if not force:
        await context.catalog.delete_bucket(tenant, name, actor=actor)
        return
    for _ in range(_ROUNDS):
        await _empty(context, tenant, name, actor)
        with suppress(ConflictError):
            await context.catalog.delete_bucket(tenant, name, actor=actor)
            return
    raise ConflictError("others go on adding to the bucket; stop them and remove it again", name=name)


async def stats(context: Context, tenant: str, name: str) -> BucketStats:
    """Return what there is to know of a bucket, from its counters."""
    bucket, usage = await context.catalog.bucket_and_usage(tenant, name)
    return BucketStats(bucket, usage, await context.catalog.quota(tenant, name))


def _check_stores(context: Context, tenant: str, name: str, settings: BucketSettings) -> None:
    """Refuse a bucket that no store could ever satisfy."""
    placement = context.placement
    plain = [rule for rule in placement.ordered if not rule.encrypt]
    named = dict.fromkeys(store for rule in plain for store in (*rule.stores, *rule.fallback))
    rules.check_encryption(Bucket(tenant, name, 0, settings=settings), context.stores, tuple(named))


async def _empty(context: Context, tenant: str, name: str, actor: Actor) -> None:
    while await context.catalog.expire(limit=_PAGE):  # uploads that are over are in no list
        pass
    gate = asyncio.Semaphore(_AT_ONCE)
    marker_id = context.environment.new_id()

    async def remove_version(version: Version) -> None:
        async with gate:
            await context.catalog.delete_object(
                version.ref, version_id=version.id, marker_id=marker_id, grace=context.grace, actor=actor
            )

    async def abort(ref: ObjectRef, upload_id: str) -> None:
        async with gate:
            with suppress(NotFoundError):  # completed meanwhile: then it is among the versions
                await context.catalog.abort_upload(ref, upload_id, actor=actor)

    more = True
    while more:
        uploads, more = await context.catalog.list_uploads(tenant, name, limit=_PAGE)
        await asyncio.gather(*(abort(upload.ref, upload.id) for upload in uploads))
    more = True
    while more:
        page = await context.catalog.list_versions(tenant, name, limit=_PAGE)
        await asyncio.gather(*(remove_version(version) for version in page.items))
        more = page.truncated
