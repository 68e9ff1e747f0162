"""Bytes into stores: announced first, digested on their way, and elsewhere when a store fails and its rule allows it.

Every try announces its own copies before a byte moves. One that failed is given up and left to `sweep`; no error handler
deletes bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from holdfast.catalog.contract import Idempotency, Reserve
from holdfast.core.backend import PutOptions, Store
from holdfast.core.body import CHUNK, Body, Meter
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.failpoints import failpoint
from holdfast.core.types import Bucket, Digests, More, ObjectRef, Origin, Replica, Segment, Version
from holdfast.engine import checksums, targets
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context
from holdfast.engine.fanout import put_all
from holdfast.engine.holding import Held
from holdfast.engine.patience import AGAIN, AT_ONCE, Patience, SlowError
from holdfast.engine.targets import Target, target_of
from holdfast.layers.foreign import Source
from holdfast.policy.placement import Plan


@dataclass(frozen=True, slots=True)
class Written:
    """A segment whose copies are durable but not yet visible."""

    segment: Segment
    replicas: Sequence[Replica]

    @property
    def replica_ids(self) -> list[str]:
        """The ids that the commit flips to live."""
        return [replica.id for replica in self.replicas]


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of a body: `written` into the stores of `target`; or `earlier` is what the same request made before."""

    target: Target
    body: Body
    written: Written
    earlier: Version | None = None


async def land(
    context: Context,
    ref: ObjectRef,
    plan: Plan,
    bucket: Bucket,
    body: Body,
    *,
    version_id: str,
    announced: Digests,
    content_type: str,
    reserve: Reserve | None,
    idempotency: Idempotency | None,
    more: More | None = None,
) -> Landed:
    """Move `body` into the stores that `plan` wants, or into those that its rule allows instead; durable then.

    A store that fails is replaced by another while the body can be sent once more; else the writer is told, and the
    next one is sent there at once.

    Raises:
        UnavailableError: too few stores took it; what was announced is given up.
    """
    target = target_of(context, plan, bucket)
    held = Held(body) if target.spare else None
    body = body if held is None else held.body
    failed: dict[str, str] = {}
    clock = context.environment.clock
    # slow, or gone at once, as after a restart: asked again should no other do either
    again: set[str] = set()
    patience: Patience | None = context.patience
    pauses = iter(AGAIN)
    try:
        while True:
            replicas = targets.pending(context, ref, target, version_id, version_id, body.size)
            earlier = await context.catalog.begin(
                ref,
                replicas,
                lease_until=await context.lease_until(),
                idempotency=idempotency,
                reserve=reserve,
            )
            if earlier is not None:
                return Landed(target, body, Written(Segment("", 0), ()), earlier)
            began = clock.monotonic()
            try:
                failpoint("put.after_begin")
                written = await store_segment(
                    context,
                    ref,
                    replicas,
                    body,
                    announced,
                    content_type,
                    more=more,
                    patience=patience if target.further else None,
                )
                targets.accepted(context, target)
                return Landed(target, body, written)
            except BaseException as error:
                await context.abandon(replicas)
                if held is not None and held.failed:
                    raise
                name = targets.blamed(context, target.stores, error)
                if not name or held is None or not held.again or not isinstance(error, HoldfastError):
                    raise
                if isinstance(error, SlowError) or clock.monotonic() - began < AT_ONCE:
                    again.add(name)
                else:
                    again.discard(name)
                failed[name] = targets.told(error)
                while True:
                    try:
                        target = target_of(context, plan, bucket, failed=failed)
                        break
                    except UnavailableError:
                        pause = next(pauses, None) if again else None
                        if pause is None:
                            raise
                        patience = None  # nobody else is left to turn to
                        await clock.sleep(pause)
                        for one in again:
                            failed.pop(one, None)
    finally:
        if held is not None:
            await held.close()


