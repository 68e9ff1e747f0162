"""URLs of the stores themselves: only of external ones, only while they hold the object, and not for longer than asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Capability, SignedUrl, Store, StoreState
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.engine.write import ObjectInput
from tests.helpers import ADMIN, engine_on, run

pytestmark = pytest.mark.engine


class Signing(MemoryBackend):
    """A store that signs URLs, and keeps what it was asked."""

    capabilities = MemoryBackend.capabilities | Capability.PRESIGN
    headers: ClassVar[dict[str, str]] = {}

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        self.asked = (method, expires_in, content_type, content_disposition)
        return SignedUrl(f"https://{self.store}.example.com/{name}", method, 0, self.headers)


def store(name: str, label: str, environment: Environment) -> Store:
    return Store(name, Signing(name, environment=environment), labels=frozenset({label}))


def test_only_the_external_copy_has_a_url(tmp_path: Path) -> None:
    async def story(folder: Path) -> None:
        world = Environment()
        near, far = store("near", "internal", world), store("far", "external", world)
        async with engine_on(f"sqlite:///{folder}/catalog.db", near, far, environment=world) as (
            engine,
            session,
        ):
            await session.put("plain", "a/ü.zip", Body.of_bytes(b"x"), ObjectInput("application/zip"))
            link = await session.link("plain", "a/ü.zip", expires_in=60)
            assert link is not None
            assert link.url.startswith("https://far.example.com/")
            assert far.backend.asked == (  # type: ignore[attr-defined]
                *("GET", 60, "application/zip"),
                "attachment; filename*=UTF-8''%C3%BC.zip",
            )
            leaving = replace(ADMIN, expires=await engine.catalog.now() + 10_000_000)
            await engine.session(leaving).link("plain", "a/ü.zip", expires_in=60)
            assert far.backend.asked[1] <= 10  # type: ignore[attr-defined]

            far.labels = frozenset({"external", "internal"})
            assert await session.link("plain", "a/ü.zip") is None, "labelled both ways, it is internal"
            far.labels, far.state = frozenset({"external"}), StoreState.DOWN
            assert await session.link("plain", "a/ü.zip") is None
            far.state, far.backend.headers = StoreState.ACTIVE, {"x-key": "1"}  # type: ignore[attr-defined]
            assert await session.link("plain", "a/ü.zip") is None, "a reader cannot send headers"

    run(story(tmp_path))


def test_what_has_no_url(tmp_path: Path) -> None:
    async def story(folder: Path) -> None:
        world = Environment()
        far = store("far", "external", world)
        async with engine_on(f"sqlite:///{folder}/catalog.db", far, environment=world, inline=10) as (
            engine,
            session,
        ):
            await session.put("plain", "inline", Body.of_bytes(b"x"))
            assert await session.link("plain", "inline") is None
            await session.put("plain", "large", Body.of_bytes(b"x" * 20))
            assert await session.link("plain", "large") is not None
            for seconds in (0, 7 * 86400 + 1):
                with pytest.raises(InvalidRequestError, match="7 days"):
                    await session.link("plain", "large", expires_in=seconds)
            with pytest.raises(NotFoundError):
                await session.link("plain", "nothing")
            stranger = engine.session(replace(ADMIN, role="unheard-of"))
            with pytest.raises(PermissionDeniedError):
                await stranger.link("plain", "large")

    run(story(tmp_path))
