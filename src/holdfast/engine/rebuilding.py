"""A catalog made anew from its stores: what their blobs say gathered, and each version made of it.

Nothing in the stores is changed. What a blob says is checked like what a client sends, and it must lie where its tenant's
blobs lie. Digests that it does not say are taken of its bytes, if that is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, NewVersion
from holdfast.catalog.rebuilding import Outcome
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Store
from holdfast.core.body import CHUNK, Meter
from holdfast.core.directly import directly
from holdfast.core.errors import (
    AlreadyExistsError,
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
)
from holdfast.core.findings import Told
from holdfast.core.keyring import LockedError, ShreddedError
from holdfast.core.names import ABOUT, blob_identity, check_bucket, check_key, check_tenant
from holdfast.core.types import ChecksumType, Digests, ObjectRef, Origin, Replica, ReplicaState, Segment
from holdfast.engine import checksums
from holdfast.engine.context import Context
from holdfast.layers.base import closed_after
from holdfast.layers.origin_text import tell, understand
from holdfast.layers.origins import everything, read_origin
from holdfast.policy.proving import tenant_of
from holdfast.policy.rebuilding import Assembly, Piece, Stretch, assemble

ACTOR: Final = Actor("rebuild")  #: who it was, in the audit
PAGE: Final = 200
_LONGEST: Final = 8192
_NO_MD5: Final = "0" * 32


@dataclass(slots=True)
class Gathered:
    """What the names of a stretch of a store say; `end` is the last of them, None: there are no more."""

    end: str | None = None
    told: list[Told] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    troubles: list[tuple[str, str]] = field(default_factory=list)  #: (blob, why)


async def gather(store: Store, after: str, *, limit: int = PAGE) -> Gathered:
    """Return what the blobs behind `after` say they are.

    Raises:
        HoldfastError: the store did not list them, or did not answer.
    """
    found = Gathered()
    names, count = [], 0
    async with closed_after(everything(store.backend, after=after)) as items:
        async for info in items:
            count, found.end = count + 1, info.name
            if not info.name.endswith(ABOUT):
                names.append(info)
            if count >= limit:
                break
    if count < limit:
        found.end = None
    for info in names:
        tenant = tenant_of(info.name)
        if tenant is None:
            found.notes["foreign"] += 1
            continue
        await _ask(store, info.name, info.modified, tenant, found)
    return found


async def _ask(store: Store, name: str, modified: int, tenant: str, found: Gathered) -> None:
    face = store.for_blob(name)
    try:
        origin = await read_origin(face, name)
        if origin is None:
            found.notes["silent"] += 1
            return
        _check(origin, tenant)
        size = (await face.head(name)).size
    except NotFoundError as error:
        if isinstance(error, ShreddedError):
            found.notes["locked"] += 1
        return
    except AsleepError as error:
        found.notes["asleep"] += 1
        found.troubles.append((name, error.message))
        return
    except LockedError as error:
        found.notes["locked"] += 1
        found.troubles.append((name, error.message))
        return
    except (CorruptedError, InvalidRequestError) as error:
        found.notes["senseless"] += 1
        found.troubles.append((name, error.message))
        return
    found.told.append(
        Told(
            store.name,
            name,
            size,
            modified,
            origin.tenant,
            origin.bucket,
            origin.key,
            origin.version,
            origin.segment,
            origin.part or 0,
            tell(origin, _LONGEST),
        )
    )


def _check(origin: Origin, tenant: str) -> None:
    """Refuse what no version of ours can be called."""
    check_tenant(origin.tenant)
    check_bucket(origin.bucket)
    check_key(origin.key)
    if origin.tenant != tenant:
        raise InvalidRequestError(
            f"it says that it belongs to {origin.tenant!r}, and lies among those of {tenant!r}"
        )
    if max(len(origin.version), len(origin.segment)) > 64 or not 0 <= origin.created < 1 << 62:
        raise InvalidRequestError("what it says of itself makes no sense")


# -- versions ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Made:
    """What came of the blobs of one version. `why` says why nothing did."""

    ref: ObjectRef
    version_id: str
    outcome: str
    why: str = ""
    copies: int = 0
    read: int = 0  #: bytes that had to be read
    cut: bool = False  #: more was said of it than its blobs tell
    undigested: bool = False


async def make(context: Context, told: Sequence[Told], *, digests: bool, unsure: bool) -> Made:
    """Make the version that these blobs, all of one, tell of.

    Args:
        digests: read blobs that do not say theirs.
        unsure: make versions in parts, too, of which none says how many parts there are.

    Raises:
        UnavailableError: a store or the catalog does not answer.
    """
    first = told[0]
    ref = ObjectRef(first.tenant, first.bucket, first.key)
    pieces = [_piece(one) for one in told]
    assembly = assemble([piece for piece in pieces if piece is not None])
    answer = Made(ref, first.version_id, "refused", cut=assembly.more.cut)
    rows = await _rows(context, assembly)
    known = await _known(context, ref, first.version_id)
    if len(rows) == sum(len(stretch.copies) for stretch in assembly.stretches):
        return replace(answer, outcome=(Outcome.THERE if known else Outcome.GOING).value)
    if assembly.refused:
        return replace(answer, why=assembly.refused)
    if assembly.unsure and not unsure:
        return replace(answer, outcome="unsure", why="none of its parts says how many there are")
    assembly = await _still(context, assembly, rows)
    if not all(stretch.copies for stretch in assembly.stretches):
        return replace(answer, outcome=Outcome.GOING.value)
    version, read, why = await _version(
        context, ref, first.version_id, assembly, digests=digests and not known
    )
    if version is None:
        return replace(answer, why=why, read=read)
    if why := await _house(context, ref, assembly.created):
        return replace(answer, why=why, read=read)
    placed = await context.catalog.place_version(
        version, assembly.created, _copies(first.version_id, assembly), grace=context.grace, actor=ACTOR
    )
    undigested = any(segment.digests.sha256 is None for segment in version.segments)
    return replace(
        answer,
        outcome=placed.outcome.value,
        copies=placed.copies,
        read=read,
        undigested=undigested,
    )


async def _rows(context: Context, assembly: Assembly) -> set[tuple[str, str]]:
    """Return which of the blobs rows know, whatever they say of them."""
    by_store: dict[str, list[str]] = {}
    for stretch in assembly.stretches:
        for piece in stretch.copies:
            by_store.setdefault(piece.store, []).append(piece.blob)
    found = set()
    for store, blobs in by_store.items():
        found |= {(store, row.blob) for row in await context.catalog.copies_of_blobs(store, blobs)}
    return found


async def _still(context: Context, assembly: Assembly, rows: set[tuple[str, str]]) -> Assembly:
    """Return the version with those of its copies that rows know, or that are there still.

    Rows were asked first: they outlive their bytes. So what is there and has no row is nobody's, and stays.
    """
    stretches = []
    for stretch in assembly.stretches:
        kept = []
        for piece in stretch.copies:
            if (piece.store, piece.blob) in rows or await _is_there(context, piece):
                kept.append(piece)
        stretches.append(replace(stretch, copies=kept))
    return replace(assembly, stretches=stretches)


async def _is_there(context: Context, piece: Piece) -> bool:
    try:
        return (await context.store(piece.store).for_blob(piece.blob).head(piece.blob)).size == piece.size
    except NotFoundError:
        return False


async def _known(context: Context, ref: ObjectRef, version_id: str) -> bool:
    try:
        await context.catalog.version(ref, version_id)
    except NotFoundError:
        return False
    return True


def _piece(one: Told) -> Piece | None:
    origin = understand(one.origin)
    return None if origin is None else Piece(one.store, one.blob, one.size, one.modified, origin)


async def _version(
    context: Context, ref: ObjectRef, version_id: str, assembly: Assembly, *, digests: bool
) -> tuple[NewVersion | None, int, str]:
    segments, read = [], 0
    more = assembly.more
    for stretch in assembly.stretches:
        segment = _segment(stretch)
        if digests and _lacks(segment, etag=bool(more.etag)):
            found = await _read(context, stretch, segment, md5=not more.etag)
            if found is None:
                return None, read, "no copy of it reads as its blobs say"
            segment, read = found, read + stretch.size
        segments.append(segment)
    size = sum(segment.size for segment in segments)
    if assembly.parts:
        etags = [(one.digests.md5 or b"").hex() or _NO_MD5 for one in segments]
        joint, etag = checksums.joined(
            [
                (replace(one.digests, crc64nvme=one.digests.crc64nvme or b""), one.size, part)
                for one, part in zip(segments, etags, strict=True)
            ]
        )
        known = joint if all(one.digests.sha256 and one.digests.crc64nvme for one in segments) else Digests()
        if not more.etag and not all(one.digests.md5 for one in segments):
            etag = f"{version_id.replace('-', '')[:32]}-{len(segments)}"
    else:
        known = segments[0].digests
        etag = checksums.etag_of(known) if known.sha256 else f"{version_id.replace('-', '')[:32]}-0"
    kind = ChecksumType.COMPOSITE if len(segments) > 1 else ChecksumType.FULL_OBJECT
    version = NewVersion(
        version_id,
        ref,
        size,
        more.etag or etag,
        segments,
        more.content_type or "application/octet-stream",
        more.metadata,
        more.tags,
        known,
        kind,
        assembly.parts,
        storage_class=more.storage_class,
    )
    return version, read, ""


def _segment(stretch: Stretch) -> Segment:
    sha256 = bytes.fromhex(stretch.sha256) if stretch.sha256 else None
    crc: bytes | None = None
    with suppress(ValueError):
        crc = bytes.fromhex(stretch.crc64nvme) if len(stretch.crc64nvme) == 16 else None
    return Segment(stretch.segment, stretch.size, Digests(sha256, None, crc))


def _lacks(segment: Segment, *, etag: bool) -> bool:
    """Tell whether a segment has to be read: to know its digests, or those of its chunks."""
    known = segment.digests
    return known.sha256 is None or known.crc64nvme is None or not etag or segment.size > checksums.CHUNK_SIZE


async def _read(context: Context, stretch: Stretch, told: Segment, *, md5: bool) -> Segment | None:
    """Return the segment as its first copy that reads as it should; None when none does."""
    limit = context.settings.md5_limit if md5 else -1
    trouble: HoldfastError | None = None
    for piece in stretch.copies:
        meter = Meter(
            checksums.factories(stretch.size, Digests(), md5_limit=limit),
            context.executor if stretch.size > CHUNK else None,
        )
        try:
            with directly():
                async with context.store(piece.store).for_blob(piece.blob).get(piece.blob) as reader:
                    async for chunk in reader:
                        await meter.update(chunk)
            await meter.finish()
        except (NotFoundError, CorruptedError):
            continue
        except HoldfastError as error:
            trouble = error
            continue
        found = checksums.settled(meter)
        if meter.size == stretch.size and not found.mismatch(told.digests):
            return Segment(told.id, stretch.size, found, *checksums.chunk_list(meter))
    if trouble is not None:
        raise trouble
    return None


def _copies(version_id: str, assembly: Assembly) -> list[Replica]:
    found = []
    for stretch in assembly.stretches:
        for number, piece in enumerate(stretch.copies):
            _, identity = blob_identity(piece.blob)
            found.append(
                Replica(
                    identity,
                    version_id,
                    stretch.segment,
                    piece.store,
                    piece.blob,
                    piece.size,
                    ReplicaState.LIVE,
                    number,
                )
            )
    return found


async def _house(context: Context, ref: ObjectRef, created: int) -> str:
    """Make the tenant and the bucket of a version where they are missing; return why that cannot be."""
    catalog = context.catalog
    try:
        await catalog.bucket(ref.tenant, ref.bucket)
        return ""
    except NotFoundError:
        pass
    try:
        await catalog.tenant(ref.tenant)
    except NotFoundError:
        if await catalog.tenant_was_removed(ref.tenant):
            return f"the tenant {ref.tenant} was removed"
        with suppress(AlreadyExistsError):
            await catalog.create_tenant(ref.tenant, actor=ACTOR)
    with suppress(AlreadyExistsError):
        # nothing says whether it kept versions: what is there is kept
        await catalog.create_bucket(ref.tenant, ref.bucket, versioning=True, actor=ACTOR)
    return ""
