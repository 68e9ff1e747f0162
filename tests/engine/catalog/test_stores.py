"""Stores in the catalog: made once, changed with a count of changes, retired only when nothing needs them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from holdfast.catalog import SqlCatalog
from holdfast.catalog.contract import Actor
from holdfast.core.backend import StoreState
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.names import Layout
from holdfast.core.records import Connection
from tests.engine.catalog.support import desk_at, run

pytestmark = pytest.mark.engine
BOSS = Actor("boss", "r1", "192.0.2.7")


def connection(name: str, now: int, **more: object) -> Connection:
    return Connection(
        name,
        "local",
        {"path": "/x", "threads": 4},
        b"\x00sealed\xff",
        Layout.READABLE,
        StoreState.DRAINING,
        ("cold", "external"),
        "eu",
        "s3",
        2,
        64,
        fingerprint="f1",
        created=now,
        updated=now,
        **more,  # type: ignore[arg-type]
    )


def test_a_store_is_kept_as_it_was_given(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            made = connection("b", await catalog.now(), active=True, tested="f0", trouble="no", tested_at=5)
            before, none = await catalog.stores()
            assert none == []
            assert await catalog.create_store(made, actor=BOSS) == made
            await catalog.create_store(connection("a", 1), actor=BOSS)
            generation, kept = await catalog.stores()
            assert [one.name for one in kept] == ["a", "b"]
            assert kept[1] == await catalog.store("b") == made
            assert generation == before + 2 == await catalog.generation("stores")
            with pytest.raises(AlreadyExistsError):
                await catalog.create_store(made, actor=BOSS)
            with pytest.raises(NotFoundError):
                await catalog.store("c")
            assert await catalog.generation("stores") == generation

    run(story())


def test_changes_are_counted_and_audited_and_nothing_else_is(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_store(connection("a", 1), actor=BOSS)
            desk.advance(5)
            made = await catalog.update_store(
                "a",
                lambda held: replace(held, state=StoreState.DOWN, name="other"),
                action="store-state",
                detail={"state": "down"},
                actor=BOSS,
            )
            assert (made.name, made.state, made.created) == ("a", StoreState.DOWN, 1)
            assert made.updated > 1
            counted = await catalog.generation("stores")
            assert await catalog.update_store("a", lambda held: held, actor=BOSS) == made
            assert await catalog.generation("stores") == counted

            def refuse(held: Connection) -> Connection:
                raise ConflictError("no")

            with pytest.raises(ConflictError):
                await catalog.update_store("a", refuse, actor=BOSS)
            rows = await catalog.audit("")
            assert [row.action for row in rows] == ["create-store", "store-state"]
            assert dict(rows[1].detail) == {"store": "a", "state": "down"}
            assert (rows[1].principal, rows[1].address) == ("boss", "192.0.2.7")

    run(story())


async def refusal(catalog: SqlCatalog, name: str) -> str:
    with pytest.raises(ConflictError) as caught:
        await catalog.retire_store(name, actor=BOSS)
    return caught.value.message


def test_a_store_is_retired_when_nothing_needs_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_store(connection("one", 1, active=True), actor=BOSS)
            assert "deactivate" in await refusal(catalog, "one")
            await catalog.update_store("one", lambda held: replace(held, active=False), actor=BOSS)
            rule = {"name": "all", "stores": ["two"], "fallback": ["one"]}
            await catalog.change_rules(lambda held: [("all", json.dumps(rule))], expected=None, actor=BOSS)
            assert "rule all" in await refusal(catalog, "one")
            await catalog.change_rules(lambda held: [], expected=None, actor=BOSS)
            version = await desk.put("k")
            assert "holds 1 blob;" in await refusal(catalog, "one")
            await desk.delete("k", version_id=version.id)
            assert "holds 1 blob;" in await refusal(catalog, "one")  # doomed, and not deleted yet
            await catalog.forget([copy.id for copy in await catalog.replicas(store="one")])
            before = await catalog.generation("stores")
            await catalog.retire_store("one", actor=BOSS)
            assert await catalog.generation("stores") == before + 1
            assert (await catalog.stores())[1] == []
            assert (await catalog.audit(""))[-1].action == "retire-store"
            with pytest.raises(NotFoundError):
                await catalog.retire_store("one", actor=BOSS)

    run(story())


def test_the_count_of_what_is_left_is_bounded(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_store(connection("one", 1), actor=BOSS)
            ref = desk.ref("k")
            many = [desk.replica("v", f"s{number}") for number in range(1005)]
            await desk.catalog.begin(ref, many, lease_until=await desk.catalog.now() + 1)
            assert "holds more than 1000 blobs" in await refusal(desk.catalog, "one")

    run(story())
