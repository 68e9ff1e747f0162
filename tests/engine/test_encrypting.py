"""Encryption from rule to disk and back: what is asked for, what lies in the store, and who can read it."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    ConfigError,
    CorruptedError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from holdfast.core.keyring import LockedError
from holdfast.core.names import is_sealed
from holdfast.core.types import BucketSettings, ByteRange, ObjectRef, Principal, ReplicaState
from holdfast.engine.replicas import reconcile
from holdfast.engine.simulating import simulate
from holdfast.engine.wrapping import wrap_blob_key
from holdfast.jobs.reconcile import walk
from holdfast.layers.encryption.envelope import ENVELOPE
from holdfast.policy.placement import Facts, Match, Placement, Rule
from tests.engine.encrypted import K1, K2, Place, place
from tests.helpers import content, engine_on, memory_store, noise, run

pytestmark = pytest.mark.engine

PLAIN = Rule("default", ("main",))
BOTH = Rule("default", ("main", "copy"), acknowledge=2, encrypt=True)


async def put(at: Place, key: str, data: bytes) -> None:
    await at.session.put("plain", key, Body.of_bytes(data))


def test_an_encrypted_object_is_whole_above_and_unreadable_below(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, inline=1 << 20) as at:
            data = b"words that nobody may read " * 20_000
            version = await at.session.put("plain", "a.txt", Body.of_bytes(data))
            await put(at, "tiny", b"tiny words")
            assert version.size == len(data)
            assert all(is_sealed(name) for name in await at.names())
            assert len(await at.names()) == 2, "an encrypted content never lives in the catalog"
            assert b"words" not in await at.raw()
            assert await content(at.session, "plain", "a.txt") == data
            assert (
                await content(at.session, "plain", "a.txt", range=ByteRange(70_000, 70_099))
                == data[70_000:70_100]
            )
            assert await content(at.session, "plain", "tiny") == b"tiny words"
            usage = await at.session.usage("plain")
            assert usage.bytes == len(data) + 10, "what counts is the content"
            located = await at.engine.catalog.resolve(version.ref)
            assert [replica.size for replica in located.replicas] == [len(data)]

    run(story())


def test_uploads_in_pieces_copies_and_deletes(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            session, parts = at.session, [noise(6 << 20, 1), noise(100, 2)]
            upload = await session.create_upload("plain", "big")
            made = [
                await session.put_part("plain", "big", upload.id, number, Body.of_bytes(data))
                for number, data in enumerate(parts, 1)
            ]
            listed = [(part.number, part.etag) for part in made]
            version = await session.complete_upload("plain", "big", upload.id, listed)
            assert version.size == (6 << 20) + 100
            assert await content(session, "plain", "big") == b"".join(parts)
            await session.copy(("plain", "big"), ("plain", "copy"))
            assert await content(session, "plain", "copy") == b"".join(parts)
            assert all(is_sealed(name) for name in await at.names())
            await session.delete("plain", "big")
            await session.delete("plain", "copy")
            assert (await at.engine.catalog.count_blob_keys())["default", 1] == len(await at.names()) > 2

    run(story())


def test_keys_go_with_the_sweep(sqlite_url: str) -> None:
    async def story() -> None:
        environment = Environment.seeded(3)
        assert isinstance(environment.clock, ManualClock)
        async with place(sqlite_url, environment=environment) as at:
            for number in range(5):
                await put(at, f"k{number}", noise(1000, number))
            await put(at, "k0", b"another")
            await at.session.delete("plain", "k1")
            environment.clock.advance(2 * 86_400)
            assert (await at.engine.sweep()).deleted == 2
            assert len(await at.names()) == 4
            assert await at.engine.catalog.count_blob_keys() == {("default", 1): 4}

    run(story())


def test_a_rule_encrypts_what_it_is_about_and_no_more(catalog_url: str) -> None:
    async def story() -> None:
        rules = (Rule("private", ("main",), Match(keys=("private/*",)), encrypt=True),)
        async with place(catalog_url, rule=PLAIN) as at:
            at.engine.context.placing.own = placement = Placement(PLAIN, rules)
            at.engine.context.placing._current = placement
            await put(at, "private/a", b"hidden")
            await put(at, "open", b"shown")
            raw = await at.raw()
            assert (b"hidden" in raw, b"shown" in raw) == (False, True)
            found = await at.boss.admin.explain_object(ObjectRef("default", "plain", "private/a"))
            assert (found.explanation.plan.encrypt, found.home) == (True, True)
            assert [(copy.store, copy.encrypted) for copy in found.copies] == [("main", True)]
            facts = Facts(ObjectRef("default", "plain", "private/b"), 3, "a/b", inline=1000)
            told = await at.boss.admin.explain(facts)
            assert not told.explanation.plan.inline
            assert "a rule that encrypts" in told.explanation.why_inline

    run(story())


def test_a_store_may_encrypt_all_that_it_takes(catalog_url: str) -> None:
    async def story() -> None:
        two = Rule("default", ("main", "copy"), acknowledge=2)
        async with place(catalog_url, rule=two, stores=("main", "copy"), encrypting=("copy",)) as at:
            data = noise(300_000)
            await put(at, "a", data)
            assert data in await at.raw("main")
            assert data not in await at.raw("copy")
            assert [is_sealed(name) for name in await at.names("copy")] == [True]
            await at.disks["main"].delete((await at.names("main"))[0])
            assert await content(at.session, "plain", "a") == data, "read from the encrypted copy"

    run(story())


def test_a_bucket_that_asks_for_encryption_is_content_with_ours(catalog_url: str) -> None:
    async def story() -> None:
        asks = BucketSettings(encryption="store")
        async with place(catalog_url) as at:
            await at.session.create_bucket("asks", settings=asks)
            await at.session.put("asks", "a", Body.of_bytes(b"content"))
            assert b"content" not in await at.raw()
        async with place(
            catalog_url + "x" if catalog_url.startswith("sqlite") else catalog_url, rule=PLAIN
        ) as at:
            with pytest.raises(UnsupportedError, match="encrypt = true"):
                await at.session.create_bucket("asks2", settings=asks)
        async with place(
            catalog_url + "x" if catalog_url.startswith("sqlite") else catalog_url,
            rule=PLAIN,
            encrypting=("main",),
        ) as at:
            await at.session.create_bucket("asks3", settings=asks)
            await at.session.put("asks3", "a", Body.of_bytes(b"content"))
            assert b"content" not in await at.raw()

    run(story())


def test_what_is_there_is_encrypted_by_reconcile_and_simulated_before(catalog_url: str) -> None:
    async def story() -> None:
        environment, disks = Environment(), dict[str, MemoryBackend]()
        stores = ("main", "copy")
        async with place(
            catalog_url, rule=PLAIN, inline=100, disks=disks, environment=environment, stores=stores
        ) as at:
            await put(at, "large", noise(200_000, 1))
            await put(at, "small", b"small and inline")
            version = (await at.engine.catalog.resolve(ObjectRef("default", "plain", "large"))).version
        async with place(catalog_url, rule=BOTH, disks=disks, environment=environment, stores=stores) as at:
            context = at.engine.context
            made = await simulate(context, context.placement, supposed={})
            assert made.moving.objects == 2
            assert (made.stores["main"].writes, made.stores["main"].deletes) == (2, 1)
            assert made.stores["copy"].writes == 2
            found = await at.boss.admin.explain_object(ObjectRef("default", "plain", "large"))
            assert found.home is False
            report = await walk(at.engine)
            assert (report.moved, report.failed, report.copied) == (2, 0, 4)
            located = await at.engine.catalog.resolve(version.ref)
            assert {replica.store for replica in located.replicas} == {"main", "copy"}
            assert all(is_sealed(replica.blob) for replica in located.replicas)
            assert await content(at.session, "plain", "large") == noise(200_000, 1)
            assert await content(at.session, "plain", "small") == b"small and inline"
            again = await walk(at.engine)
            assert (again.moved, again.copied) == (0, 0)
            assert (await simulate(context, context.placement, supposed={})).moving.objects == 0
            assert (await reconcile(context, version.ref, version.id)).copied == 0

    run(story())


def test_a_damaged_copy_is_replaced_by_another(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, rule=BOTH, stores=("main", "copy")) as at:
            data = noise(300_000)
            await put(at, "a", data)
            (name,) = await at.names("main")
            raw = bytearray(await at.raw("main"))
            raw[ENVELOPE + 70_000] ^= 1
            await at.disks["main"].put(name, Body.of_bytes(bytes(raw)))
            for _ in range(3):
                assert await content(at.session, "plain", "a") == data
            at.disks["copy"]._blobs.clear()
            with pytest.raises(CorruptedError):
                await content(at.session, "plain", "a")
            located = await at.engine.catalog.resolve(ObjectRef("default", "plain", "a"))
            assert {replica.state for replica in located.replicas} == {ReplicaState.SUSPECT}

    run(story())


def test_reads_go_on_while_keys_are_rotated(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, seal_keys=K1) as at:
            written: dict[str, bytes] = {}
            stop = False

            async def write(number: int) -> None:
                for piece in range(8):
                    key, data = f"{number}/{piece}", noise(3000 + piece, number)
                    await put(at, key, data)
                    written[key] = data

            async def read() -> int:
                count = 0
                while not stop:
                    for key, data in list(written.items()):
                        assert await content(at.session, "plain", key) == data
                        count += 1
                    await asyncio.sleep(0)
                return count

            async def rotate() -> None:
                for _ in range(5):
                    done, _ = await at.boss.admin.encryption.rotate("default", drop=True)
                    assert done.troubles == ()

            readers = [asyncio.ensure_future(read()) for _ in range(3)]
            await asyncio.gather(rotate(), *(write(number) for number in range(6)))
            stop = True
            assert sum(await asyncio.gather(*readers)) > 0
            for key, data in written.items():
                assert await content(at.session, "plain", key) == data

    run(story())


def test_shredding_makes_reads_fail_and_tells_why(catalog_url: str) -> None:
    async def story() -> None:
        disks = dict[str, MemoryBackend]()
        async with place(catalog_url, disks=disks) as at:
            await put(at, "a", b"secret words")
            with pytest.raises(PermissionDeniedError):
                await at.session.admin.encryption.shred("default")
            with pytest.raises(NotFoundError):
                await at.boss.admin.encryption.shred("nobody")
            assert await at.boss.admin.encryption.shred("default") == 1
            with pytest.raises(NotFoundError, match="was destroyed"):
                await content(at.session, "plain", "a")
            located = await at.engine.catalog.resolve(ObjectRef("default", "plain", "a"))
            assert [replica.state for replica in located.replicas] == [ReplicaState.LIVE]
            await put(at, "b", b"new words under a new key")
            assert await content(at.session, "plain", "b") == b"new words under a new key"
            await at.session.delete("plain", "a")
        async with place(catalog_url, disks=disks) as at:
            assert await content(at.session, "plain", "b") == b"new words under a new key"

    run(story())


def test_a_missing_root_key_is_named_and_blames_no_store(catalog_url: str) -> None:
    async def story() -> None:
        disks = dict[str, MemoryBackend]()
        async with place(catalog_url, seal_keys=K1, disks=disks) as at:
            await put(at, "a", b"content")
        async with place(catalog_url, seal_keys=K2, disks=disks) as at:
            with pytest.raises(LockedError, match="'k1', which is not among seal_keys"):
                await content(at.session, "plain", "a")
            assert not at.engine.failing("main")
            with pytest.raises(ConfigError, match="'k1'"):
                await put(at, "b", b"content")
            with pytest.raises(ConfigError, match="'k1'"):
                await at.boss.admin.encryption.rotate_root()
        async with place(catalog_url, seal_keys=f"{K2},{K1}", disks=disks) as at:
            assert (await at.boss.admin.encryption.rotate_root()).rewrapped == 1
        async with place(catalog_url, seal_keys=K2, disks=disks) as at:
            assert await content(at.session, "plain", "a") == b"content"
            status = await at.boss.admin.encryption.status()
            assert status.root_keys == ("k2", "root")

    run(story())


def test_a_root_key_that_is_another_one_blames_no_copy(catalog_url: str) -> None:
    async def story() -> None:
        disks = dict[str, MemoryBackend]()
        async with place(catalog_url, seal_keys=K1, disks=disks) as at:
            await put(at, "a", b"content")
        async with place(catalog_url, seal_keys="k1:" + "33" * 32, disks=disks) as at:
            for _ in range(2):
                with pytest.raises(LockedError, match="'k1' is another one now"):
                    await content(at.session, "plain", "a")
            with pytest.raises(LockedError, match="'k1' is another one now"):
                await put(at, "b", b"content")
            assert not at.engine.failing("main")
        async with place(catalog_url, seal_keys=K1, disks=disks) as at:
            located = await at.engine.catalog.resolve(ObjectRef("default", "plain", "a"))
            assert [replica.state for replica in located.replicas] == [ReplicaState.LIVE]
            assert await content(at.session, "plain", "a") == b"content"

    run(story())


def test_a_tenant_that_is_removed_takes_its_keys_along(catalog_url: str) -> None:
    async def story() -> None:
        environment = Environment.seeded(9)
        assert isinstance(environment.clock, ManualClock)
        async with place(catalog_url, environment=environment) as at:
            environment.clock.advance(60)
            await at.boss.admin.create_tenant("acme")
            theirs = at.engine.session(Principal("they", "acme", "admin"))
            await theirs.create_bucket("plain")
            await theirs.put("plain", "a", Body.of_bytes(b"content"))
            await put(at, "mine", b"content")
            await at.boss.admin.delete_tenant("acme", grace=0)
            environment.clock.advance(60)
            assert await at.engine.remove_tenants() == ["acme"]
            assert await at.engine.catalog.count_blob_keys() == {("default", 1): 1}
            assert [key.wrapped for key in await at.engine.catalog.tenant_keys("acme")] == [b""]
            environment.clock.advance(2 * 86_400)
            assert not (await at.engine.sweep()).failed
            assert len(await at.names()) == 1

    run(story())


def test_exported_keys_are_restored_through_the_desk(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url, seal_keys=K1) as at:
            await put(at, "a", b"content")
            text = await at.boss.admin.encryption.export()
            assert "content" not in text
            assert await at.boss.admin.encryption.restore(text) == 0
            for wrong in (
                "",
                "{}",
                "[" * 100_000,
                '{"format": "x", "keys": []}',
                text.replace('"generation": 1', '"generation": 1e999'),
                text.replace('"generation": 1', '"generation": "x"'),
            ):
                with pytest.raises(InvalidRequestError, match="no export"):
                    await at.boss.admin.encryption.restore(wrong)

    run(story())


def test_stores_without_keys_refuse_to_encrypt(sqlite_url: str) -> None:
    async def story() -> None:
        environment = Environment()
        async with engine_on(sqlite_url, memory_store("main", environment), environment=environment) as found:
            engine, session = found
            engine.context.placing._current = Placement(Rule("default", ("main",), encrypt=True))
            engine.context.placing.own = engine.context.placing._current
            with pytest.raises(ConfigError, match="without keys"):
                await session.put("plain", "a", Body.of_bytes(b"x"))

    run(story())


def test_wrapping_says_what_it_is_for() -> None:
    one = wrap_blob_key(b"k" * 32, "t/h/x.floe1", 1, b"s" * 64, bytes(12))
    assert one != wrap_blob_key(b"k" * 32, "t/h/x.floe1", 2, b"s" * 64, bytes(12))
    assert b"s" * 64 not in one
