"""Copies adopted, others doomed only when nobody needs them, and debts that are paid, put off and forgotten."""

from __future__ import annotations

import pytest

from holdfast.catalog.contract import Adopted, Debts, Owed
from holdfast.core.types import Version
from tests.engine.catalog.support import GRACE, MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def intend(desk: Desk, version: Version, store: str) -> str:
    """A copy of what is there, announced."""
    copy = desk.replica(version.id, version.id, store, version.size)
    await desk.catalog.begin(version.ref, [copy], lease_until=await desk.catalog.now() + MINUTE)
    return copy.id


async def adopt(desk: Desk, version: Version, *ids: str, wanted: tuple[str, ...] = ()) -> Adopted:
    return await desk.catalog.adopt(version.ref, version.id, ids, wanted=wanted, grace=GRACE)


async def told(desk: Desk) -> list[dict[str, str]]:
    return [dict(entry.detail) for entry in await desk.catalog.audit("t") if entry.action == "reconcile"]


def test_nothing_is_doomed_before_every_wanted_store_has_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            version = await desk.put("k", owed=Owed("rule", "down"))
            two = await intend(desk, version, "two")
            done = await adopt(desk, version, two, wanted=("two", "three"))
            assert done == Adopted()
            assert set((await desk.states()).values()) == {"live"}
            assert [debt.version_id for debt in await desk.catalog.debts()] == [version.id]
            three = await intend(desk, version, "three")
            done = await adopt(desk, version, three, wanted=("two", "three"))
            assert done == Adopted(settled=True, doomed=1, paid=True)
            states = await desk.states()
            assert (states.pop(two), states.pop(three), *states.values()) == ("live", "live", "doomed")
            assert not await desk.catalog.debts()
            assert await told(desk) == [{"to": "two"}, {"to": "three", "from": "one"}]
            assert await desk.catalog.doomed() == []  # the grace

    run(story())


def test_asked_again_it_changes_nothing_more(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            version = await desk.put("k")
            two = await intend(desk, version, "two")
            assert (await adopt(desk, version, two, wanted=("two",))).doomed == 1
            assert await adopt(desk, version, two, wanted=("two",)) == Adopted(settled=True)
            assert len(await told(desk)) == 1
            double = await intend(desk, version, "two")
            assert (await adopt(desk, version, double, wanted=("two",))).doomed == 1
            assert ((await desk.states())[two], (await desk.states())[double]) == ("live", "doomed")
            assert await adopt(desk, version, double, wanted=("two",)) == Adopted(settled=True)

    run(story())


def test_a_copy_that_was_given_up_is_never_adopted(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            version = await desk.put("k")
            two = await intend(desk, version, "two")
            desk.advance(61)
            await desk.catalog.expire()
            before = await desk.states()
            assert await adopt(desk, version, two, wanted=("two",)) == Adopted(lost=True)
            assert await adopt(desk, version, "unknown", wanted=("two",)) == Adopted(lost=True)
            assert await desk.states() == before
            assert not await told(desk)

    run(story())


def test_a_suspect_copy_counts_for_nothing_but_goes_last(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            version = await desk.put("k")
            (one,) = await desk.states()
            await desk.catalog.suspect(one)
            assert await adopt(desk, version, wanted=("one",)) == Adopted()
            assert (await desk.states())[one] == "suspect"
            fresh = await intend(desk, version, "one")
            assert (await adopt(desk, version, fresh, wanted=("one",))).doomed == 1
            assert await desk.states() == {one: "doomed", fresh: "live"}

    run(story())


def test_a_version_that_is_gone_is_left_alone(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            version = await desk.put("k", owed=Owed("rule", "down"))
            two = await intend(desk, version, "two")
            assert await desk.catalog.debt_counts() == {"down": Debts(1, version.created)}
            await desk.delete("k")
            assert await adopt(desk, version, two, wanted=("two",)) == Adopted(there=False)
            assert (await desk.states())[two] == "pending"
            assert await desk.catalog.debt_counts() == {}
            assert await desk.catalog.debts() == []
            assert await desk.catalog.forget_debts() == 1
            assert await desk.catalog.forget_debts() == 0

    run(story())


def test_debts_are_taken_once_put_off_and_shown_by_place(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            down = await desk.put("k", owed=Owed("rule", "down"))
            kept = await desk.put("k", "kept", owed=Owed("other", "copies"))
            assert (down.owed, (await desk.catalog.resolve(kept.ref)).version.owed) == ("down", "copies")
            taken = await desk.catalog.take_debts(limit=10, lease=10 * MINUTE)
            assert [(debt.version_id, debt.ref, debt.rule) for debt in taken] == [
                (down.id, down.ref, "rule"),
                (kept.id, kept.ref, "other"),
            ]
            assert await desk.catalog.take_debts(limit=10, lease=MINUTE) == []
            await desk.catalog.postpone_debt(down.id, until=await desk.catalog.now() + 1, trouble="no")
            desk.advance(1)
            (again,) = await desk.catalog.take_debts(limit=10, lease=MINUTE)
            assert (again.version_id, again.tries, again.trouble) == (down.id, 1, "no")
            await desk.catalog.hurry_debts()
            assert len(await desk.catalog.take_debts(limit=1, lease=MINUTE)) == 1
            assert [debt.version_id for debt in await desk.catalog.debts(tenant="t", bucket="kept")] == [
                kept.id
            ]
            assert await desk.catalog.debts(tenant="other") == []
            assert [debt.version_id for debt in await desk.catalog.debts(after=down.id)] == [kept.id]

    run(story())
