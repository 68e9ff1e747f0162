"""What credentials made with others inherit: who they are, their pace, and their end."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from holdfast.core.errors import InvalidRequestError, PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import BucketSettings, IpRules, KeySettings, ObjectRef, Principal, Rate
from holdfast.engine.administration import Administration
from holdfast.engine.directory import Directory
from holdfast.engine.signing import ForgedError, Verifier, Wish, sign
from tests.engine.forging import RSA, made
from tests.engine.test_tokens import OPERATOR, Desk, desk
from tests.helpers import run

pytestmark = pytest.mark.engine


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


async def over_http(at: Desk, token: str) -> Administration:
    """Return what the holder of a token may look after when it asks from an address."""
    return at.engine.session(await at.authenticate(token), address="192.0.2.1").admin


async def key_of(at: Desk, role: str = "admin", rate: Rate | None = None) -> tuple[str, str]:
    settings = KeySettings(rate=rate or Rate())
    key, token = await at.engine.session(OPERATOR).admin.create_key("k", role, settings=settings)
    return key.id, token


def test_the_name_of_a_token_says_nothing_of_who_it_is(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            boss = at.engine.session(OPERATOR).admin
            victim = await at.authenticate((await boss.create_token(name="job")).token)
            _, reader = await key_of(at, "reader")
            forged = await (await over_http(at, reader)).create_token(name="job")
            forger = await at.authenticate(forged.token)
            assert (forger.name, victim.name) == ("job", "job")
            assert forger.id != victim.id
            assert forger.id == forged.id.removeprefix("default/")
            assert (await at.authenticate(forged.token)).id == forger.id  # the same token stays the same

    run(story())


def test_tokens_and_urls_share_the_rate_of_what_they_came_from(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            key_id, key = await key_of(at, "writer", Rate(5.0))
            first = await (await over_http(at, key)).create_token()
            second = await (await over_http(at, first.token)).create_token()
            directory = Directory(at.engine.catalog, at.clock)
            for token in (first.token, second.token):
                principal = await at.authenticate(token)
                assert (principal.root, principal.rate) == (key_id, Rate(5.0))
            for token in (key, first.token, second.token, made(RSA, jti=...), made(RSA)):
                principal = await at.authenticate(token)
                signed = await sign(
                    at.engine.context, principal, ObjectRef(principal.tenant, "photos", "k"), Wish()
                )
                parts = urlsplit(signed.path)
                verify = Verifier(at.engine.context, directory)
                bearer = await verify("GET", unquote(parts.path), dict(parse_qsl(parts.query)))
                assert bearer.root == (principal.root or principal.id)
                assert bearer.credentials == principal.credentials
            outside = await over_http(at, made(RSA, jti=...))
            minted = await outside.create_token()
            assert (await at.authenticate(minted.token)).root == "rsa:someone"

    run(story())


def test_a_key_is_never_faster_than_the_one_that_made_it(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            _, token = await key_of(at, "admin", Rate(5.0, bytes_in=100))
            admin = await over_http(at, token)
            for asked, given in (
                (Rate(), Rate(5.0, 100)),
                (Rate(50.0, 1000, 7), Rate(5.0, 100, 7)),
                (Rate(2.0, 10), Rate(2.0, 10)),
            ):
                key, _ = await admin.create_key("x", "reader", settings=KeySettings(rate=asked))
                assert key.settings.rate == given

    run(story())


def test_keys_end_with_the_key_that_made_them_and_those_made_here_do_not(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            root, token = await key_of(at)
            child, child_token = await (await over_http(at, token)).create_key("child", "admin")
            grown, grown_token = await (await over_http(at, child_token)).create_key("grown", "reader")
            minted = await (await over_http(at, grown_token)).create_token()
            _, other = await key_of(at)
            assert grown.settings.by == (f"key:{child.id}", f"key:{root}")
            boss = at.engine.session(OPERATOR).admin
            await boss.revoke_key(root)
            at.clock.advance(5.1)
            for ended in (token, child_token, grown_token, minted.token):
                assert await at.refused(ended)
            assert not await at.refused(other)
            assert {key.id for key in await boss.keys() if key.revoked} == {root, child.id, grown.id}

    run(story())


def test_a_signed_url_ends_with_what_made_its_key(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            root, token = await key_of(at)
            _, child = await (await over_http(at, token)).create_key("child", "writer")
            signed = await sign(
                at.engine.context, await at.authenticate(child), ObjectRef("default", "photos", "k"), Wish()
            )
            parts = urlsplit(signed.path)
            verify = Verifier(at.engine.context, Directory(at.engine.catalog, at.clock))
            query = dict(parse_qsl(parts.query))
            await verify("GET", unquote(parts.path), query)
            with pytest.raises(ForgedError):
                await verify("GET", unquote(parts.path) + "x", query)
            await at.engine.session(OPERATOR).admin.revoke_key(root)
            at.clock.advance(5.1)
            with pytest.raises(PermissionDeniedError, match="revoked"):
                await verify("GET", unquote(parts.path), query)

    run(story())


def test_a_key_ends_with_the_token_that_made_it(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            boss = at.engine.session(OPERATOR).admin
            minted = await boss.create_token(role="admin")
            _, child = await (await over_http(at, minted.token)).create_key("child", "reader")
            await at.authenticate(child)
            await (await over_http(at, minted.token)).give_back()
            at.clock.advance(5.1)
            with pytest.raises(UnauthenticatedError):
                await at.authenticate(child)
            assert all(key.revoked for key in await boss.keys())

    run(story())


def test_a_chain_of_keys_has_an_end(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            _, token = await key_of(at)
            for _ in range(8):
                _, token = await (await over_http(at, token)).create_key("next", "admin")
            with pytest.raises(InvalidRequestError, match="too many"):
                await (await over_http(at, token)).create_key("next", "admin")

    run(story())


@pytest.mark.parametrize("role", ["operator", "admin", "writer", "reader"])
def test_an_admin_cannot_end_the_token_of_an_operator(url: str, role: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            minted = await at.engine.session(OPERATOR).admin.create_token(role=role)
            jti = minted.id.partition(":")[2]
            admin = at.engine.session(Principal("a", "default", "admin")).admin
            if role == "operator":
                names = (jti, jti.partition("-")[2])  # without its role it names no token
                for name in names:
                    with pytest.raises(PermissionDeniedError):
                        await admin.revoke_token("holdfast", name)
                await admin.revoke_token("holdfast", "reader-" + jti.partition("-")[2])
                at.clock.advance(5.1)
                await at.authenticate(minted.token)
            else:
                await admin.revoke_token("holdfast", jti)
                assert await at.refused(minted.token)

    run(story())


def test_buckets_that_refuse_an_address_are_not_listed_to_it(url: str) -> None:
    async def story() -> None:
        async with desk(url) as at:
            here = at.engine.session(OPERATOR)
            await here.create_bucket("open-one")
            await here.create_bucket("inner", settings=BucketSettings(ip=IpRules(("10.0.0.0/8",))))
            seen = {
                address: {
                    bucket.name for bucket, _ in await at.engine.session(OPERATOR, address=address).buckets()
                }
                for address in ("", "10.0.0.1", "192.0.2.1")
            }
            assert "inner" in seen[""]
            assert seen["10.0.0.1"] == seen[""]
            assert seen["192.0.2.1"] == seen[""] - {"inner"}

    run(story())
