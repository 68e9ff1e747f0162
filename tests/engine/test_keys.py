"""API keys: made once, checked in constant shape, revocable."""

from __future__ import annotations

import pytest

from holdfast.core.clock import Environment
from holdfast.core.errors import UnauthenticatedError
from holdfast.engine.keys import Authenticator, create_key
from tests.helpers import engine_on, memory_store, run

pytestmark = pytest.mark.engine


def test_a_key_opens_until_it_is_revoked(catalog_url: str) -> None:
    environment = Environment.seeded(4)

    async def story() -> None:
        async with engine_on(catalog_url, memory_store("m", environment), environment=environment) as (
            engine,
            _,
        ):
            token = await create_key(engine.catalog, environment, tenant="default", name="ci", role="writer")
            key_id, _, secret = token.partition(".")
            assert len(secret) == 64
            stored = await engine.catalog.api_key(key_id)
            assert stored is not None
            assert secret not in repr(stored)
            authenticate = Authenticator(engine.catalog, environment.clock)
            principal = await authenticate(token)
            assert (principal.tenant, principal.role) == ("default", "writer")
            for wrong in (
                "",
                ".",
                key_id,
                f"{key_id}.",
                f"{key_id}.{secret[:-1]}0x",
                f"x{token}",
                "\ud800.a",
                "a" * 9000,
            ):
                with pytest.raises(UnauthenticatedError):
                    await authenticate(wrong)
            await engine.catalog.revoke_key(key_id)
            environment.clock.advance(6)  # type: ignore[attr-defined]
            with pytest.raises(UnauthenticatedError):
                await authenticate(token)

    run(story())
