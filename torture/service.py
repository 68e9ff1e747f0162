"""Unmodified Holdfast on a data directory: in this process, as the load's client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.app import local_principal, open_engine
from holdfast.config import Settings
from holdfast.config.placement import PlacementSettings
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import AlreadyExistsError
from holdfast.core.types import ChecksumType
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from torture.workload import BUCKETS, Seen, content_of

DAY = 86_400.0
_PIECE = 100_000
INLINE = 4097  #: about half of the contents of the load are below it


class ShiftedClock(SystemClock):
    """The machine's clock, `seconds` ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = int(seconds * 1_000_000)

    def now(self) -> int:
        return super().now() + self._ahead


def settings_for(data: Path, *, grace: float = 0.0) -> Settings:
    """Return what a service on `data` is configured with: the defaults, but for the grace.

    Small contents live in the catalog and others in the store, so that both ways are walked.
    """
    return Settings(data=data, grace=grace, sweep_interval=0.0, placement=PlacementSettings(inline=INLINE))


@asynccontextmanager
async def engine_on(
    data: Path, *, ahead: float = 0.0, grace: float = 0.0
) -> AsyncIterator[tuple[Engine, Session]]:
    """Give an engine on `data` whose clock is `ahead` seconds fast, with the buckets of the load."""
    settings = settings_for(data, grace=grace)
    engine = await open_engine(settings, environment=Environment(clock=ShiftedClock(ahead)))
    try:
        session = engine.session(local_principal(settings))
        for name, versioning in BUCKETS.items():
            with contextlib.suppress(AlreadyExistsError):
                await session.create_bucket(name, versioning=versioning)
        yield engine, session
    finally:
        await engine.close()


class EngineClient:
    """The load's client over a session in this process."""

    verbs = frozenset({"put", "get", "delete", "copy", "multipart", "abort", "sweep"})

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session

    async def put(self, bucket: str, key: str, data: bytes) -> str:
        return (await self._session.put(bucket, key, _body(data))).id

    async def get(self, bucket: str, key: str) -> Seen:
        return await read(self._session, bucket, key)

    async def delete(self, bucket: str, key: str) -> None:
        await self._session.delete(bucket, key)

    async def copy(self, bucket: str, source: str, key: str) -> tuple[str, str | None]:
        version = await self._session.copy((bucket, source), (bucket, key))
        full = version.checksum_type is ChecksumType.FULL_OBJECT and version.digests.sha256
        return version.id, full.hex() if full else None

    async def multipart(
        self, bucket: str, key: str, parts: Sequence[tuple[int, bytes]], *, complete: bool
    ) -> str:
        upload = await self._session.create_upload(bucket, key)
        etags: dict[int, str] = {}
        for number, data in parts:
            etags[number] = (await self._session.put_part(bucket, key, upload.id, number, _body(data))).etag
        if complete:
            return (await self._session.complete_upload(bucket, key, upload.id, sorted(etags.items()))).id
        await self._session.abort_upload(bucket, key, upload.id)
        return ""

    async def sweep(self) -> None:
        await self._engine.sweep()


async def read(session: Session, bucket: str, key: str, version_id: str | None = None) -> Seen:
    """Return an object and what the catalog says of its bytes."""
    async with session.get(bucket, key, version_id=version_id) as reader:
        data = await reader.read()
        version = reader.version
    if len(data) != version.size:
        return Seen(data, "another size")
    full = version.checksum_type is ChecksumType.FULL_OBJECT and version.digests.sha256
    return Seen(data, full.hex() if full else None)


def contents_equal(seen: Seen) -> bool:
    """Tell whether the bytes are the ones that the service says."""
    return seen.sha256 is None or seen.sha256 == content_of(seen.data)


def _body(data: bytes) -> Body:
    """Return small bodies as bytes and larger ones as a stream, so that both ways are walked."""
    if len(data) <= _PIECE:
        return Body.of_bytes(data)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]
            await asyncio.sleep(0)

    return Body.of_stream(chunks())
