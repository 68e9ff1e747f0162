"""Stores as operators look after them: tested before they serve, masked everywhere, followed by every process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog.contract import Actor
from holdfast.core.backend import Capability, StoreState
from holdfast.core.body import Body
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.names import Layout
from holdfast.core.types import Principal
from holdfast.engine.connections import Connections
from holdfast.engine.engine import Engine
from holdfast.engine.permits import Permit
from holdfast.policy.placement import Placement
from tests.engine.boxes import PASSWORD, Place, place
from tests.engine.test_permission import Forbidden, call, strangers, verbs_of
from tests.helpers import content, run

pytestmark = pytest.mark.engine
SETTINGS = {"box": "red", "password": PASSWORD, "note": "n"}
KEY_1, KEY_2 = "k1:" + "11" * 32, "k2:" + "22" * 32


async def serving(at: Place, name: str = "far", **more: Any) -> None:
    """A store that was made, tested and activated."""
    await at.desk().create(name, "box", {**SETTINGS, **more}, labels=["cold", "internal"], region="eu")
    known, trial = await at.desk().test(name)
    assert trial.well, trial.trouble
    assert not known.connection.serves
    assert (await at.desk().activate(name)).connection.serves


def send(engine: Engine, *stores: str) -> None:
    """Place all objects of an engine on these stores, a copy on each before the writer is answered."""
    placing = engine.context.placing
    placing.own = Placement.everything(stores, len(stores))
    placing._current = placing.own


async def put(at: Place, key: str, number: int = 0) -> None:
    await at.session(number).put("plain", key, Body.of_bytes(key.encode()))


def test_it_serves_when_it_is_tested_and_active_and_a_change_asks_for_another_test(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk, stores = at.desk(), at.engines[0].stores
            made = await desk.create("far", "box", SETTINGS, active=True)
            assert made.refusal == "has not been tested since it was changed"
            assert (list(stores), "far" in stores) == (["home", "catalog"], True)
            assert stores["far"].refusal == made.refusal
            known, trial = await desk.test("far")
            assert (trial.trouble, trial.wrote, known.refusal) == ("", True, "")
            assert known.connection.tested_at is not None
            assert "far" in list(stores)
            assert [blob async for blob in at.boxes.inside["red"].list()] == []
            for change in (
                {"settings": {"note": "other"}},
                {"settings": {"password": "x" + PASSWORD}},
                {"settings": {"note": None}},
            ):
                changed = await desk.update("far", **change)  # type: ignore[arg-type]
                assert not changed.connection.serves
                assert stores["far"].state is StoreState.DRAINING
                at.boxes.password = "x" + PASSWORD if "password" in str(change) else at.boxes.password
                assert (await desk.test("far"))[0].connection.serves
            for free in (
                {"labels": ["hot"]},
                {"region": "us"},
                {"price": "p"},
                {"attempts": 5},
                {"max_in_flight": 9},
                {"max_in_flight": None},
                {"layout": Layout.READABLE},
                {"settings": {}},
            ):
                assert (await desk.update("far", **free)).connection.serves, free  # type: ignore[arg-type]
            far = stores["far"]
            assert (far.labels, far.region, far.price) == ({"hot"}, "us", "p")

    run(story())


def test_a_failed_test_is_kept_and_shows_no_secret(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = at.desk()
            await desk.create("far", "box", {**SETTINGS, "password": "not-the-password"}, active=True)
            known, trial = await desk.test("far")
            assert (trial.well, trial.trouble) == (False, "*** opens nothing")
            assert known.connection.trouble == trial.trouble
            assert known.refusal == "failed its last test"
            await desk.update("far", settings={"password": PASSWORD})
            at.boxes.shut.add("red")
            _, trial = await desk.test("far")
            assert trial.trouble.startswith("a blob cannot be written")
            known = await desk.set_state("far", StoreState.READ_ONLY)
            known, trial = await desk.test("far")
            assert (trial.trouble, trial.wrote, known.connection.serves) == ("", False, True)
            assert not (await desk.set_state("far", StoreState.ACTIVE)).connection.serves
            assert (await desk.try_out("box", SETTINGS)).trouble.startswith("a blob cannot be written")
            at.boxes.broken.add("red")
            assert (await desk.try_out("box", SETTINGS)).trouble == "no answer"
            assert [one.name for one in await desk.all()] == ["home", "far"]

    run(story())


def test_a_test_of_what_was_changed_meanwhile_counts_for_nothing(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            desk = at.desk()
            await desk.create("far", "box", SETTINGS, active=True)
            opened = at.boxes.open

            def meddling(connection: Any, values: Any) -> Any:
                found = opened(connection, values)
                inner = found.backend.put

                async def slow(*args: Any, **how: Any) -> Any:
                    await at.desk().update("far", settings={"note": "changed"})
                    return await inner(*args, **how)

                found.backend.put = slow  # type: ignore[method-assign]
                return found

            at.boxes.open = meddling  # type: ignore[method-assign]
            with pytest.raises(ConflictError, match="changed while it was tested"):
                await desk.test("far")
            assert not (await desk.store("far")).connection.serves

    run(story())


def test_the_catalog_is_no_store_to_change(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            desk = at.desk()
            for change in (
                lambda: desk.set_state("catalog", StoreState.READ_ONLY),
                lambda: desk.retire("catalog"),
            ):
                with pytest.raises(ConflictError, match=r"the catalog itself.* cannot be changed or removed"):
                    await change()

    run(story())


def test_no_secret_is_shown_anywhere(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, seal_keys=KEY_1) as at:
            desk, catalog = at.desk(), at.engines[0].catalog
            await serving(at)
            await desk.update("far", settings={"password": PASSWORD, "note": "m"})
            (_, known) = await desk.all()
            assert known.settings == {"box": "red", "note": "m", "password": "***"}
            assert (known.secrets, known.key_id) == (("password",), "k1")
            _, (kept,) = await catalog.stores()
            audit = await catalog.audit("")
            assert {"create-store", "test-store", "activate-store", "update-store"} == {
                row.action for row in audit
            }
            stores = at.engines[0].stores
            for told in (known, kept, audit, stores["far"], stores.sealer, desk.options(), kept.sealed):
                assert PASSWORD not in repr(told)
                assert "11" * 32 not in repr(told)
            assert PASSWORD.encode() not in kept.sealed
            for wrong in ({"password": "***"}, {"password": PASSWORD, "passwort": PASSWORD}):
                with pytest.raises(InvalidRequestError) as caught:
                    await desk.update("far", settings=wrong)
                assert PASSWORD not in str(caught.value)

    run(story())


def test_what_cannot_be_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            desk = at.desk()
            await desk.create("far", "box", SETTINGS)
            cases: list[tuple[type[HoldfastError], Callable[[], Any]]] = [
                (AlreadyExistsError, lambda: desk.create("far", "box", SETTINGS)),
                (AlreadyExistsError, lambda: desk.create("home", "box", SETTINGS)),
                (InvalidRequestError, lambda: desk.create("catalog", "box", SETTINGS)),
                (InvalidRequestError, lambda: desk.create("../x", "box", SETTINGS)),
                (InvalidRequestError, lambda: desk.create("x", "crate", SETTINGS)),
                (InvalidRequestError, lambda: desk.create("x", "box", {"box": "red"})),
                (InvalidRequestError, lambda: desk.create("x", "box", {**SETTINGS, "note": object()})),
                (InvalidRequestError, lambda: desk.create("x", "box", SETTINGS, labels=["hot", "archive"])),
                (
                    InvalidRequestError,
                    lambda: desk.create("x", "box", SETTINGS, labels=["internal", "external"]),
                ),
                (InvalidRequestError, lambda: desk.create("x", "box", SETTINGS, attempts=0)),
                (InvalidRequestError, lambda: desk.create("x", "box", SETTINGS, max_in_flight=1)),
                (InvalidRequestError, lambda: desk.create("x", "box", SETTINGS, region="a\nb")),
                (InvalidRequestError, lambda: desk.update("far", labels=["cold", "hot"])),
                (InvalidRequestError, lambda: desk.update("far", settings={"password": None})),
                (NotFoundError, lambda: desk.update("near", labels=[])),
                (NotFoundError, lambda: desk.store("near")),
                (NotFoundError, lambda: desk.test("near")),
                (NotFoundError, lambda: desk.retire("near")),
                (ConflictError, lambda: desk.update("home", labels=[])),
                (ConflictError, lambda: desk.set_state("home", StoreState.DOWN)),
                (ConflictError, lambda: desk.activate("home")),
                (ConflictError, lambda: desk.retire("home")),
            ]
            for kind, wrong in cases:
                with pytest.raises(kind):
                    await wrong()
            assert (await desk.test("home"))[1].well

    run(story())


@pytest.mark.parametrize("name", sorted(verbs_of(Connections)))
def test_no_verb_on_stores_works_for_a_stranger(name: str) -> None:
    nothing: Any = Forbidden()
    admin = Principal("a", "default", "admin")
    for principal in (*strangers(), admin):
        desk = object.__new__(Connections)
        desk._context = desk._catalog = nothing
        desk._permit, desk._actor = Permit(nothing, principal, "192.0.2.1"), Actor(principal.id)
        with pytest.raises((PermissionDeniedError, HoldfastError)) as caught:
            run(call(desk, name, verbs_of(Connections)[name]))
        assert caught.value.code in ("permission_denied", "unauthenticated")


def test_every_process_follows(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, engines=2) as at:
            await serving(at)
            mine, theirs = at.engines[0].stores, at.engines[1].stores
            assert "far" in list(mine)
            assert "far" not in list(theirs)
            await theirs.refresh()
            assert "far" not in theirs  # it looked a moment ago
            at.clock.advance(2.5)
            await theirs.refresh()
            assert list(theirs) == ["home", "catalog", "far"]
            seen = theirs["far"]
            await at.desk(0).set_state("far", StoreState.DOWN)
            assert mine["far"].state is StoreState.DOWN
            opened = len(at.boxes.doors)
            at.clock.advance(2.5)
            await theirs.refresh()
            assert theirs["far"] is seen
            assert seen.state is StoreState.DOWN
            assert len(at.boxes.doors) == opened
            await at.desk(1).update("far", settings={"box": "blue"})
            await theirs.refresh()
            assert theirs["far"] is not seen
            assert not at.boxes.doors[opened - 1].closed  # a stream may be under way
            at.clock.advance(61)
            await theirs.refresh()
            assert sum(door.closed for door in at.boxes.doors) >= 2
            await at.desk(1).deactivate("far")
            await at.desk(1).retire("far")
            assert "far" not in theirs
            with pytest.raises(KeyError):
                theirs["far"]
            assert await mine.refresh(at_once=True) is None
            assert "far" not in mine

    run(story())


def test_a_store_that_no_longer_serves_takes_nothing_and_stays_readable(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, engines=2) as at:
            await serving(at)
            for engine in at.engines:
                send(engine, "far")
            await put(at, "a")
            assert await content(at.session(1), "plain", "a") == b"a"  # made a moment ago by another process
            for stop in (
                lambda: at.desk().deactivate("far"),
                lambda: at.desk().set_state("far", StoreState.READ_ONLY),
                lambda: at.desk().update("far", state=StoreState.ACTIVE, active=True, settings={"note": "z"}),
            ):
                await stop()
                at.clock.advance(3)
                for number in (0, 1):
                    with pytest.raises(UnavailableError, match=r"takes no new objects|takes no place"):
                        await put(at, "b", number)
                    assert await content(at.session(number), "plain", "a") == b"a"
            with pytest.raises(ConflictError, match="names the store"):
                await at.desk().retire("far")
            await at.desk().test("far")
            await put(at, "b")
            assert at.engines[0].stores["far"].backend.capabilities & Capability.RANGE

    run(story())


def test_a_lost_key_is_named_and_what_needs_no_key_goes_on(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, seal_keys=KEY_1) as at:
            await serving(at)
        async with place(catalog_url, seal_keys=KEY_2) as at:
            desk, stores = at.desk(), at.engines[0].stores
            with pytest.raises(ConfigError, match="'k1'"):
                await stores["far"].backend.head("x")
            assert not stores["far"].backend.capabilities
            assert "'k1'" in (await desk.test("far"))[1].trouble
            with pytest.raises(ConfigError, match="'k1'"):
                await desk.update("far", settings={"note": "other"})
            (lost,) = await desk.rewrap()
            assert "'k1'" in lost.trouble
            assert (await desk.update("far", settings={"password": PASSWORD})).key_id == "k2"
            assert (await desk.test("far"))[0].connection.serves

    run(story())


def test_keys_are_rotated_by_wrapping_again(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            await serving(at)
            assert (await at.desk().store("far")).key_id == "root"
        async with place(catalog_url, seal_keys=f"{KEY_2}, {KEY_1}") as at:
            (done,) = await at.desk().rewrap()
            assert (done.changed, done.key_id, done.trouble) == (True, "k2", "")
            assert not (await at.desk().rewrap())[0].changed
            assert (await at.desk().store("far")).connection.serves  # nothing else changed
            rows = await at.engines[0].catalog.audit("")
            assert json.dumps([dict(row.detail) for row in rows if row.action == "rewrap-store"]) == (
                '[{"store": "far", "key": "k2"}]'
            )
        async with place(catalog_url, seal_keys=KEY_2) as at:
            assert (await at.desk().test("far"))[1].well
        async with place(catalog_url, seal_keys=KEY_1) as at:
            assert "'k2'" in (await at.desk().test("far"))[1].trouble

    run(story())


def test_the_same_said_again_changes_nothing(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await serving(at)
            catalog = at.engines[0].catalog
            before = await catalog.stores()
            await at.desk().update(
                "far", driver="box", settings=SETTINGS, whole=True, labels=["internal", "cold"]
            )
            await at.desk().activate("far")
            assert await catalog.stores() == before
            await at.desk().update("far", settings={"password": PASSWORD, "box": "red"}, whole=True)
            assert (await at.desk().store("far")).settings == {"box": "red", "password": "***"}

    run(story())


def test_a_store_of_the_file_hides_one_of_the_catalog(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            stores, catalog = at.engines[0].stores, at.engines[0].catalog
            await at.desk().create("far", "box", SETTINGS)
            _, (kept,) = await catalog.stores()
            await catalog.create_store(replace(kept, name="home"))
            await stores.refresh(at_once=True)
            assert stores["home"].circuit is None
            assert [(one.name, one.origin, one.hidden) for one in await at.desk().all()] == [
                ("home", "file", False),
                ("far", "catalog", False),
                ("home", "catalog", True),
            ]

    run(story())


def test_a_store_that_does_not_answer_is_left_alone_until_it_does(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await serving(at)
            (engine,) = at.engines
            send(engine, "far", "home")
            await put(at, "a")
            at.boxes.broken.add("red")
            far = engine.stores["far"]
            for _ in range(5):
                with pytest.raises(UnavailableError):
                    await far.backend.put("x", Body.of_bytes(b"x"))
            assert far.circuit is not None
            assert far.circuit.refuses
            assert engine.failing("far")
            calls = at.boxes.calls
            assert await content(at.session(), "plain", "a") == b"a"
            with pytest.raises(UnavailableError, match="does not answer"):
                await put(at, "b")
            assert at.boxes.calls == calls
            assert (await at.desk().store("far")).breaker == "open"
            at.boxes.broken.clear()
            at.clock.advance(6)
            assert not engine.failing("far")
            assert (await at.desk().store("far")).breaker == "half-open"
            await put(at, "b")
            assert (await at.desk().store("far")).breaker == "closed"

    run(story())


def test_another_driver_keeps_what_it_takes_for_secret_out_of_sight(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            desk, boxes = at.desk(), at.boxes
            await desk.create("far", "box", {**SETTINGS, "note": "rather-private"})
            fields = boxes.fields

            def stricter(driver: str) -> Any:
                return tuple(replace(one, secret=one.name != "box") for one in fields("box"))

            boxes.fields = stricter  # type: ignore[method-assign]
            changed = await desk.update("far", driver="vault")
            assert (changed.connection.driver, changed.secrets) == ("vault", ("note", "password"))
            _, (kept,) = await at.engines[0].catalog.stores()
            assert kept.settings == {"box": "red"}

    run(story())
