"""Keys and tenants as their administrators look after them: nobody gives away more than they have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.types import (
    BucketSettings,
    Grant,
    IpRules,
    KeySettings,
    Principal,
    Quota,
    Rate,
    Scope,
    TenantState,
    Visibility,
)
from holdfast.engine.administration import Administration
from holdfast.engine.engine import Engine
from holdfast.engine.keys import Authenticator
from holdfast.policy.access import ANONYMOUS
from tests.helpers import engine_on, memory_store, run

pytestmark = pytest.mark.engine


@dataclass
class Office:
    engine: Engine
    clock: ManualClock
    authenticate: Authenticator

    def of(self, role: str, tenant: str = "default", **more: Any) -> Administration:
        return self.engine.session(Principal(f"a-{role}", tenant, role, **more)).admin

    async def by(self, token: str) -> Administration:
        return self.engine.session(await self.authenticate(token)).admin


@asynccontextmanager
async def office(url: str) -> AsyncIterator[Office]:
    environment = Environment.seeded(9)
    assert isinstance(environment.clock, ManualClock)
    async with engine_on(url, memory_store("m", environment), environment=environment) as (engine, _):
        await engine.catalog.create_tenant("acme")
        yield Office(engine, environment.clock, Authenticator(engine.catalog, environment.clock))


def test_a_key_is_its_settings_and_ends_in_time(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            settings = KeySettings((Scope("photos", "2024/"),), IpRules(("10.0.0.1",)), Rate(5.0))
            key, token = await at.of("admin").create_key("ci", "writer", settings=settings, seconds=60)
            assert key.settings.ip == IpRules(("10.0.0.1/32",))
            principal = await at.authenticate(token)
            assert (principal.id, principal.tenant, principal.role, principal.name) == (
                key.id,
                "default",
                "writer",
                "ci",
            )
            assert principal.scopes == settings.scopes
            assert principal.ip == (IpRules(), IpRules(("10.0.0.1/32",)))
            assert principal.rate == Rate(5.0)
            assert principal.credentials == (f"key:{key.id}",)
            at.clock.advance(59.9)
            await at.authenticate(token)
            at.clock.advance(0.2)
            with pytest.raises(UnauthenticatedError):
                await at.authenticate(token)

    run(story())


def test_a_revoked_key_is_refused_within_five_seconds(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            key, token = await at.of("admin").create_key("ci", "writer")
            await at.authenticate(token)
            assert (await at.of("admin").revoke_key(key.id)).revoked is not None
            at.clock.advance(5)
            with pytest.raises(UnauthenticatedError):
                await at.authenticate(token)

    run(story())


def test_a_key_never_makes_one_that_allows_more(catalog_url: str) -> None:
    narrow = KeySettings((Scope("*", "", ("list_keys", "create_key", "revoke_key", "get", "list")),))

    async def story() -> None:
        async with office(catalog_url) as at:
            _, token = await at.of("operator").create_key("narrow", "admin", settings=narrow, seconds=100)
            admin = await at.by(token)
            inside = KeySettings((Scope("photos", "", ("get",)),))
            key, child = await admin.create_key("inside", "reader", settings=inside, seconds=1000)
            assert (await at.authenticate(child)).scopes == inside.scopes
            assert key.expires == (await at.authenticate(token)).expires  # never longer
            inherited, _ = await admin.create_key("as I am", "admin")
            assert inherited.settings.scopes == narrow.scopes
            for role, scopes in (
                ("operator", narrow.scopes),
                ("reader", (Scope("photos"),)),  # all verbs of a reader
                ("writer", (Scope("photos", "", ("put",)),)),
                ("admin", (Scope("*", "", ("audit",)),)),
            ):
                with pytest.raises(PermissionDeniedError):
                    await admin.create_key("more", role, settings=KeySettings(scopes))
            for role in ("anonymous", "root", ""):
                with pytest.raises(InvalidRequestError):
                    await admin.create_key("what", role)

    run(story())


def test_a_key_bound_to_addresses_makes_only_keys_bound_as_tightly(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            office_only = KeySettings(ip=IpRules(("10.0.0.0/8",)))
            _, token = await at.of("admin").create_key("office", "admin", settings=office_only)
            admin = await at.by(token)
            same, _ = await admin.create_key("same", "reader")
            assert same.settings.ip == office_only.ip
            tighter, _ = await admin.create_key(
                "one desk", "reader", settings=KeySettings(ip=IpRules(("10.1.1.1",)))
            )
            assert tighter.settings.ip == IpRules(("10.1.1.1/32",))
            for rules in (
                IpRules(("0.0.0.0/0",)),
                IpRules(("10.0.0.1", "11.0.0.1")),
                IpRules(deny=("9.9.9.9",)),
            ):
                with pytest.raises(PermissionDeniedError):
                    await admin.create_key("home", "reader", settings=KeySettings(ip=rules))
            minted = await admin.create_token()
            assert minted.role == "admin"

    run(story())


def test_keys_of_other_tenants_are_for_operators_alone(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            theirs, _ = await at.of("operator").create_key("theirs", "admin", tenant="acme")
            assert theirs.tenant == "acme"
            admin = at.of("admin")
            assert await admin.keys() == []
            with pytest.raises(NotFoundError):
                await admin.revoke_key(theirs.id)
            for work in (
                admin.keys(tenant="acme"),
                admin.create_key("x", "reader", tenant="acme"),
                admin.revoke_key(theirs.id, tenant="acme"),
                admin.create_token(tenant="acme"),
                admin.revoke_token("holdfast", "1", tenant="acme"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await work
            with pytest.raises(NotFoundError):
                await at.of("operator").create_key("x", "reader", tenant="nowhere")
            assert (await at.of("operator").keys(tenant="acme"))[0].id == theirs.id
            own, _ = await at.of("operator").create_key("boss", "operator")
            with pytest.raises(PermissionDeniedError):
                await admin.revoke_key(own.id)  # of somebody who may more

    run(story())


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_readers_and_writers_look_after_nothing(catalog_url: str, role: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            admin = at.of(role)
            for work in (
                admin.keys(),
                admin.create_key("x", "reader"),
                admin.revoke_key("hf1"),
                admin.tenants(),
                admin.tenant("default"),
                admin.create_tenant("new"),
                admin.update_tenant("default"),
                admin.rotate_signing("default"),
                admin.rotate_signing("acme"),
                admin.revoke_token("us", "1"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await work

    run(story())


def test_an_admin_is_no_operator(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            admin = at.of("admin")
            for work in (
                admin.tenants(),
                admin.tenant("default"),
                admin.create_tenant("new"),
                admin.update_tenant("default", quota=Quota()),
                admin.update_tenant("default", state=TenantState.ACTIVE),
                admin.rotate_signing("acme"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await work
            assert (await admin.rotate_signing("default")).signing_generation == 2

    run(story())


def test_an_operator_makes_limits_and_shows_tenants(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            boss = at.of("operator")
            quota = Quota(1000, 10)
            made = await boss.create_tenant("new", quota=quota, ip=IpRules(("10.0.0.1",)), rate=Rate(2.0))
            assert made.settings.ip == IpRules(("10.0.0.1/32",))
            assert [tenant.name for tenant in await boss.tenants()] == ["acme", "default", "new"]
            shown, use = await boss.tenant("new")
            assert (shown.settings.rate, use.quota, use.bytes) == (Rate(2.0), quota, 0)
            changed = await boss.update_tenant("new", quota=Quota(5), ip=IpRules())
            assert (changed.settings.ip, changed.settings.rate) == (IpRules(), Rate(2.0))
            assert (await boss.tenant("new"))[1].quota == Quota(5)
            for wrong in (IpRules(("all",)), IpRules(deny=("10.0.0.1/8",))):
                with pytest.raises(InvalidRequestError):
                    await boss.update_tenant("new", ip=wrong)
            for rate in (Rate(0.0), Rate(bytes_in=-1), Rate(float("nan")), Rate(float("inf"))):
                with pytest.raises(InvalidRequestError):
                    await boss.update_tenant("new", rate=rate)
            for name in ("", "A", "../x", "a" * 64):
                with pytest.raises(InvalidRequestError):
                    await boss.create_tenant(name)

    run(story())


def test_a_signed_url_makes_no_tokens(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            url = at.of("writer", scopes=(Scope("photos", key="a"),), grant=Grant())
            with pytest.raises(PermissionDeniedError):
                await url.create_token()
            with pytest.raises(InvalidRequestError):
                await url.give_back()

    run(story())


def test_every_change_is_audited_with_who_made_it(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            principal = Principal("boss", "default", "operator")
            boss = at.engine.session(principal, request_id="r-1", address="192.0.2.1").admin
            await boss.create_tenant("new")
            await boss.update_tenant("new", state=TenantState.SUSPENDED)
            await boss.rotate_signing("new")
            key, token = await boss.create_key("k", "reader", tenant="new")
            minted = await boss.create_token(role="reader", tenant="new")
            await boss.revoke_token("holdfast", "some", tenant="new")
            await boss.revoke_key(key.id, tenant="new")
            entries = await at.engine.catalog.audit("new")
            assert [entry.action for entry in entries] == [
                "create-tenant",
                "update-tenant",
                "rotate-signing",
                "create-key",
                "create-token",
                "revoke-token",
                "revoke-key",
            ]
            assert {(entry.principal, entry.request_id, entry.address) for entry in entries} == {
                ("boss", "r-1", "192.0.2.1")
            }
            assert token.partition(".")[2] not in repr(entries)
            assert minted.token not in repr(entries)

    run(story())


def test_public_buckets_are_read_by_anybody_and_nothing_else_is(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            from holdfast.core.body import Body

            owner = at.engine.session(Principal("o", "default", "admin"))
            await owner.create_bucket("open", settings=BucketSettings(visibility=Visibility.PUBLIC))
            for bucket in ("open", "plain"):
                await owner.put(bucket, "k", Body.of_bytes(b"content"))
            nobody = at.engine.session(Principal(ANONYMOUS, "default", ANONYMOUS), address="192.0.2.1")
            async with nobody.get("open", "k") as reader:
                assert await reader.read() == b"content"
            assert (await nobody.head("open", "k"))[0].size == 7
            with pytest.raises(NotFoundError):
                await nobody.head("open", "missing")
            for bucket, key in (("plain", "k"), ("plain", "missing"), ("nowhere", "k")):
                with pytest.raises(UnauthenticatedError):
                    await nobody.head(bucket, key)
                with pytest.raises(UnauthenticatedError):
                    async with nobody.get(bucket, key):
                        pass
            for work in (
                nobody.list("open"),
                nobody.usage("open"),
                nobody.buckets(),
                nobody.delete("open", "k"),
            ):
                with pytest.raises(UnauthenticatedError):
                    await work

    run(story())


def test_a_bucket_lets_in_only_the_addresses_that_it_names(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            from holdfast.core.body import Body

            who = Principal("o", "default", "admin")
            inside = at.engine.session(who, address="10.0.0.1")
            outside = at.engine.session(who, address="192.0.2.1")
            unknown = at.engine.session(who, address="unknown")
            rules = BucketSettings(ip=IpRules(("10.0.0.0/8",)))
            await inside.create_bucket("inner", settings=rules)
            await inside.put("inner", "k", Body.of_bytes(b"content"))
            async with inside.get("inner", "k") as reader:
                assert await reader.read() == b"content"
            for session in (outside, unknown):
                for work in (
                    session.head("inner", "k"),
                    session.head("inner", "missing"),
                    session.list("inner"),
                    session.versions("inner"),
                    session.usage("inner"),
                    session.bucket("inner"),
                    session.delete("inner", "k"),
                    session.delete_bucket("inner"),
                    session.put("inner", "x", Body.of_bytes(b"")),
                    session.create_upload("inner", "x"),
                    session.copy(("inner", "k"), ("plain", "k")),
                    session.copy(("plain", "k"), ("inner", "k")),
                ):
                    with pytest.raises(PermissionDeniedError):
                        await work
                with pytest.raises(PermissionDeniedError):
                    async with session.get("inner", "k"):
                        pass
            assert (await inside.head("inner", "k"))[0].size == 7

    run(story())


def test_scopes_hold_for_every_verb_of_a_session(catalog_url: str) -> None:
    async def story() -> None:
        async with office(catalog_url) as at:
            from holdfast.core.body import Body

            owner = at.engine.session(Principal("o", "default", "admin"))
            for key in ("in/a", "out"):
                await owner.put("plain", key, Body.of_bytes(b"x"))
            scoped = at.engine.session(Principal("s", "default", "writer", scopes=(Scope("plain", "in/"),)))
            await scoped.put("plain", "in/b", Body.of_bytes(b"x"))
            assert [item.ref.key for item in (await scoped.list("plain", prefix="in/")).items] == [
                "in/a",
                "in/b",
            ]
            await scoped.copy(("plain", "in/a"), ("plain", "in/c"))
            upload = await scoped.create_upload("plain", "in/u")
            await scoped.abort_upload("plain", "in/u", upload.id)
            assert await scoped.buckets() == []  # a whole bucket is more than a prefix
            foreign = await owner.create_upload("plain", "out")
            for work in (
                scoped.put("plain", "out", Body.of_bytes(b"x")),
                scoped.head("plain", "out"),
                scoped.delete("plain", "out"),
                scoped.list("plain"),
                scoped.list("plain", prefix="i"),
                scoped.versions("plain"),
                scoped.usage("plain"),
                scoped.usage(),
                scoped.list_uploads("plain"),
                scoped.copy(("plain", "out"), ("plain", "in/d")),
                scoped.copy(("plain", "in/a"), ("plain", "out")),
                scoped.copy(("plain", "in/a"), ("kept", "in/a")),
                scoped.create_upload("plain", "out"),
                scoped.abort_upload("plain", "out", foreign.id),
                scoped.list_parts("plain", "out", foreign.id),
                scoped.bucket("kept"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await work
            assert len((await owner.list_uploads("plain"))[0]) == 1

    run(story())
