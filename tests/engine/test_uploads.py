"""Multipart uploads: any order, repeated, in parallel, completed, aborted, expired."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    DigestMismatchError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from holdfast.core.types import ByteRange, ChecksumType, Digests
from holdfast.engine.settings import EngineSettings
from tests.helpers import blobs_on_disk, content, crc64, engine_on, local_store, noise, run, sha256

pytestmark = pytest.mark.engine
MIB = 1 << 20


def files(root: Path) -> int:
    return len(blobs_on_disk(root))


def test_parts_in_any_order_repeated_and_in_parallel(catalog_url: str, tmp_path: Path) -> None:
    pieces = {number: noise(number * 300_000 + 7, number) for number in range(1, 8)}
    whole = b"".join(pieces[number] for number in sorted(pieces))

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", Environment()), settings=EngineSettings(grace=0)
        ) as (engine, session):
            upload = await session.create_upload("kept", "big")
            await session.put_part("kept", "big", upload.id, 3, Body.of_bytes(b"a first try"))
            await asyncio.gather(
                *(
                    session.put_part("kept", "big", upload.id, number, Body.of_bytes(pieces[number]))
                    for number in sorted(pieces, reverse=True)
                ),
                session.put_part("kept", "big", upload.id, 9, Body.of_bytes(b"left over")),
            )
            held = await session.list_parts("kept", "big", upload.id)
            assert [part.number for part in held] == [*sorted(pieces), 9]
            usage = await session.usage("kept")
            assert usage.upload_bytes == len(whole) + len(b"left over")
            assert usage.objects == 0
            chosen = [(part.number, part.etag) for part in held if part.number != 9]
            version = await session.complete_upload("kept", "big", upload.id, chosen)
            assert await session.complete_upload("kept", "big", upload.id, chosen) == version
            joint = b"".join(hashlib.md5(pieces[number]).digest() for number in sorted(pieces))
            assert version.etag == hashlib.md5(joint).hexdigest() + "-7"
            assert version.checksum_type is ChecksumType.COMPOSITE
            assert version.digests.crc64nvme == crc64(whole)
            assert version.digests.sha256 == sha256(b"".join(sha256(pieces[n]) for n in sorted(pieces)))
            assert (version.size, version.parts) == (len(whole), 7)
            assert await content(session, "kept", "big") == whole
            for start, end in ((0, 10), (300_000, 900_123), (len(whole) - 3, None), (299_990, 300_020)):
                stop = None if end is None else end + 1
                assert await content(session, "kept", "big", range=ByteRange(start, end)) == whole[start:stop]
            copied = await session.copy(("kept", "big"), ("plain", "copy"))
            assert copied.etag == version.etag
            await session.delete("kept", "big", version_id=version.id)
            await engine.sweep()
            assert await content(session, "plain", "copy") == whole
            assert files(tmp_path / "o") == 7
            for bucket in ("plain", "kept"):
                assert await engine.catalog.usage("default", bucket) == await engine.catalog.recount(
                    "default", bucket
                )

    run(story())


def test_one_part_has_the_digest_of_all_bytes(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (_, session):
            upload = await session.create_upload("plain", "k")
            part = await session.put_part("plain", "k", upload.id, 5, Body.of_bytes(b"only"))
            version = await session.complete_upload("plain", "k", upload.id, [(5, part.etag)])
            assert version.digests.sha256 == sha256(b"only")
            assert version.checksum_type is ChecksumType.FULL_OBJECT

    run(story())


def test_wrong_calls_are_refused_and_change_nothing(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            _,
            session,
        ):
            upload = await session.create_upload("plain", "k")
            for number in (0, -1, 10_001):
                with pytest.raises(InvalidRequestError):
                    await session.put_part("plain", "k", upload.id, number, Body.of_bytes(b"x"))
            with pytest.raises(NotFoundError):
                await session.put_part("plain", "other", upload.id, 1, Body.of_bytes(b"x"))
            with pytest.raises(DigestMismatchError):
                await session.put_part(
                    "plain", "k", upload.id, 1, Body.of_bytes(b"x"), digests=Digests(md5=bytes(16))
                )
            one = await session.put_part("plain", "k", upload.id, 1, Body.of_bytes(b"x"))
            two = await session.put_part("plain", "k", upload.id, 2, Body.of_bytes(b"y"))
            for parts in (
                [],
                [(2, two.etag), (1, one.etag)],
                [(1, "bad")],
                [(3, one.etag)],
                [(1, one.etag)] * 2,
            ):
                with pytest.raises(InvalidRequestError):
                    await session.complete_upload("plain", "k", upload.id, parts)
            await session.put("plain", "k", Body.of_bytes(b"there"))
            with pytest.raises(PreconditionFailedError):
                await session.complete_upload(
                    "plain", "k", upload.id, [(1, one.etag)], conditions=Preconditions(if_none_match=("*",))
                )
            assert len(await session.list_parts("plain", "k", upload.id)) == 2
            await session.abort_upload("plain", "k", upload.id)
            with pytest.raises(NotFoundError):
                await session.abort_upload("plain", "k", upload.id)
            with pytest.raises(NotFoundError):
                await session.complete_upload("plain", "k", upload.id, [(1, one.etag)])
            assert await content(session, "plain", "k") == b"there"
            there, _ = await session.head("plain", "k")
            with pytest.raises(NotFoundError):  # a version that no upload made
                await session.complete_upload("plain", "k", there.id, [(1, one.etag)])

    run(story())


def test_an_upload_that_is_left_alone_expires_with_its_bytes(sqlite_url: str, tmp_path: Path) -> None:
    environment = Environment.seeded(1)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", environment)
        settings = EngineSettings(upload_lifetime=3600, grace=10)
        async with engine_on(sqlite_url, store, environment=environment, settings=settings) as (
            engine,
            session,
        ):
            upload = await session.create_upload("plain", "k")
            await session.put_part("plain", "k", upload.id, 1, Body.of_bytes(noise(1000)))
            environment.clock.advance(1800)  # type: ignore[attr-defined]
            await engine.sweep()
            assert files(tmp_path / "o") == 1
            environment.clock.advance(1900)  # type: ignore[attr-defined]
            await engine.sweep()
            environment.clock.advance(3600)  # type: ignore[attr-defined]
            await engine.sweep()
            assert files(tmp_path / "o") == 0
            assert (await session.list_uploads("plain"))[0] == []
            assert (await session.usage("plain")).upload_bytes == 0
            await session.delete_bucket("plain")

    run(story())
