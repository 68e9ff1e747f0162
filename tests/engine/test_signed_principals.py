"""Signed URLs as the engine makes and reads them, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import InvalidRequestError, PermissionDeniedError
from holdfast.core.types import KeySettings, ObjectRef, Principal, Scope
from holdfast.engine.directory import Directory
from holdfast.engine.engine import Engine
from holdfast.engine.keys import Authenticator, create_key
from holdfast.engine.secrets import RootSecret
from holdfast.engine.signing import Signed, Verifier, Wish, sign
from holdfast.policy.signing import MAX_LIFETIME, Purpose
from tests.helpers import engine_on, memory_store, run

pytestmark = pytest.mark.engine

REF = ObjectRef("default", "plain", "a/b c")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Engine, ManualClock]]:
    world = Environment.seeded(3)
    assert isinstance(world.clock, ManualClock)
    store = memory_store("one", world)
    async with engine_on(f"sqlite:///{folder}/catalog.db", store, environment=world) as (engine, _):
        yield engine, world.clock


async def holder(engine: Engine, role: str = "admin", **more: object) -> Principal:
    context = engine.context
    token = await create_key(
        context.catalog,
        context.environment,
        tenant="default",
        name="x",
        role=role,
        **more,  # type: ignore[arg-type]
    )
    return await Authenticator(context.catalog, context.environment.clock)(token)


async def read(engine: Engine, signed: Signed, method: str = "") -> Principal:
    parts = urlsplit(signed.path)
    directory = Directory(engine.catalog, engine.context.environment.clock)
    verify = Verifier(engine.context, directory)
    return await verify(method or signed.method, unquote(parts.path), dict(parse_qsl(parts.query)))


def test_it_becomes_a_principal_of_one_object_and_few_verbs(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (engine, clock):
            signer = await holder(engine)
            wish = Wish(Purpose.PUT, 60, "text/*", 500, "10.0.0.0/8", True)
            found = await read(engine, await sign(engine.context, signer, REF, wish))
            assert found.scopes == (Scope("plain", verbs=("put",), key="a/b c"),)
            assert found.id == f"url:key:{signer.id}"
            assert found.grant is not None
            assert (found.grant.max_size, found.grant.content_type) == (500, "text/*")
            assert found.grant.once
            assert found.expires == found.grant.expires == (clock.now() // 1_000_000 + 60) * 1_000_000
            assert found.ip[-1].allow == ("10.0.0.0/8",)
            session = engine.session(found)
            for forbidden in (
                session.list("plain"),
                session.head("plain", "a/b c"),
                session.delete("plain", "a/b c"),
                session.presign("plain", "a/b c", Wish()),
                session.usage("plain"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await forbidden

    run(story())


def test_the_last_second_counts_and_the_next_does_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (engine, clock):
            signer = await holder(engine)
            signed = await sign(engine.context, signer, REF, Wish(expires_in=60))
            clock.advance((signed.expires - clock.now() - 1000) / 1_000_000)
            await read(engine, signed)
            clock.advance(0.001)
            with pytest.raises(PermissionDeniedError, match="expired"):
                await read(engine, signed)
            for seconds in (0, -1, MAX_LIFETIME + 1):
                with pytest.raises(InvalidRequestError):
                    await sign(engine.context, signer, REF, Wish(expires_in=seconds))
            await read(engine, await sign(engine.context, signer, REF, Wish(expires_in=MAX_LIFETIME)))

    run(story())


def test_it_does_not_outlive_the_token_that_signed(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (engine, clock):
            token = "default/elsewhere:17"
            ends = clock.now() + 30_000_000
            signer = Principal("someone", "default", "writer", expires=ends, credentials=(token,))
            signed = await sign(engine.context, signer, REF, Wish(expires_in=3600))
            assert signed.expires <= ends
            await read(engine, signed)
            await engine.catalog.revoke_token(token, tenant="default", expires=ends)
            with pytest.raises(PermissionDeniedError, match="revoked"):
                await read(engine, signed)

    run(story())


def test_a_key_that_expires_or_loses_its_rights_ends_its_urls(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (engine, clock):
            signer = await holder(engine, expires=clock.now() + 100_000_000)
            signed = await sign(engine.context, signer, REF, Wish(expires_in=3600))
            assert signed.expires <= clock.now() + 100_000_000
            clock.advance(101)
            with pytest.raises(PermissionDeniedError):
                await read(engine, signed)
            narrow = await holder(engine, settings=KeySettings(scopes=(Scope("kept"),)))
            forged = Principal("x", "default", "admin", credentials=narrow.credentials)
            with pytest.raises(PermissionDeniedError, match="no longer"):
                await read(engine, await sign(engine.context, forged, REF, Wish()))
            reader = await holder(engine, "reader")
            forged = Principal("x", "default", "admin", credentials=reader.credentials)
            with pytest.raises(PermissionDeniedError, match="no longer"):
                await read(engine, await sign(engine.context, forged, REF, Wish(Purpose.PUT)))

    run(story())


def test_each_tenant_generation_and_service_signs_with_a_key_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as (engine, _):
            signer = await holder(engine)
            signed = await sign(engine.context, signer, REF, Wish())
            for name, value in (("hf_gen=1", "hf_gen=2"), ("hf_tenant=default", "hf_tenant=other")):
                assert name in signed.path
                with pytest.raises(PermissionDeniedError, match="changed"):
                    await read(engine, Signed(signed.path.replace(name, value), "GET", signed.expires))
            held = engine.context.secret
            object.__setattr__(engine.context, "secret", RootSecret.fresh(engine.context.environment))
            with pytest.raises(PermissionDeniedError, match="changed"):
                await read(engine, signed)
            object.__setattr__(engine.context, "secret", held)
            await read(engine, signed)

    run(story())


@pytest.mark.parametrize("purpose", list(Purpose))
def test_it_is_for_its_own_requests_only(tmp_path: Path, purpose: Purpose) -> None:
    allowed = {
        Purpose.GET: {"GET", "HEAD"},
        Purpose.PUT: {"PUT"},
        Purpose.UPLOAD: {"POST", "OPTIONS"},
    }[purpose]

    async def story() -> None:
        async with opened(tmp_path) as (engine, _):
            signed = await sign(engine.context, await holder(engine), REF, Wish(purpose))
            for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"):
                if method in allowed:
                    await read(engine, signed, method)
                    continue
                with pytest.raises(PermissionDeniedError, match="is for"):
                    await read(engine, signed, method)

    run(story())
