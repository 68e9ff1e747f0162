"""What a signed URL bounds holds for each way to store by it: in one piece, in parts, and put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, PermissionDeniedError, TooLargeError
from holdfast.core.types import Grant, Principal, Scope
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from tests.helpers import engine_on, local_store, run

pytestmark = pytest.mark.engine

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
PAGE = b"<!DOCTYPE html><script>"
VERBS = ("put", "upload")


async def flow(data: bytes) -> AsyncIterator[bytes]:
    yield data


def bearer(engine: Engine, **bounds: object) -> Session:
    grant = Grant(expires=1 << 60, **bounds)  # type: ignore[arg-type]
    scopes = (Scope("plain", verbs=VERBS, key="k"),)
    return engine.session(Principal("url", "default", "writer", scopes=scopes, grant=grant))


async def partial(session: Session, data: bytes, kind: str | None = None) -> str:
    made = await session.create_resumable("plain", "k", ObjectInput(kind), length=len(data), partial=True)
    await session.append(made.id, 0, flow(data))
    return made.id


def test_what_is_put_together_holds_to_type_and_size(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            own,
        ):
            typed, small = bearer(engine, content_type="image/png"), bearer(engine, max_size=10)
            parts = [await partial(typed, PNG[:4]), await partial(typed, PNG[4:])]
            for session in (typed, bearer(engine), bearer(engine, content_type="text/*")):
                with pytest.raises(PermissionDeniedError, match="type"):
                    await session.concatenate("plain", "k", parts, ObjectInput("text/html"))
            made = await typed.concatenate("plain", "k", parts)
            assert made.version is not None
            assert made.version.content_type == "image/png"
            page = [await partial(typed, PAGE[:5]), await partial(typed, PAGE[5:])]
            for session in (typed, own):
                with pytest.raises(PermissionDeniedError, match="text/html"):
                    await session.concatenate("plain", "k", page, ObjectInput("image/png"))
            free = [await partial(own, b"123456"), await partial(own, b"789012")]
            with pytest.raises(TooLargeError):
                await small.concatenate("plain", "k", free)
            with pytest.raises(PermissionDeniedError, match="once"):
                await bearer(engine, once="n").concatenate("plain", "k", free)
            await own.concatenate("plain", "k", free)

    run(story())


@pytest.mark.parametrize("pattern", ["image/png", "image/*"])
def test_the_content_is_of_the_type_that_was_signed(pattern: str, sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (engine, _):
            session = bearer(engine, content_type=pattern)
            about = ObjectInput("image/png")
            for body in (Body.of_bytes(PAGE), Body.of_stream(flow(PAGE)), Body.of_stream(flow(PAGE * 9999))):
                with pytest.raises(PermissionDeniedError, match="text/html"):
                    await session.put("plain", "k", body, about)
            for data in (PNG, PNG * 9999):
                put = await session.put("plain", "k", Body.of_stream(flow(data)), about)
                assert (put.content_type, put.size) == ("image/png", len(data))
            upload = await session.create_upload("plain", "k", about)
            part = await session.put_part("plain", "k", upload.id, 1, Body.of_bytes(PAGE))
            with pytest.raises(PermissionDeniedError, match="text/html"):
                await session.complete_upload("plain", "k", upload.id, [(1, part.etag)])
            whole = await session.create_resumable("plain", "k", about, length=len(PAGE))
            with pytest.raises(HoldfastError, match="text/html"):
                await session.append(whole.id, 0, flow(PAGE))

    run(story())
