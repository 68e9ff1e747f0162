"""The end of a tenant in the catalog: undone in time, final afterwards, and nobody else's."""

from __future__ import annotations

import hashlib

import pytest

from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.records import Artifact, Execution
from holdfast.core.types import ApiKey, Quota, TenantState
from tests.engine.catalog.support import MINUTE, desk_at, run

pytestmark = pytest.mark.engine
HOUR = 60 * MINUTE


def test_a_tenant_is_deleted_and_restored(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_tenant("acme")
            with pytest.raises(NotFoundError):
                await catalog.delete_tenant("nobody", grace=HOUR)
            made = await catalog.delete_tenant("acme", grace=HOUR)
            assert (made.state, made.delete_after) == (TenantState.DELETING, await catalog.now() + HOUR)
            assert made == await catalog.tenant("acme")
            with pytest.raises(ConflictError):
                await catalog.update_tenant("acme", state=TenantState.ACTIVE)
            await catalog.rotate_signing("acme")
            assert (await catalog.tenant("acme")).delete_after == made.delete_after
            longer = await catalog.delete_tenant("acme", grace=2 * HOUR)
            assert longer.delete_after == await catalog.now() + 2 * HOUR
            desk.advance(7199)
            assert not await catalog.remove_tenant("acme")
            back = await catalog.restore_tenant("acme")
            assert (back.state, back.delete_after) == (TenantState.ACTIVE, None)
            assert await catalog.restore_tenant("acme") == back
            await catalog.update_tenant("acme", state=TenantState.SUSPENDED)
            await catalog.delete_tenant("acme", grace=HOUR)
            await catalog.delete_tenant("acme", grace=HOUR)
            assert (await catalog.restore_tenant("acme")).state is TenantState.SUSPENDED
            assert not await catalog.remove_tenant("acme")
            for audit in ("acme", ""):
                actions = [entry.action for entry in await catalog.audit(audit)]
                assert actions.count("delete-tenant") == 4
                assert actions.count("restore-tenant") == 2

    run(story())


def test_after_its_time_it_goes_with_all_that_is_left_and_its_name_stays_taken(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_tenant("acme")
            await catalog.create_bucket("acme", "photos")
            await catalog.set_quota("acme", None, Quota(1000))
            digest = hashlib.sha256(b"x").digest()
            for tenant in ("acme", "t"):
                for number in range(5):
                    key = ApiKey(f"{tenant}-{number}", tenant, "n", "reader", digest, 0)
                    await catalog.create_key(key)
                    await catalog.create_execution(Execution(f"run-{number}", tenant))
                    file = Artifact("a", tenant, f"run-{number}", "a", storage_type="filesystem")
                    await catalog.add_artifact(file)
                await catalog.revoke_token(f"{tenant}/us:1", tenant=tenant, expires=1 << 60)
            await catalog.delete_tenant("acme", grace=HOUR)
            desk.advance(3600)
            for late in (catalog.restore_tenant("acme"), catalog.delete_tenant("acme", grace=HOUR)):
                with pytest.raises(ConflictError):
                    await late
            assert not await catalog.remove_tenant("acme")  # a bucket is there
            await catalog.delete_bucket("acme", "photos")
            assert not await catalog.remove_tenant("acme")  # keys and runs are
            pages = 0
            while not await catalog.clear_tenant("acme", limit=2):
                pages += 1
            assert 2 <= pages <= 3  # the row by row of `remove_tenant` took some
            assert await catalog.remove_tenant("acme")
            assert await catalog.remove_tenant("acme")  # asked again
            assert [tenant.name for tenant in await catalog.tenants()] == ["t"]
            assert await catalog.api_keys("acme") == []
            assert await catalog.executions("acme") == []
            assert not await catalog.token_revoked("acme/us:1")
            with pytest.raises(AlreadyExistsError):
                await catalog.create_tenant("acme")
            assert len(await catalog.api_keys("t")) == 5
            assert len(await catalog.executions("t")) == 5
            assert [one.id for one in await catalog.artifacts("t", "run-0")] == ["a"]
            assert await catalog.token_revoked("t/us:1")
            told = [entry for entry in await catalog.audit("") if entry.action == "remove-tenant"]
            assert [dict(entry.detail) for entry in told] == [{"tenant": "acme"}]
            assert (await catalog.audit("acme"))[-1].action == "remove-tenant"

    run(story())
