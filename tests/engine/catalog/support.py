"""A catalog with a plain and a versioned bucket, and the shortest way to put something into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.catalog.contract import Idempotency, NewVersion
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.names import INLINE
from holdfast.core.types import (
    Deleted,
    Digests,
    ObjectRef,
    Part,
    Replica,
    ReplicaState,
    Segment,
    Upload,
    Version,
)

T = TypeVar("T")
MINUTE = 60_000_000
GRACE = 10 * MINUTE


def run(work: Coroutine[Any, Any, T], seconds: float = 90) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(asyncio.wait_for(work, seconds))


@dataclass
class Desk:
    """A catalog with what a writer needs around it."""

    catalog: SqlCatalog
    world: Environment
    tenant: str = "t"
    stores: Sequence[str] = field(default_factory=lambda: ("one",))

    def ref(self, key: str, bucket: str = "plain") -> ObjectRef:
        return ObjectRef(self.tenant, bucket, key)

    def advance(self, seconds: float) -> None:
        """Let time pass, on a manual clock."""
        assert isinstance(self.world.clock, ManualClock)
        self.world.clock.advance(seconds)

    def replica(self, version_id: str, segment_id: str, store: str = "one", size: int = 5) -> Replica:
        new = self.world.new_id()
        return Replica(new, version_id, segment_id, store, f"{self.tenant}/{new}", size, ReplicaState.PENDING)

    async def intend(
        self, ref: ObjectRef, *, size: int = 5, stores: Sequence[str] = ("one",)
    ) -> list[Replica]:
        """T1 of a new version: pending copies, one per store."""
        version_id = self.world.new_id()
        copies = [self.replica(version_id, version_id, store, size) for store in stores]
        assert await self.catalog.begin(ref, copies, lease_until=await self.catalog.now() + MINUTE) is None
        return copies

    def content(self, ref: ObjectRef, copies: Sequence[Replica], **more: Any) -> NewVersion:
        """What T2 of `copies` makes visible."""
        version_id, size = copies[0].version_id, copies[0].size
        etag = more.pop("etag", f"etag-{version_id[-6:]}")
        segment = Segment(version_id, size, Digests(b"s" * 32), 1024, b"crc")
        return NewVersion(
            version_id, ref, size, etag, (segment,), digests=Digests(b"s" * 32, b"m" * 16), **more
        )

    async def put(
        self,
        key: str,
        bucket: str = "plain",
        *,
        size: int = 5,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int = GRACE,
        **more: Any,
    ) -> Version:
        """Both transactions of a put."""
        ref = self.ref(key, bucket)
        copies = await self.intend(ref, size=size, stores=self.stores)
        return await self.catalog.commit_put(
            self.content(ref, copies, **more),
            [copy.id for copy in copies],
            conditions=conditions,
            idempotency=idempotency,
            grace=grace,
        )

    async def put_inline(self, key: str, bucket: str = "plain", *, size: int = 5, **more: Any) -> Version:
        """The one transaction of a put whose content lives in the catalog."""
        ref, version_id = self.ref(key, bucket), self.world.new_id()
        copy = self.replica(version_id, version_id, INLINE, size)
        version = self.content(ref, [copy])
        return await self.catalog.commit_inline(version, copy, b"c" * size, **{"grace": GRACE, **more})

    async def delete(
        self, key: str, bucket: str = "plain", version_id: str | None = None, **more: Any
    ) -> Deleted:
        return await self.catalog.delete_object(
            self.ref(key, bucket), version_id=version_id, marker_id=self.world.new_id(), grace=GRACE, **more
        )

    async def states(self) -> dict[str, str]:
        """The state of every copy, by id."""
        return {copy.id: copy.state.value for copy in await self.catalog.replicas()}

    async def upload(self, key: str, bucket: str = "plain", *, seconds: int = 3600) -> Upload:
        now = await self.catalog.now()
        made = Upload(
            self.world.new_id(),
            self.ref(key, bucket),
            self.world.new_id(),
            now,
            now + seconds * 1_000_000,
            "text/plain",
            {"a": "b"},
            {"c": "d"},
        )
        return await self.catalog.create_upload(made)

    async def part(self, upload: Upload, number: int, size: int = 10) -> tuple[Part, Replica]:
        """A part sent and acknowledged."""
        segment_id = self.world.new_id()
        copy = self.replica(upload.version_id, segment_id, size=size)
        now = await self.catalog.now()
        await self.catalog.begin(upload.ref, [copy], lease_until=now + MINUTE)
        part = Part(number, segment_id, size, f"p{number}", Digests(b"p" * 32), now, 512, b"chunks")
        return await self.catalog.commit_part(upload, part, [copy.id]), copy

    def assembled(self, upload: Upload, parts: Sequence[Part]) -> NewVersion:
        return NewVersion(
            upload.version_id,
            upload.ref,
            sum(part.size for part in parts),
            f"whole-{len(parts)}",
            [
                Segment(part.segment_id, part.size, part.digests, part.chunk_size, part.chunk_crcs)
                for part in parts
            ],
            content_type=upload.content_type,
            metadata=upload.metadata,
            tags=upload.tags,
            parts=len(parts),
        )

    async def check_counters(self, *buckets: str) -> None:
        """The counters are what a scan finds."""
        for bucket in buckets or ("plain", "kept"):
            assert await self.catalog.usage(self.tenant, bucket) == await self.catalog.recount(
                self.tenant, bucket
            )


@asynccontextmanager
async def desk_at(url: str, world: Environment | None = None, *, fresh: bool = True) -> AsyncIterator[Desk]:
    """Give a catalog with the buckets `plain` and `kept` (versioned); without `world`, on a manual clock."""
    world = world or Environment.seeded(7)
    catalog = await open_catalog(url, environment=world, upgrade=True)
    try:
        if fresh:
            await catalog.create_tenant("t")
            await catalog.create_bucket("t", "plain")
            await catalog.create_bucket("t", "kept", versioning=True)
        yield Desk(catalog, world)
    finally:
        await catalog.close()
