"""Keys, revoked tokens and tenants, on every catalog."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from holdfast.catalog.contract import Actor
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from holdfast.core.types import (
    ApiKey,
    IpRules,
    KeySettings,
    Rate,
    Scope,
    TenantSettings,
    TenantState,
)
from tests.engine.catalog.support import MINUTE, desk_at, run

pytestmark = pytest.mark.engine

SETTINGS = KeySettings(
    (Scope("photos", "2024/", ("get", "head")), Scope("x-*", key="é")),
    IpRules(("10.0.0.0/8",), ("10.1.0.0/16",)),
    Rate(2.5, 1000, None),
)
BY = Actor("boss", "request-1", "192.0.2.1")


def test_a_key_keeps_what_narrows_it_and_each_change_is_audited(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            now = await desk.catalog.now()
            key = ApiKey("hf1", "t", "ci", "writer", b"d" * 32, now, None, now + MINUTE, SETTINGS)
            await desk.catalog.create_key(key, actor=BY)
            assert await desk.catalog.api_key("hf1") == key
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_key(key)
            with pytest.raises(NotFoundError):
                await desk.catalog.revoke_key("hf1", tenant="other")
            desk.advance(1)
            revoked = await desk.catalog.revoke_key("hf1", tenant="t", actor=BY)
            assert revoked.revoked is not None
            desk.advance(1)
            assert await desk.catalog.revoke_key("hf1") == revoked  # the first time stays
            assert await desk.catalog.api_keys("t") == [revoked]
            assert replace(revoked, revoked=None) == key
            tail = [entry for entry in await desk.catalog.audit("t") if entry.action.endswith("-key")]
            assert [(entry.action, entry.principal) for entry in tail] == [
                ("create-key", "boss"),
                ("revoke-key", "boss"),
            ]
            assert tail[0].detail["id"] == "hf1"
            assert b"d" * 32 not in repr(tail).encode()

    run(story())


def test_a_revoked_token_is_remembered_until_it_would_have_ended(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ends = await desk.catalog.now() + MINUTE
            assert not await desk.catalog.token_revoked("t/us:1")
            for _ in range(2):
                await desk.catalog.revoke_token("t/us:1", tenant="t", expires=ends, actor=BY)
            assert await desk.catalog.token_revoked("t/us:1")
            assert not await desk.catalog.token_revoked("u/us:1")
            await desk.catalog.expire()
            assert await desk.catalog.token_revoked("t/us:1")
            actions = [entry.action for entry in await desk.catalog.audit("t")]
            assert actions.count("revoke-token") == 1
            if desk.world.clock.now() < ends:
                desk.advance(61)
            if await desk.catalog.now() > ends:  # a database with a clock of its own does not hurry
                await desk.catalog.expire()
                assert not await desk.catalog.token_revoked("t/us:1")

    run(story())


def test_a_tenant_is_changed_suspended_and_signs_anew(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            settings = TenantSettings(ip=IpRules(("10.0.0.0/8",)), rate=Rate(5.0))
            made = await desk.catalog.create_tenant("u", settings=settings, actor=BY)
            assert await desk.catalog.tenant("u") == made
            assert [one.name for one in await desk.catalog.tenants()] == ["t", "u"]
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_tenant("u")
            with pytest.raises(NotFoundError):
                await desk.catalog.tenant("v")
            with pytest.raises(NotFoundError):
                await desk.catalog.update_tenant("v", state=TenantState.SUSPENDED)
            changed = await desk.catalog.update_tenant(
                "u", state=TenantState.SUSPENDED, change=lambda held: replace(held, rate=Rate()), actor=BY
            )
            assert changed.state is TenantState.SUSPENDED
            assert changed.settings == TenantSettings(ip=IpRules(("10.0.0.0/8",)))
            assert await desk.catalog.update_tenant("u", state=TenantState.SUSPENDED) == changed
            turned = await desk.catalog.rotate_signing("u", actor=BY)
            assert turned.signing_generation == 2
            assert turned.state is TenantState.SUSPENDED
            assert await desk.catalog.tenant("u") == turned
            actions = [entry.action for entry in await desk.catalog.audit("u")]
            assert actions == ["create-tenant", "update-tenant", "rotate-signing"]

    run(story())


def test_many_changes_of_a_tenant_at_once_all_happen(catalog_url: str) -> None:
    def one_more(held: TenantSettings) -> TenantSettings:
        return replace(held, rate=Rate((held.rate.requests or 0) + 1))

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            work = [desk.catalog.update_tenant("t", change=one_more, actor=BY) for _ in range(20)]
            turns = [desk.catalog.rotate_signing("t", actor=BY) for _ in range(20)]
            await asyncio.gather(*work, *turns)
            tenant = await desk.catalog.tenant("t")
            assert (tenant.settings.rate.requests, tenant.signing_generation) == (20, 21)

    run(story())


def test_reading_says_what_the_bucket_asks_of_readers(catalog_url: str) -> None:
    async def story() -> None:
        from holdfast.core.types import BucketSettings, Visibility

        async with desk_at(catalog_url) as desk:
            await desk.put("k")
            await desk.put("k", "kept")
            plain = await desk.catalog.resolve(desk.ref("k"))
            assert plain.settings in (None, BucketSettings())
            public = BucketSettings(visibility=Visibility.PUBLIC, ip=IpRules(("10.0.0.0/8",)))
            await desk.catalog.update_bucket("t", "plain", change=lambda held: public)
            located = await desk.catalog.resolve(desk.ref("k"))
            assert located.settings == public
            assert located.replicas == plain.replicas
            named = await desk.catalog.resolve(desk.ref("k"), version_id=located.version.id)
            assert (named.settings, named.replicas, named.version) == (
                public,
                located.replicas,
                located.version,
            )

    run(story())
