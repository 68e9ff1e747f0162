"""Tenants, buckets, counters, keys and the clock; what one tenant has, another cannot see."""

from __future__ import annotations

import pytest

from holdfast.core.clock import Environment
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from holdfast.core.types import ApiKey, ObjectRef, Usage
from tests.engine.catalog.support import MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


def test_tenants_and_buckets_by_name(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_tenant("other")
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_tenant("other")
            assert [tenant.name for tenant in await desk.catalog.tenants()] == ["other", "t"]
            with pytest.raises(NotFoundError):
                await desk.catalog.create_bucket("nobody", "bucket")
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_bucket("t", "plain")
            made = await desk.catalog.create_bucket("other", "plain", versioning=True)
            assert made == await desk.catalog.bucket("other", "plain")
            assert made.versioning
            assert made.id != (await desk.catalog.bucket("t", "plain")).id
            with pytest.raises(NotFoundError):
                await desk.catalog.bucket("other", "kept")
            await desk.put("k", size=11)
            assert [(bucket.name, usage) for bucket, usage in await desk.catalog.buckets("t")] == [
                ("kept", Usage()),
                ("plain", Usage(1, 1, 11, 0)),
            ]
            assert await desk.catalog.buckets("nobody") == []
            assert await desk.catalog.usage("nobody") == Usage()
            with pytest.raises(NotFoundError):
                await desk.catalog.usage("t", "nowhere")
            with pytest.raises(NotFoundError):
                await desk.catalog.recount("t", "nowhere")

    run(story())


def test_tenants_do_not_see_each_other(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_tenant("other")
            await desk.catalog.create_bucket("other", "plain")
            mine = await desk.put("k")
            upload = await desk.upload("u")
            theirs = Desk(desk.catalog, desk.world, tenant="other")
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ObjectRef("other", "plain", "k"))
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ObjectRef("other", "plain", "k"), version_id=mine.id)
            with pytest.raises(NotFoundError):
                await desk.catalog.version_by_id("other", mine.id)
            with pytest.raises(NotFoundError):
                await desk.catalog.upload(ObjectRef("other", "plain", "u"), upload.id)
            with pytest.raises(NotFoundError):
                await desk.catalog.abort_upload(ObjectRef("other", "plain", "u"), upload.id)
            assert (await desk.catalog.list_objects("other", "plain")).items == []
            assert (await desk.catalog.list_uploads("other", "plain"))[0] == []
            assert (await theirs.delete("k", version_id=mine.id)).version_id is None
            other = await theirs.put("k")
            assert (await desk.catalog.resolve(desk.ref("k"))).version == mine
            assert (await desk.catalog.resolve(theirs.ref("k"))).version == other

    run(story())


def test_keys_are_kept_without_their_secret(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            now = await desk.catalog.now()
            key = ApiKey("key-1", "t", "laptop", "admin", b"d" * 32, now)
            await desk.catalog.create_key(key)
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_key(key)
            assert await desk.catalog.api_key("key-1") == key
            assert await desk.catalog.api_key("key-2") is None
            await desk.catalog.create_key(ApiKey("key-0", "u", "x", "reader", b"e" * 32, now))
            assert [one.id for one in await desk.catalog.api_keys()] == ["key-1", "key-0"]
            assert list(await desk.catalog.api_keys("t")) == [key]
            desk.advance(5)
            await desk.catalog.revoke_key("key-1")
            revoked = await desk.catalog.api_key("key-1")
            assert revoked is not None
            assert revoked.revoked == now + 5_000_000
            desk.advance(5)
            await desk.catalog.revoke_key("key-1")
            assert await desk.catalog.api_key("key-1") == revoked
            with pytest.raises(NotFoundError):
                await desk.catalog.revoke_key("no-such")

    run(story())


def test_the_clock_is_the_one_that_rows_are_stamped_with(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            now = await desk.catalog.now()
            assert now == desk.world.clock.now()
            assert (await desk.put("k")).created == now
            await desk.catalog.ping()
        async with desk_at(catalog_url, Environment(), fresh=False) as desk:
            before = await desk.catalog.now()
            made = await desk.put("real")
            after = await desk.catalog.now()
            assert before - MINUTE < made.created < after + MINUTE
            assert abs(desk.world.clock.now() - after) < MINUTE

    run(story())
