"""A bucket that takes some types only: what is checked is the head of the whole content, however it came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import BucketSettings
from holdfast.engine.describing import Change
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from tests.helpers import content, engine_on, local_store, run

pytestmark = pytest.mark.engine
PAGE = b"<!DOCTYPE html><script>alert(1)</script>" * 3
LATE = b"\n" * 40_000 + b"<!-- " + b"x" * 20_000 + b" -->" + PAGE
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
CUTS = {"in the mark": (1, 5), "after nothing": (0, 5), "late": (30_000, 50_000)}


@asynccontextmanager
async def pictures(url: str, place: Path) -> AsyncIterator[Session]:
    async with engine_on(url, local_store("local", place / "o", Environment())) as (_, session):
        only = BucketSettings(allowed_types=("image/png", ".csv"))
        await session.create_bucket("pictures", settings=only)
        yield session


async def flow(data: bytes) -> AsyncIterator[bytes]:
    yield data


def pieces_of(whole: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    places = (0, *cuts, len(whole))
    return [whole[start:end] for start, end in pairwise(places)]


async def by_parts(session: Session, key: str, pieces: list[bytes]) -> None:
    upload = await session.create_upload("pictures", key)
    made = []
    for number, piece in enumerate(pieces, 1):
        part = await session.put_part("pictures", key, upload.id, number, Body.of_bytes(piece))
        made.append((number, part.etag))
    await session.complete_upload("pictures", key, upload.id, made)


async def by_appending(session: Session, key: str, pieces: list[bytes]) -> None:
    made = await session.create_resumable("pictures", key, length=sum(map(len, pieces)))
    offset = 0
    for piece in filter(None, pieces):
        await session.append(made.id, offset, flow(piece))
        offset += len(piece)


async def by_concatenation(session: Session, key: str, pieces: list[bytes]) -> None:
    ids = []
    for piece in pieces:
        made = await session.create_resumable("pictures", "part", length=len(piece), partial=True)
        await session.append(made.id, 0, flow(piece))
        ids.append(made.id)
    await session.concatenate("pictures", key, ids)


WAYS = {"parts": by_parts, "appending": by_appending, "concatenation": by_concatenation}


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("way", WAYS)
def test_cutting_a_content_hides_nothing(sqlite_url: str, tmp_path: Path, way: str, cuts: str) -> None:
    async def story() -> None:
        async with pictures(sqlite_url, tmp_path) as session:
            for key, whole in (("a.png", PAGE), ("late.png", LATE), ("late.csv", LATE)):
                with pytest.raises(InvalidRequestError, match="the content is"):
                    await WAYS[way](session, key, pieces_of(whole, CUTS[cuts]))
                with pytest.raises(NotFoundError):
                    await content(session, "pictures", key)
            await WAYS[way](session, "good.png", pieces_of(IMAGE, CUTS[cuts]))
            assert await content(session, "pictures", "good.png") == IMAGE

    run(story())


def test_a_large_first_piece_is_refused_before_the_rest_comes(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with pictures(sqlite_url, tmp_path) as session:
            made = await session.create_resumable("pictures", "a.png", length=1 << 20)
            with pytest.raises(InvalidRequestError, match="text/html"):
                await session.append(made.id, 0, flow(PAGE * 3000))
            assert (await session.upload_state(made.id)).offset == 0

    run(story())


def test_a_copy_and_another_type_are_no_way_around(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with pictures(sqlite_url, tmp_path) as session:
            for key, whole in (("page", PAGE), ("image", IMAGE), ("none", b"")):
                await session.put("plain", key, Body.of_bytes(whole))
            png = ObjectInput("image/png")
            with pytest.raises(InvalidRequestError, match="text/html"):
                await session.copy(("plain", "page"), ("pictures", "a.png"), about=png)
            for key, whole in (("image", IMAGE), ("none", b"")):
                await session.copy(("plain", key), ("pictures", key), about=png)
                assert await content(session, "pictures", key) == whole
            await session.put("pictures", "a.csv", Body.of_bytes(b"a,b\n"))
            with pytest.raises(InvalidRequestError, match="not image/png"):
                await session.update("pictures", "a.csv", Change(content_type="image/png"))
            await session.update("pictures", "a.csv", Change(content_type="text/plain"))

    run(story())
