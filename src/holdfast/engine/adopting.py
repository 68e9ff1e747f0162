"""What others wrote, taken over where it lies: one key looked for, or a page of a listing given its rows.

Nothing is copied. A page is one transaction; what it finds changed is asked for once more, key by key, since a listing
may be older than what is here. Doing any of it twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from holdfast.catalog.contract import Actor
from holdfast.core.adopted import (
    Candidate,
    Found,
    HeldKey,
    Hold,
    Outcome,
    Taken,
    Taking,
    Verdict,
    Way,
    foreign_name,
)
from holdfast.core.backend import Backend, Capability, Store
from holdfast.core.errors import (
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    UnsupportedError,
)
from holdfast.core.failpoints import failpoint
from holdfast.core.names import ABOUT, BACKUPS, check_key
from holdfast.core.types import BlobInfo, Bucket
from holdfast.engine import rules
from holdfast.engine.context import Context
from holdfast.engine.object_input import ObjectInput, check_input
from holdfast.policy import following, media
from holdfast.policy.proving import tenant_of

ACTOR: Final = Actor("adopt")  #: who it was, in the audit
_TRIES: Final = 3  #: looks at a key that keeps changing
A = TypeVar("A")
B = TypeVar("B")
_AT_ONCE: Final = 16  #: keys asked for at the same time


def foreign_store(context: Context, name: str) -> Store:
    """Return a store whose contents can be adopted.

    Raises:
        InvalidRequestError: there is none of that name. UnsupportedError: its driver cannot do that.
    """
    store = context.stores.get(name)
    if store is None:
        raise InvalidRequestError(f"there is no store {name!r:.80}; see `holdfast store list`")
    if Capability.ADOPT not in store.backend.capabilities:
        raise UnsupportedError(
            f"what lies in store {name!r} cannot be adopted in place: its driver reads only what it wrote;"
            " local folders, S3 and its family, Google Cloud Storage and Azure can; else bring the objects in with"
            " `holdfast push`",
            store=name,
        )
    return store


async def listed(backend: Backend, prefix: str, *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
    """Yield what a store has under `prefix` behind the key `after`, in byte order of its keys."""
    items = backend.list(foreign_name(prefix), after=foreign_name(after) if after else "")
    try:
        async for info in items:
            yield info
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def look(backend: Backend, name: str, key: str) -> Found | None:
    """Return what a store has under `name` now, asked for by that name; None when there is nothing, or cannot be."""
    try:
        info = await backend.head(foreign_name(name))
    except (NotFoundError, InvalidRequestError):
        return None
    return found_in(info, key)


async def aliases(store: Store, name: str) -> list[str]:
    """Return the names under which rows may know a blob, or the record beside it, if what has its name now was adopted."""
    if Capability.ADOPT not in store.backend.capabilities:
        return []
    base = name.removesuffix(ABOUT)
    there = [await look(store.backend, each, each) for each in (base, base + ABOUT)]
    holds = (Hold.KEEP, Hold.OWN)
    return [foreign_name(one.name, one.pin, hold) for one in there if one for hold in holds]


async def is_ours(context: Context, store: str, name: str) -> bool:
    """Tell whether `name` in a store is for this service alone: of a backup, of a blob, or such as blobs get."""
    if name.startswith(BACKUPS):
        return True
    plain = name.removesuffix(" ")
    owner = tenant_of(plain)
    if owner is None:
        return False
    if await context.catalog.copies_of_blobs(store, [plain, plain.removesuffix(ABOUT)]):
        return True
    try:
        await context.catalog.tenant(owner)
    except NotFoundError:
        return await context.catalog.tenant_was_removed(owner)
    return True


def found_in(info: BlobInfo, key: str) -> Found:
    """Return what `info` tells of the object that is to be called `key`; its type by its name where nobody says it."""
    said = info.content_type
    if not said or not media.is_media_type(said) or len(said) > 255 or said == "binary/octet-stream":
        said = media.guess(key) or media.UNKNOWN
    return Found.of(key, info, said)


def refusal(context: Context, bucket: Bucket, found: Found) -> str:
    """Return why an object cannot be in `bucket` under its key; "" when it can."""
    about = ObjectInput(found.content_type, found.metadata, found.tags)
    try:
        if not found.pin:
            raise InvalidRequestError(
                "its store tells no ETag, by which its content could be told from another"
            )
        check_key(found.key)
        rules.check_type(bucket, found.key, check_input(about, found.key))
        rules.check_size(bucket, found.size, context.settings.max_object_size)
    except HoldfastError as error:
        return error.message
    return ""


async def take(
    context: Context,
    tenant: str,
    bucket: str,
    taking: Taking,
    found: Sequence[Found],
    *,
    heads: bool = False,
    actor: Actor = ACTOR,
) -> list[Taken]:
    """Give rows to `found`, where it is newer than what is here; return what became of each, in order.

    With `heads` the store is asked for each that is new or changed: its type, metadata and tags come along.

    Raises:
        ConflictError: they are of an upstream that is not followed any more.
        UnavailableError: the catalog or the store does not answer.
    """
    settings = await context.rules.bucket(tenant, bucket)
    results: dict[str, Taken] = {}
    for one in found:
        if reason := refusal(context, settings, one):
            results[one.key] = Taken(one.key, Outcome.REFUSED, reason=reason)
    going = [_candidate(context, one) for one in found if one.key not in results]
    if heads:
        going, others = await _looked(context, tenant, bucket, taking, going, settings)
        results.update(others)
    for taken in await _taken(context, tenant, bucket, taking, going, actor):
        results[taken.key] = taken
    raced = [one for one in found if results[one.key].outcome is Outcome.RACED]

    async def again(one: Found) -> Taken:
        return await take_one(context, tenant, bucket, taking, one.name, one.key, actor=actor)

    for taken in await _some_at_once(again, raced):
        results[taken.key] = taken
    return [results[one.key] for one in found]


async def _looked(
    context: Context,
    tenant: str,
    bucket: str,
    taking: Taking,
    candidates: Sequence[Candidate],
    settings: Bucket,
) -> tuple[list[Candidate], dict[str, Taken]]:
    """Return what is new or changed, as the store tells of it when it is asked for it; and what became of the rest."""
    backend = foreign_store(context, taking.store).backend
    held = await context.catalog.held_keys(tenant, bucket, [each.found.key for each in candidates])
    way, settled = Way(taking.follows), dict[str, Taken]()

    async def one(each: Candidate) -> Candidate | None:
        key, known = each.found.key, held.get(each.found.key, HeldKey(each.found.key))
        verdict = following.judge(each.found, known, way)
        if verdict in (Verdict.SAME, Verdict.OURS):
            settled[key] = Taken(key, Outcome(verdict.value), known.version_id)
            return None
        found = await look(backend, each.found.name, key)
        if found is None:
            settled[key] = Taken(key, Outcome.GONE, known.version_id)
        elif reason := refusal(context, settings, found):
            settled[key] = Taken(key, Outcome.REFUSED, reason=reason)
        else:
            return replace(each, found=found, over=known.version_id)
        return None

    looked = await _some_at_once(one, candidates)
    return [each for each in looked if each is not None], settled


async def _some_at_once(work: Callable[[A], Awaitable[B]], subjects: Sequence[A]) -> list[B]:
    """Return what `work` gives for each subject, sixteen at the same time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(subject: A) -> B:
        async with gate:
            return await work(subject)

    return list(await asyncio.gather(*(one(subject) for subject in subjects)))


