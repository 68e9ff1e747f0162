"""Folders and hierarchies: made once, seen while they are empty, in every store that has such."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError, UnavailableError
from holdfast.core.names import Layout
from holdfast.core.types import BucketSettings, Principal
from holdfast.engine import folders
from holdfast.engine.engine import Engine
from holdfast.engine.provisioning import CONTENT_TYPES, SUBFOLDERS
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from tests.helpers import engine_on, local_store, memory_store, run

pytestmark = pytest.mark.engine


@asynccontextmanager
async def two_stores(url: str, root: Path) -> AsyncIterator[tuple[Engine, Session]]:
    """An engine over a local store that shows keys, and one that has no folders."""
    environment = Environment.seeded(3)
    local = replace(local_store("local", root, environment), layout=Layout.READABLE)
    async with engine_on(
        url, local, memory_store("far", environment), environment=environment, inline=1024
    ) as pair:
        yield pair


def test_a_folder_is_there_before_anything_is_in_it(
    catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        async with engine_on(catalog_url, memory_store("m", world), environment=world) as (_, session):
            assert not await session.directory_exists("plain", "a/b")
            assert await session.create_directory("plain", "a/b")
            assert not await session.create_directory("plain", "/a/b/")
            assert await session.directory_exists("plain", "a/b")
            assert await session.directory_exists("plain", "a")
            await session.put("plain", "a/c/file.txt", Body.of_bytes(b"x"))
            await session.put("plain", "a/plain.txt", Body.of_bytes(b"x"))
            assert await session.list_directories("plain") == ["a"]
            assert await session.list_directories("plain", "a") == ["b", "c"]
            assert await session.list_directories("plain", "a/b") == []
            assert (await session.list("plain", delimiter="/")).prefixes == ["a/"]
            assert (await session.usage("plain")).objects == 3
            assert await session.delete_directory("plain", "a/b")
            assert not await session.delete_directory("plain", "a/b")
            assert not await session.delete_directory(
                "plain", "a/c"
            )  # something is in it, and it has no mark
            assert await session.directory_exists("plain", "a/c")
            assert await session.list_directories("plain", "a") == ["c"]
            for wrong in ("a//b", "", "/", "a/../b"):
                with pytest.raises(InvalidRequestError):
                    await session.create_directory("plain", wrong)
            with pytest.raises(NotFoundError):
                await session.create_directory("nowhere", "a")
            monkeypatch.setattr(folders, "_PAGE", 3)
            names = [f"d{number:04}" for number in range(8)]
            for name in names:
                await session.put("kept", f"{name}/x", Body.of_bytes(b""))
            assert await session.list_directories("kept") == names

    run(story())


def test_a_bucket_for_images_takes_folders_and_nothing_else_by_that_name(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        async with engine_on(sqlite_url, memory_store("m", world), environment=world) as (_, session):
            await session.create_bucket("images", settings=BucketSettings(allowed_types=("image/*",)))
            assert await session.create_directory("images", "holiday")
            folder = ObjectInput("application/x-directory")
            for key, data in (("holiday/", b"#!/bin/sh"), ("holiday", b"")):
                with pytest.raises(InvalidRequestError):
                    await session.put("images", key, Body.of_bytes(data), folder)

    run(story())


def test_a_hierarchy_is_made_in_every_store_that_has_folders_and_only_once(
    catalog_url: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with two_stores(catalog_url, tmp_path / "store") as (engine, session):
            made = await session.provision(categories=["summer", "winter"])
            assert made.buckets_made == list(CONTENT_TYPES)
            assert len(made.folders_made) == 4 * 2 * 4
            assert "portraits/summer/QR" in made.folders_made
            assert made.folders_there == 0
            local, far = made.stores["local"], made.stores["far"]
            assert (local.offered, local.made, local.there) == (True, 32, 0)
            assert (far.offered, far.made, far.trouble) == (False, 0, "")
            assert made.whole
            folder = tmp_path / "store" / "default" / "videos" / "winter" / "nft_cache"
            assert folder.is_dir()
            assert await session.list_directories("videos", "winter") == sorted(SUBFOLDERS)
            again = await session.provision()  # what it was made of is known
            assert (again.buckets_made, again.folders_made, again.folders_there) == ([], [], 32)
            assert (again.stores["local"].made, again.stores["local"].there) == (0, 32)
            folder.rmdir()
            await session.delete_directory("videos", "winter/QR")
            mended = await session.provision()
            assert mended.folders_made == ["videos/winter/QR"]
            assert folder.is_dir()
            more = await session.provision(["notes"], ["2024"], [])
            assert more.folders_made == ["notes/2024"]
            settings = (await engine.catalog.tenant("default")).settings
            assert (settings.categories, settings.subfolders) == (("summer", "winter", "2024"), ())
            for wrong in ({"categories": ["a/b"]}, {"content_types": ["NO"]}, {"categories": [".."]}):
                with pytest.raises(InvalidRequestError):
                    await session.provision(**wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequestError):
                await session.provision(
                    categories=[str(number) for number in range(1000)], subfolders=["a", "b", "c"]
                )

    run(story())


def test_a_store_that_fails_is_told_of_and_keeps_nothing_else_from_being_made(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(name: str) -> bool:
        raise UnavailableError("the disk is gone")

    async def story() -> None:
        async with two_stores(sqlite_url, tmp_path / "store") as (engine, session):
            monkeypatch.setattr(engine.stores["local"].backend, "make_folder", fails)
            made = await session.provision(categories=["one"])
            assert not made.whole
            assert made.stores["local"].trouble == "the disk is gone"
            assert len(made.folders_made) == 16

    run(story())


def test_who_may_provision_whom(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with two_stores(sqlite_url, tmp_path / "store") as (engine, _):
            await engine.catalog.create_tenant("acme")

            def of(role: str, tenant: str) -> Session:
                return engine.session(Principal("p", tenant, role))

            with pytest.raises(PermissionDeniedError):
                await of("writer", "acme").provision(categories=["a"])
            with pytest.raises(PermissionDeniedError):
                await of("admin", "acme").admin.provision(categories=["a"], tenant="default")
            made = await of("admin", "acme").admin.provision(["notes"], ["a"])
            assert made.tenant == "acme"
            made = await of("operator", "default").admin.provision(["notes"], ["b"], tenant="acme")
            assert made.folders_there == 0
            assert (tmp_path / "store" / "acme" / "notes" / "b" / "Image").is_dir()
            assert [bucket.name for bucket, _ in await engine.catalog.buckets("default")] == ["kept", "plain"]

    run(story())