async def store_segment(
    context: Context,
    ref: ObjectRef,
    replicas: Sequence[Replica],
    body: Body,
    announced: Digests,
    content_type: str,
    *,
    md5: bool = True,
    part: int | None = None,
    created: int | None = None,
    more: More | None = None,
    patience: Patience | None = None,
    proved: Segment | None = None,
) -> Written:
    """Move `body` into the announced copies, digesting it on its way; durable when this returns.

    What is `proved` to be that segment, chunk by chunk before it comes here, is not digested: what is stored is read back.

    What the body itself fails with is raised as it is: no store is to blame for it. With `md5` false none is taken: of a
    piece whose ETag nobody will see. `part`, `created` (now, if it is not given) and `more` are what the blobs will
    say of themselves besides. `patience` is had with stores that others could take the place of.
    """
    limit = context.settings.md5_limit if md5 else -1
    hashers = {} if proved else checksums.factories(body.size, announced, md5_limit=limit)
    small = body.data is not None and len(body.data) <= CHUNK
    meter = Meter(hashers, None if small or proved else context.executor)
    source = Source(body)
    if proved:
        flow = body if small else replace(source.body.expecting(size=body.size), known=announced)
    else:
        flow = source.body.metered(meter).expecting(size=body.size, digests=announced, meter=meter)
        if small:  # already here: digest now, so that the driver can take the bytes in one piece
            async for _ in flow.chunks():
                pass
            flow = body
    targets = [(context.store(replica.store), replica.blob) for replica in replicas]
    known = announced if proved else meter.digests
    sha256 = announced.sha256 or (known.sha256 if small else None)
    more = more or More(content_type)
    if small:
        more = _known(more, known, part)
    origin = told_of(context, ref, replicas[0], part=part, created=created, sha256=sha256, more=more)
    options = PutOptions(content_type, origin=origin, read_back=proved is not None)
    async with nullcontext() if small else context.leased(replicas):
        await _put(targets, flow, options, source, patience)
    if proved:
        return Written(proved, replicas)
    chunk_size, chunk_crcs = checksums.chunk_list(meter)
    digests = checksums.settled(meter)
    segment = Segment(replicas[0].segment_id, meter.size, digests, chunk_size, chunk_crcs)
    return Written(segment, replicas)


async def _put(
    targets: Sequence[tuple[Store, str]],
    flow: Body,
    options: PutOptions,
    source: Source,
    patience: Patience | None = None,
) -> None:
    """Put `flow` into every store; what `source` fails with is told as its own error, whoever passed it on."""
    try:
        with at_stores():
            await put_all(targets, flow, options, patience)
    except Exception:
        if source.failure is None:
            raise
    if (failure := source.failure) is not None:
        if isinstance(failure, HoldfastError) and failure.store in {store.name for store, _ in targets}:
            failure.store = ""  # it was read from there; that it takes nothing is not said
        raise failure


def told_of(
    context: Context,
    ref: ObjectRef,
    replica: Replica,
    *,
    part: int | None = None,
    created: int | None = None,
    sha256: bytes | None = None,
    more: More | None = None,
) -> Origin:
    """Return what the blob of `replica` says it is; the same in every store that has the segment."""
    return Origin(
        ref.tenant,
        ref.bucket,
        ref.key,
        replica.version_id,
        replica.segment_id,
        part,
        context.environment.clock.now() if created is None else created,
        None if sha256 is None else sha256.hex(),
        more,
    )


def more_of(version: Version, segment: Segment, segments: int) -> More:
    """Return what a copy of a segment can say of its version besides what it is."""
    crc = segment.digests.crc64nvme
    return More(
        version.content_type,
        version.metadata,
        version.tags,
        version.storage_class,
        version.etag,
        "" if crc is None else crc.hex(),
        segments if version.parts else None,
    )


def _known(more: More, digests: Digests, part: int | None) -> More:
    """Return `more` with what is known of a body that is here already."""
    crc = "" if digests.crc64nvme is None else digests.crc64nvme.hex()
    etag = more.etag or ("" if part is not None else checksums.etag_of(digests))
    return replace(more, crc64nvme=crc, etag=etag)
