"""Stores that something happened to: sealed records damaged, blobs left elsewhere, drivers that fail in their own way."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core.errors import ConfigError, NotFoundError
from tests.engine.boxes import PASSWORD, Place, place
from tests.engine.test_connections import KEY_1, KEY_2, SETTINGS, put, send, serving
from tests.helpers import content, run

pytestmark = pytest.mark.engine
NAMES = ("a", "b", "c", "d")


async def damage(at: Place, name: str, sealed: bytes) -> None:
    """Put something else where the sealed secrets of a store are."""
    await at.engines[0].catalog.update_store(name, lambda held: replace(held, sealed=sealed))
    await at.engines[0].stores.refresh(at_once=True)


def test_damaged_records_are_told_one_by_one_and_the_others_are_sealed_anew(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url, seal_keys=KEY_1) as at:
            for name in NAMES:
                await at.desk().create(name, "box", SETTINGS)
            _, kept = await at.engines[0].catalog.stores()
            sealed = {one.name: one.sealed for one in kept}
            await damage(at, "a", b"nothing of the kind")
            await damage(at, "b", sealed["b"][:40])
            await damage(at, "c", sealed["c"][:-1] + bytes((sealed["c"][-1] ^ 1,)))
        async with place(sqlite_url, seal_keys=f"{KEY_2},{KEY_1}") as at:
            done = {one.store: one for one in await at.desk().rewrap()}
            assert [name for name in NAMES if done[name].trouble] == ["a", "b", "c"]
            assert (done["c"].key_id, done["d"].key_id, done["d"].changed) == ("k1", "k2", True)
        async with place(sqlite_url, seal_keys=KEY_1) as at:  # nothing to wrap, and still not sound
            done = {one.store: one for one in await at.desk().rewrap()}
            assert [name for name in NAMES if done[name].trouble] == ["a", "b", "c", "d"]

    run(story())


def test_a_store_that_is_retired_meanwhile_stops_no_rewrapping(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url, seal_keys=KEY_1) as at:
            for name in ("a", "b"):
                await at.desk().create(name, "box", SETTINGS)
        async with place(sqlite_url, seal_keys=f"{KEY_2},{KEY_1}") as at:
            catalog: Any = at.engines[0].catalog
            update = catalog.update_store

            async def gone(name: str, *args: Any, **how: Any) -> Any:
                if name == "a":
                    raise NotFoundError("there is no such store")
                return await update(name, *args, **how)

            catalog.update_store = gone
            lost, done = await at.desk().rewrap()
            assert (lost.trouble, done.changed) == ("there is no such store", True)

    run(story())


@pytest.mark.parametrize("kept", [0, 3, 20, 40, -1])
def test_what_is_damaged_is_mended_by_secrets_set_anew(sqlite_url: str, kept: int) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await serving(at)
            _, (held,) = await at.engines[0].catalog.stores()
            await damage(at, "far", held.sealed[:kept] or b"nothing of the kind")
            with pytest.raises(ConfigError, match="still to be given: password"):
                await at.desk().update("far", settings={"note": "m"})
            await at.desk().update("far", settings={"password": PASSWORD})
            assert (await at.desk().store("far")).settings == {**SETTINGS, "password": "***"}
            assert (await at.desk().test("far"))[0].connection.serves

    run(story())


def test_a_test_misses_the_blobs_that_should_be_there(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            await serving(at)
            send(at.engines[0], "far")
            await put(at, "k")
            await at.desk().update("far", settings={"box": "blue"})
            for _ in ("live", "suspect"):
                known, trial = await at.desk().test("far")
                assert "are not there: its settings name another place" in trial.trouble
                assert (trial.wrote, known.refusal) == (False, "failed its last test")
                for replica in await at.engines[0].catalog.replicas(store="far"):
                    await at.engines[0].catalog.suspect(replica.id)
            await at.desk().update("far", settings={"box": "red"})
            assert (await at.desk().test("far"))[0].connection.serves
            at.boxes.inside["blue"] = at.boxes.inside["red"]  # as if moved there
            await at.desk().update("far", settings={"box": "blue"})
            assert (await at.desk().test("far"))[0].connection.serves
            assert await content(at.session(), "plain", "k") == b"k"

    run(story())


def test_a_driver_that_fails_in_its_own_way_fails_the_test(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await at.desk().create("far", "box", SETTINGS)

            def broken(connection: Any, values: Any) -> Any:
                raise ValueError(f"odd {values['password']}")

            at.boxes.open = broken  # type: ignore[method-assign]
            known, trial = await at.desk().test("far")
            assert "failed unexpectedly (ValueError)" in trial.trouble
            assert known.connection.trouble == trial.trouble
            assert (await at.desk().try_out("box", SETTINGS)).trouble == trial.trouble

    with caplog.at_level(logging.ERROR, "holdfast"):
        run(story())
    assert "in broken" in caplog.text
    assert PASSWORD not in caplog.text
