"""Whatever the engine writes can be matched with its object from the stores alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.config.settings import StoreSettings
from holdfast.core.backend import Backend, Capability, PutOptions, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.names import Layout
from holdfast.core.types import Origin, Principal
from holdfast.drivers import open_store
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.replicas import reconcile
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.layers import stack
from holdfast.layers.base import Layer
from holdfast.layers.encryption import Encryption
from holdfast.layers.origins import lonely, origins
from holdfast.policy.placement import Placement, Rule
from tests.engine.encrypted import SECRET, roots
from tests.helpers import blobs_on_disk, noise, run, sha256

pytestmark = pytest.mark.engine

KEYS = ("folder/small.bin", "имя/файл.txt", "k" * 1000)


class Bare(Layer):
    """A store that keeps no metadata."""

    preserves = ~Capability.METADATA


Disks = dict[str, Backend]


@asynccontextmanager
async def service(
    url: str, disks: Disks, rule: Rule, layout: Layout
) -> AsyncIterator[tuple[Engine, Session]]:
    environment = Environment()
    catalog = await open_catalog(url, environment=environment, upgrade=True)
    ring = CatalogKeyRing(catalog, roots(environment), environment.clock)
    stores = {}
    for name, disk in disks.items():
        faces = stack.faces(
            disk,
            stack.StackSettings(describe="auto"),
            environment=environment,
            encrypt=lambda backend: Encryption(backend, ring, environment=environment),
        )
        stores[name] = Store(name, faces.backend, layout, sealed=faces.sealed)
    engine = Engine(
        catalog,
        stores,
        Placement(rule),
        environment=environment,
        settings=EngineSettings(grace=0),
        secret=SECRET,
        keys=ring,
    )
    session = engine.session(Principal("tester", "default", "admin"))
    try:
        if not await catalog.tenants():
            await catalog.create_tenant("default")
            await session.create_bucket("plain")
        yield engine, session
    finally:
        await engine.close()


async def write_all(session: Session) -> None:
    """Put, overwrite, upload in parts, resumably and by copying."""
    for number, key in enumerate(KEYS):
        await session.put("plain", key, Body.of_bytes(noise(5000, number)))
    await session.put("plain", KEYS[0], Body.of_bytes(noise(6000, 9)))
    await session.put("plain", "streamed", Body.of_stream(pieces(noise(3 << 20, 4))))
    await session.put("plain", "empty", Body.of_bytes(b""))
    upload = await session.create_upload("plain", "parts")
    sent = [
        await session.put_part("plain", "parts", upload.id, number, Body.of_bytes(noise(3000, number)))
        for number in (3, 1, 2)
    ]
    await session.complete_upload(
        "plain",
        "parts",
        upload.id,
        [(part.number, part.etag) for part in sorted(sent, key=lambda one: one.number)],
    )
    grown = await session.create_resumable("plain", "grown", length=9000)
    for offset in (0, 4000):
        await session.append(grown.id, offset, pieces(noise(9000)[offset : 4000 if offset == 0 else 9000]))
    for source in (KEYS[0], "parts"):
        await session.copy(("plain", source), ("plain", f"copy of {source[:6]}"))


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


async def told(engine: Engine) -> dict[tuple[str, str], Origin | None]:
    return {
        (store.name, name): origin
        for store in engine.stores.values()
        if store.name != "catalog"
        async for name, origin in origins(store)
    }


async def check(engine: Engine, session: Session) -> int:
    """Compare what every blob says with what the catalog says of it."""
    found, seen = await told(engine), 0
    for version in (await session.versions("plain")).items:
        located = await engine.catalog.resolve(version.ref, version_id=version.id)
        segments = {segment.id: segment for segment in located.segments}
        for store in {replica.store for replica in located.replicas}:
            mine = [replica for replica in located.replicas if replica.store == store]
            parts = []
            for replica in mine:
                origin = found.pop((store, replica.blob))
                assert origin is not None, replica
                assert (origin.tenant, origin.bucket, origin.key) == ("default", "plain", version.ref.key)
                assert (origin.version, origin.segment) == (version.id, replica.segment_id)
                known = segments[replica.segment_id].digests.sha256
                assert origin.sha256 is None or known is None or origin.sha256 == known.hex()
                parts.append((origin.part or 0, origin.segment))
                seen += 1
            assert [segment for _, segment in sorted(parts)] == [segment.id for segment in located.segments]
            assert all(bool(part) == bool(version.parts) for part, _ in parts)
    assert found == {}, "blobs of no version"
    return seen


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("layout", list(Layout))
def test_every_blob_of_a_life_says_what_it_is(layout: Layout, encrypt: bool, sqlite_url: str) -> None:
    disks: Disks = {"told": MemoryBackend("told"), "bare": Bare(MemoryBackend("bare"))}

    blobs = (
        12 if encrypt else 14
    )  # a store cannot copy what is encrypted: the copy of three parts is then one blob

    async def story() -> None:
        async with service(sqlite_url, disks, Rule("default", ("told",), encrypt=encrypt), layout) as (
            engine,
            session,
        ):
            await write_all(session)
            await engine.sweep()
            assert await check(engine, session) == blobs
        both = Rule("default", ("told", "bare"), encrypt=encrypt)
        async with service(sqlite_url, disks, both, layout) as (engine, session):
            for version in (await session.versions("plain")).items:
                done = await reconcile(engine.context, version.ref, version.id)
                assert not done.troubles
            assert await check(engine, session) == 2 * blobs
            raw = [info.name async for info in disks["bare"].list()]
            assert len([name for name in raw if name.endswith(":about")]) == blobs
            for version in (await session.versions("plain")).items:
                await session.delete("plain", version.ref.key)
            await engine.sweep()
            for name, disk in disks.items():
                assert [info async for info in disk.list()] == [], name
                assert [left async for left in lonely(engine.stores[name])] == []

    run(story())


def test_what_a_blob_says_is_encrypted_like_the_blob(sqlite_url: str) -> None:
    disks: Disks = {"told": MemoryBackend("told"), "bare": Bare(MemoryBackend("bare"))}

    async def story() -> None:
        rule = Rule("default", ("told", "bare"), acknowledge=2, encrypt=True)
        async with service(sqlite_url, disks, rule, Layout.IMMUTABLE) as (_, session):
            await session.put("plain", "private-key-name", Body.of_bytes(b"content"))
        for disk in disks.values():
            async for info in disk.list():
                async with disk.get(info.name) as reader:
                    assert b"private-key-name" not in await reader.read()
                    assert "private-key-name" not in str(reader.info.metadata)

    run(story())


@pytest.mark.parametrize("describe", ["auto", "always", "never"])
def test_a_local_store_says_it_in_attributes_unless_it_is_told_not_to(describe: str, tmp_path: Path) -> None:
    async def story() -> None:
        settings = StoreSettings.model_validate(
            {"driver": "local", "path": str(tmp_path), "describe": describe}
        )
        store = open_store("disk", settings, Environment())
        attributes = Capability.METADATA in store.backend.capabilities
        data = noise(100)
        origin = Origin("default", "plain", "key", "v", "v", None, 1, sha256(data).hex())
        await store.backend.put("default/x", Body.of_bytes(data), options=PutOptions(origin=origin))
        wanted = describe == "always" or (describe == "auto" and attributes)
        assert [pair async for pair in origins(store)] == [("default/x", origin if wanted else None)]
        assert len(blobs_on_disk(tmp_path)) == (2 if wanted and not attributes else 1)
        await store.backend.close()

    run(story())