async def take_one(
    context: Context,
    tenant: str,
    bucket: str,
    taking: Taking,
    name: str,
    key: str,
    *,
    actor: Actor = ACTOR,
) -> Taken:
    """Give rows to what a store has under `name` now, if that is newer than what is here.

    Raises:
        NotFoundError: there is no such bucket. ConflictError, UnavailableError: as for `take`.
    """
    backend = foreign_store(context, taking.store).backend
    taken = Taken(key, Outcome.RACED)
    for _ in range(_TRIES):
        held = (await context.catalog.held_keys(tenant, bucket, [key])).get(key)
        found = await look(backend, name, key)
        failpoint("adopt.after_look")
        if found is None:
            return Taken(key, Outcome.GONE, held.version_id if held else "")
        over = held.version_id if held else ""
        taken = await take_found(context, tenant, bucket, taking, found, over=over, actor=actor)
        if taken.outcome is not Outcome.RACED:
            break
    return taken


async def take_found(
    context: Context,
    tenant: str,
    bucket: str,
    taking: Taking,
    found: Found,
    *,
    over: str,
    actor: Actor = ACTOR,
) -> Taken:
    """Give rows to `found`, which the store was asked for after `over` was seen as the newest version of its key."""
    settings = await context.rules.bucket(tenant, bucket)
    if reason := refusal(context, settings, found):
        return Taken(found.key, Outcome.REFUSED, reason=reason)
    candidate = replace(_candidate(context, found), over=over)
    return (await _taken(context, tenant, bucket, taking, [candidate], actor))[0]


def _candidate(context: Context, found: Found) -> Candidate:
    new_id = context.environment.new_id
    return Candidate(found, new_id(), new_id())


async def _taken(
    context: Context,
    tenant: str,
    bucket: str,
    taking: Taking,
    candidates: Sequence[Candidate],
    actor: Actor,
) -> Sequence[Taken]:
    """Take all, or where a quota has not room for all, as many as there is room for."""
    if not candidates:
        return []
    try:
        return await context.catalog.take_over(
            tenant,
            bucket,
            taking,
            candidates,
            judge=following.judge,
            grace=context.grace,
            actor=actor,
        )
    except QuotaExceededError as error:
        if len(candidates) == 1:
            return [Taken(candidates[0].found.key, Outcome.REFUSED, reason=error.message)]
    half = len(candidates) // 2
    first = await _taken(context, tenant, bucket, taking, candidates[:half], actor)
    return [*first, *await _taken(context, tenant, bucket, taking, candidates[half:], actor)]
