"""Signed tokens: what holds, what is forged, what was revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import KeySettings, Principal, Scope, TenantState
from holdfast.engine.engine import Engine
from holdfast.engine.issuers import Issuer, KeySet, OneKey, key_of
from holdfast.engine.keys import Authenticator, create_key
from holdfast.engine.tokens import Tokens, own_issuer
from tests.engine import forging
from tests.engine.forging import EC, ED, HS, NOW, PARTIES, RSA, made
from tests.helpers import engine_on, memory_store, run

pytestmark = pytest.mark.engine
OPERATOR = Principal("boss", "default", "operator")


def issuer_of(party: forging.Party, **changes: Any) -> Issuer:
    key = key_of(party.pem, party.algorithm)
    facts: dict[str, Any] = {
        "keys": KeySet({party.kid: key}) if party.kid else OneKey(key),
        "kids": frozenset({party.kid} if party.kid else ()),
        "tenant_claim": "team",
        "tenants": frozenset({"acme"}),
        "role": "writer",
        "role_claim": "role",
        "scope_claim": "scopes",
        **changes,
    }
    return Issuer(party.name, party.issuer, "storage", party.algorithm, **facts)


@dataclass
class Desk:
    engine: Engine
    tokens: Tokens
    authenticate: Authenticator
    clock: ManualClock

    async def refused(self, token: str) -> bool:
        try:
            await self.authenticate(token)
        except UnauthenticatedError:
            return True
        return False


@asynccontextmanager
async def desk(url: str = "sqlite://", *issuers: Issuer) -> AsyncIterator[Desk]:
    environment = Environment.seeded(8)
    assert isinstance(environment.clock, ManualClock)
    async with engine_on(url, memory_store("m", environment), environment=environment) as (engine, _):
        await engine.catalog.create_tenant("acme")
        known = issuers or tuple(issuer_of(party) for party in PARTIES)
        secret = engine.context.secret
        tokens = Tokens([own_issuer(secret), *known], engine.catalog, environment.clock)
        authenticate = Authenticator(engine.catalog, environment.clock, tokens)
        assert environment.clock.now() == NOW * 1_000_000
        yield Desk(engine, tokens, authenticate, environment.clock)


@pytest.fixture
def url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


def test_an_honest_token_of_each_issuer_opens(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            for party in PARTIES:
                for token in (
                    made(party),
                    made(party, {"typ": "at+jwt"}),
                    made(party, {"typ": "application/at+jwt"}),
                    made(party, aud=["other", "storage"]),
                    made(party, nbf=..., iat=..., jti=...),
                    made(party, exp=NOW + 0.5),
                    made(party, scopes=["read:photos"]),
                    made(party, more={"any": ["thing"]}),
                ):
                    principal = await at.authenticate(token)
                    assert (principal.tenant, principal.role) == ("acme", "writer")
                    assert principal.id == f"{party.name}:someone"
                    assert principal.scopes == (Scope("photos", "", ("read",)),)
                    assert forging.opinion(token)

    run(story())


FORGERIES = list(forging.forgeries())


def test_there_are_many_ways_to_forge() -> None:
    assert len(FORGERIES) >= 200
    assert len({token for _, token in FORGERIES}) >= 0.95 * len(FORGERIES)


def test_every_forgery_is_refused_and_a_second_library_agrees(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            for what, token in FORGERIES:
                assert await at.refused(token), what
                assert not forging.opinion(token), f"PyJWT would take: {what}"

    run(story())


def test_no_refusal_quotes_the_token(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            for _, token in FORGERIES:
                with pytest.raises(UnauthenticatedError) as refused:
                    await at.authenticate(token)
                for part in token.split("."):
                    assert len(part) < 12 or part not in str(refused.value)

    run(story())


def test_a_token_ends_when_it_says_so_also_when_it_was_verified_just_before(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            token = made(RSA, exp=NOW + 2)
            await at.authenticate(token)
            at.clock.advance(1.9)
            await at.authenticate(token)
            at.clock.advance(0.2)
            assert await at.refused(token)

    run(story())


def test_leeway_is_what_the_settings_allow(url: str) -> None:
    async def story() -> None:
        async with desk(url, issuer_of(RSA, leeway=20.0)) as at:
            await at.authenticate(made(RSA, exp=NOW - 19, iat=...))
            await at.authenticate(made(RSA, nbf=NOW + 19, iat=NOW + 19))
            assert await at.refused(made(RSA, exp=NOW - 21, iat=...))
            assert await at.refused(made(RSA, nbf=NOW + 21))
            assert await at.refused(made(RSA, iat=NOW + 21))

    run(story())


def test_a_role_is_never_higher_than_its_issuer_may_give(url: str) -> None:
    async def story() -> None:
        async with desk(
            url, issuer_of(RSA, role="admin", scope_claim=""), issuer_of(EC, role_claim="")
        ) as at:
            for said, role in (
                ("reader", "reader"),
                ("admin", "admin"),
                (["viewer", "writer", "reader"], "writer"),
                (["operator", "reader"], "reader"),
            ):
                assert (await at.authenticate(made(RSA, role=said))).role == role
            assert await at.refused(made(RSA, role="operator"))
            assert (
                await at.authenticate(made(EC, role="operator"))
            ).role == "writer"  # the claim is not asked

    run(story())


def test_a_tenant_comes_from_the_settings_or_a_claim_and_must_exist(url: str) -> None:
    async def story() -> None:
        anyone, fixed = issuer_of(RSA, tenants=frozenset()), issuer_of(EC, tenant="default", tenant_claim="")
        async with desk(url, anyone, fixed) as at:
            assert (await at.authenticate(made(RSA, team="default"))).tenant == "default"
            assert await at.refused(made(RSA, team="nowhere"))
            assert (await at.authenticate(made(EC, team="acme"))).tenant == "default"

    run(story())


def test_a_revoked_token_is_refused_within_five_seconds(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            token, other = made(ED), made(ED, jti="j2")
            await at.authenticate(token)
            boss = at.engine.session(OPERATOR).admin
            await boss.revoke_token("ed", "j1", tenant="acme")
            at.clock.advance(5.1)
            assert await at.refused(token)
            await at.authenticate(other)
            await boss.revoke_token("ed", "j2", tenant="default")  # of another tenant: not this token
            at.clock.advance(5.1)
            await at.authenticate(other)

    run(story())


def test_a_suspended_tenant_is_refused_within_five_seconds_and_served_again(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            boss = at.engine.session(OPERATOR).admin
            _, key = await boss.create_key("k", "reader", tenant="acme")
            await at.authenticate(made(HS))
            await at.authenticate(key)
            await boss.update_tenant("acme", state=TenantState.SUSPENDED)
            at.clock.advance(5.1)
            for token in (made(HS), key):
                with pytest.raises(PermissionDeniedError):
                    await at.authenticate(token)
            await boss.update_tenant("acme", state=TenantState.ACTIVE)
            at.clock.advance(5.1)
            await at.authenticate(made(HS))
            await at.authenticate(key)

    run(story())


def test_a_token_of_ours_is_what_its_maker_allows_and_ends_with_its_key(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            environment = at.engine.context.environment
            key = await create_key(
                at.engine.catalog,
                environment,
                tenant="acme",
                name="ci",
                role="writer",
                settings=KeySettings((Scope("photos"),)),
            )
            maker = at.engine.session(await at.authenticate(key))
            minted = await maker.admin.create_token(name="job", role="reader", seconds=100)
            principal = await at.authenticate(minted.token)
            assert (principal.id, principal.tenant, principal.role) == (
                minted.id.removeprefix("acme/"),
                "acme",
                "reader",
            )
            assert principal.name == "job"
            assert principal.scopes == (Scope("photos"),)
            second = await at.engine.session(principal).admin.create_token(seconds=9999)
            assert second.expires == minted.expires  # never longer than what it was made with
            assert (await at.authenticate(second.token)).scopes == (Scope("photos"),)
            with pytest.raises(PermissionDeniedError):
                await at.engine.session(principal).admin.create_token(role="writer")
            with pytest.raises(PermissionDeniedError):
                await at.engine.session(principal).admin.create_token(scopes=(Scope("other"),))
            await at.engine.catalog.revoke_key(key.partition(".")[0])
            at.clock.advance(5.1)
            for token in (key, minted.token, second.token):
                assert await at.refused(token)

    run(story())


def test_a_token_given_back_takes_those_made_with_it_along(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            boss = at.engine.session(OPERATOR).admin
            first = await boss.create_token(name="first", role="writer", tenant="acme")
            session = at.engine.session(await at.authenticate(first.token))
            second = await session.admin.create_token(name="second")
            await at.authenticate(second.token)
            await session.admin.give_back()
            at.clock.advance(5.1)
            assert await at.refused(first.token)
            assert await at.refused(second.token)

    run(story())


def test_tokens_of_ours_signed_with_another_secret_are_refused(url: str) -> None:
    async def story() -> None:
        from holdfast.engine.minting import mint
        from holdfast.engine.secrets import RootSecret

        async with desk(url) as at:
            environment = at.engine.context.environment
            forged = mint(
                RootSecret(b"x" * 32),
                environment,
                tenant="acme",
                subject="me",
                role="operator",
                scopes=(),
                seconds=60,
            )
            assert await at.refused(forged.token)
            assert forged.token not in repr(forged)

    run(story())
