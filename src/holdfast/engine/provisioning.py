"""A tenant's hierarchy: a bucket for each content type, in it folders for each category and what lies below.

Making it again makes what is missing and nothing else. Folders are markers in the catalog (see `engine.folders`), and
folders in those stores that have such and show keys in the names of blobs: in each store that the rules in force can
send the bucket's contents to. A store that does not answer is told of, and keeps nothing else from being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, cast

from holdfast.catalog.contract import Actor
from holdfast.core.backend import Capability, FolderMaker, Store
from holdfast.core.errors import AlreadyExistsError, HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.names import INLINE, Layout, check_bucket, folder_name, marker
from holdfast.core.types import ObjectRef, TenantSettings
from holdfast.engine import buckets, folders
from holdfast.engine.context import Context
from holdfast.policy.reach import reachable

CONTENT_TYPES: Final = ("portraits", "videos", "previews", "nft_markers")
SUBFOLDERS: Final = ("Image", "QR", "nft_markers", "nft_cache")
MOST: Final = 10_000  #: folders of one request
_AT_ONCE: Final = 16


@dataclass(slots=True)
class Made:
    """What was made and what was there already, in one place. `trouble`: why it could not be done there."""

    made: int = 0
    there: int = 0
    offered: bool = True  #: whether the store has folders at all
    trouble: str = ""


@dataclass(slots=True)
class Provisioned:
    """What a hierarchy is, and what of it was missing."""

    tenant: str
    content_types: Sequence[str]
    categories: Sequence[str]
    subfolders: Sequence[str]
    buckets_made: list[str] = field(default_factory=list)
    folders_made: list[str] = field(default_factory=list)  #: as `bucket/category/subfolder`
    folders_there: int = 0
    stores: dict[str, Made] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all of it is there now, in every store."""
        return not any(store.trouble for store in self.stores.values())


async def provision(
    context: Context,
    tenant: str,
    content_types: Sequence[str],
    categories: Sequence[str],
    subfolders: Sequence[str] | None,
    *,
    actor: Actor,
) -> Provisioned:
    """Make the hierarchy, as far as it is missing. `categories` () and `subfolders` None: those of the time before.

    Raises:
        InvalidRequestError: a name cannot be one, or there are too many.
    """
    held = (await context.catalog.tenant(tenant)).settings
    found = _wanted(tenant, held, content_types, categories, subfolders)
    for bucket in found.content_types:
        await _bucket(context, found, bucket, actor)
    paths = [
        (bucket, path)
        for bucket in found.content_types
        for path in _paths(found.categories, found.subfolders)
    ]
    gate = asyncio.Semaphore(_AT_ONCE)
    await _in_stores(context, found, paths, gate)  # first: a marker may bring its folder along

    async def mark(bucket: str, path: str) -> None:
        async with gate:
            ref = ObjectRef(tenant, bucket, marker(path))
            if await folders.create(context, ref, actor):
                found.folders_made.append(f"{bucket}/{path}")
            else:
                found.folders_there += 1

    await asyncio.gather(*(mark(*place) for place in paths))
    found.folders_made.sort()
    await _remember(context, found, actor)
    return found


def _wanted(
    tenant: str,
    held: TenantSettings,
    content_types: Sequence[str],
    categories: Sequence[str],
    subfolders: Sequence[str] | None,
) -> Provisioned:
    chosen = [check_bucket(name) for name in dict.fromkeys(content_types or CONTENT_TYPES)]
    slugs = [_piece(name) for name in dict.fromkeys(categories or held.categories)]
    below = [
        _piece(name)
        for name in dict.fromkeys(subfolders if subfolders is not None else held.subfolders or SUBFOLDERS)
    ]
    if len(chosen) * max(1, len(slugs)) * max(1, len(below)) > MOST:
        raise InvalidRequestError(f"more than {MOST} folders; make the hierarchy in several requests")
    return Provisioned(tenant, chosen, slugs, below)


def _piece(name: str) -> str:
    """Return `name` when one folder can be called that."""
    if "/" in name or "\\" in name:
        raise InvalidRequestError(f"{name[:80]!r} is the name of one folder only: no slashes")
    return marker(name).rstrip("/")


def _paths(categories: Sequence[str], subfolders: Sequence[str]) -> list[str]:
    if not subfolders:
        return list(categories)
    return [f"{category}/{below}" for category in categories for below in subfolders]


async def _bucket(context: Context, found: Provisioned, name: str, actor: Actor) -> None:
    try:
        await context.catalog.bucket(found.tenant, name)
    except NotFoundError:
        with suppress(AlreadyExistsError):  # somebody else was first
            await buckets.create(context, found.tenant, name, versioning=False, settings=None, actor=actor)
            found.buckets_made.append(name)


async def _in_stores(
    context: Context, found: Provisioned, paths: Sequence[tuple[str, str]], gate: asyncio.Semaphore
) -> None:
    work = []
    for bucket in found.content_types:
        for name in reachable(context.placement, found.tenant, bucket):
            if name == INLINE:
                continue
            told = found.stores.setdefault(name, Made())
            store = context.stores.get(name)
            if store is None:
                told.trouble = "the store is not open here"
                continue
            told.offered = (
                Capability.FOLDERS in store.backend.capabilities and store.layout is Layout.READABLE
            )
            if told.offered:
                own = [path for where, path in paths if where == bucket]
                work += [_make(store, told, found.tenant, bucket, path, gate) for path in own]
    await asyncio.gather(*work)


async def _make(
    store: Store, told: Made, tenant: str, bucket: str, path: str, gate: asyncio.Semaphore
) -> None:
    name = folder_name(store.layout, tenant, bucket, path)
    if name is None:
        return
    async with gate:
        try:
            missing = await cast(FolderMaker, store.backend).make_folder(name)
        except HoldfastError as error:
            told.trouble = error.message
        else:
            told.made, told.there = told.made + missing, told.there + (not missing)


async def _remember(context: Context, found: Provisioned, actor: Actor) -> None:
    """Keep what the hierarchy is made of with the tenant, so that it can be made whole again by its name alone."""

    def change(settings: TenantSettings) -> TenantSettings:
        known = dict.fromkeys((*settings.categories, *found.categories))
        return replace(settings, categories=tuple(known), subfolders=tuple(found.subfolders))

    await context.catalog.update_tenant(found.tenant, change=change, actor=actor)
