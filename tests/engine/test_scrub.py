"""Scrub: every copy is read whole; what is bad is passed over, made again from a sound copy, or told, and never removed."""

from __future__ import annotations

import pytest

from holdfast.core.body import Body
from holdfast.core.errors import CorruptedError, InvalidRequestError, UnavailableError
from holdfast.core.types import ReplicaState
from holdfast.jobs.reconcile import pay
from holdfast.jobs.scrub import Scrub
from holdfast.policy.placement import Rule
from tests.engine.alone import work_of
from tests.engine.encrypted import Place
from tests.engine.proving import ALONE, BOTH, DAY, advance, copies, flip, found, scrub, world
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine


async def fill(here: Place, count: int, size: int = 3000) -> None:
    for number in range(count):
        await here.session.put("plain", f"k{number:03}", Body.of_bytes(noise(size, number)))


async def in_parts(here: Place, key: str) -> None:
    upload = await here.session.create_upload("plain", key)
    parts = [
        await here.session.put_part("plain", key, upload.id, number, Body.of_bytes(noise(4000, number)))
        for number in (1, 2)
    ]
    await here.session.complete_upload("plain", key, upload.id, [(part.number, part.etag) for part in parts])


def test_sound_copies_are_proved_once_and_again_when_they_are_old(catalog_url: str) -> None:
    async def story() -> None:
        async with world(catalog_url) as here:
            await fill(here, 5)
            await in_parts(here, "parts")
            ran = await scrub(here, twice=True)
            assert (ran.counts.done, ran.counts.failed) == (0, 0)  # the second time there was nothing left
            proven = {one.store: one for one in await here.engine.catalog.proven(since=0)}
            assert {name: (one.copies, one.never) for name, one in proven.items()} == {
                "main": (7, 0),
                "other": (7, 0),
            }
            advance(here, 29 * DAY)
            assert (await scrub(here)).counts.done == 0
            await here.session.put("plain", "new", Body.of_bytes(b"new"))
            assert (await scrub(here)).counts.done == 2
            advance(here, 2 * DAY)
            assert (await scrub(here)).counts.done == 14
            assert (await scrub(here, max_age=DAY)).counts.done == 2

    run(story())


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_flipped_bit_anywhere_is_found_and_healed(sqlite_url: str, encrypt: bool) -> None:
    async def story() -> None:
        rule = Rule("default", ("main", "other"), acknowledge=2, encrypt=encrypt)
        async with world(sqlite_url, rule=rule) as here:
            data = noise(1500)
            for at in (0, 6, 20, 100, 110, 180, 1400, -1):  # of an envelope, of a header, of content
                await here.session.put("plain", "k", Body.of_bytes(data))
                (bad,) = [row for row in await copies(here, "main") if row.state is ReplicaState.LIVE]
                await flip(here.disks["main"], bad.blob, at)
                ran = await scrub(here, store="main", max_age=0)
                assert ran.counts.notes == {"wrong-hash": 1, "healing": 1}, at
                assert "it is made again" in ran.failures[0].message
                states = {row.id: row.state for row in await copies(here)}
                assert states[bad.id] is ReplicaState.SUSPECT
                (debt,) = await here.engine.catalog.debts()
                assert debt.reason == "damaged"
                assert (await pay(here.engine)).moved == 1
                assert await content(here.session, "plain", "k") == data
                assert (await scrub(here, max_age=0)).counts.failed == 0
                assert not await here.engine.catalog.debts()

    run(story())


def test_the_last_sound_copy_is_told_and_kept(catalog_url: str) -> None:
    async def story() -> None:
        async with world(catalog_url, rule=ALONE) as here:
            await here.session.put("plain", "k", Body.of_bytes(noise(2000)))
            await here.session.put("plain", "fine", Body.of_bytes(noise(2000)))
            bad = next(row for row in await copies(here) if row.size == 2000)
            await flip(here.disks["main"], bad.blob)
            ran = await scrub(here, twice=True)
            assert ran.counts.notes == {"wrong-hash": 1, "no_sound_copy": 1}
            told = (await found(here))["wrong-hash", "seen"]
            assert (told.blob, told.version_id) == (bad.blob, bad.version_id)
            assert "sha256" in told.detail
            assert not await here.engine.catalog.debts()
            assert len(await here.names()) == 2
            key = "k" if "plain/k" in told.detail else "fine"
            with pytest.raises((CorruptedError, UnavailableError)):
                await content(here.session, "plain", key)
            await flip(here.disks["main"], bad.blob)  # as it was
            assert (await scrub(here)).counts.done == 1
            assert await found(here) == {}
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            assert len(await content(here.session, "plain", key)) == 2000

    run(story())


def test_lost_and_cut_copies_are_made_again(sqlite_url: str) -> None:
    async def story() -> None:
        async with world(sqlite_url) as here:
            await fill(here, 3)
            lost, cut, _ = await copies(here, "main")
            await here.disks["main"].delete(lost.blob)
            await here.disks["main"].put(cut.blob, Body.of_bytes(b"short"))
            ran = await scrub(here)
            assert ran.counts.notes == {"lost": 1, "wrong-size": 1, "healing": 2}
            assert (await pay(here.engine)).copied == 2
            assert (await scrub(here)).counts.failed == 0
            assert len(await copies(here, "main")) == 5  # the bad ones wait for the sweep

    run(story())


def test_a_store_that_was_emptied_is_left_alone(sqlite_url: str) -> None:
    async def story() -> None:
        async with world(sqlite_url) as here:
            await fill(here, 30, 100)
            for name in await here.names("main"):
                await here.disks["main"].delete(name)
            ran = await scrub(here, store="main")
            assert [failure.code for failure in ran.failures] == ["not_believed"]
            assert "30 of 30 blobs are not there" in ran.failures[0].message
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            assert not await here.engine.catalog.debts()
            assert await found(here) == {}

    run(story())


def test_a_budget_ends_the_run_and_the_next_one_goes_on(sqlite_url: str) -> None:
    async def story() -> None:
        async with world(sqlite_url) as here:
            await fill(here, 40, 1000)
            ran = await scrub(here, store="main", budget="10000")
            assert (ran.counts.done, ran.counts.notes) == (12, {"budget_spent": 1})  # four at a time
            ran = await scrub(here, store="main", share=0.5)
            assert ran.counts.done == 20
            ran = await scrub(here, store="main")
            assert ran.counts.done == 8
            some = await scrub(here, store="other", sample=0.3)
            assert 0 < some.counts.done < 40
            assert some.counts.done + some.counts.skipped == 40

    run(story())


def test_a_bucket_or_a_tenant_alone(catalog_url: str) -> None:
    async def story() -> None:
        async with world(catalog_url) as here:
            await fill(here, 3)
            await here.session.create_bucket("more")
            await here.session.put("more", "k", Body.of_bytes(noise(10)))
            await flip(here.disks["other"], (await copies(here, "other"))[0].blob)
            ran = await scrub(here, tenant="default", bucket="plain", store="other", twice=True)
            assert ran.counts.examined <= 3
            ran = await scrub(here, tenant="default")
            assert ran.counts.failed <= 1
            never = [one.never for one in await here.engine.catalog.proven(since=0)]
            assert never == [0, 1]

    run(story())


def test_a_store_that_does_not_answer_is_tried_again_and_blames_no_copy(sqlite_url: str) -> None:
    async def story() -> None:
        async with world(sqlite_url) as here:
            await fill(here, 12, 100)
            disk = here.disks["main"]

            def refuse(name: str, *, range: object = None) -> object:
                raise UnavailableError("down", store="main")

            real, disk.get = disk.get, refuse  # type: ignore[method-assign, assignment]
            with pytest.raises(UnavailableError, match="in a row could not be read: main: down"):
                await scrub(here, store="main")
            disk.get = real  # type: ignore[method-assign]
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            assert (await scrub(here, store="main")).counts.done == 12

    run(story())


def test_what_it_would_cost_and_what_makes_no_sense(sqlite_url: str) -> None:
    async def story() -> None:
        async with world(sqlite_url, rule=BOTH) as here:
            await fill(here, 4, 1000)
            kind = Scrub()
            told = await kind.forecast(work_of(here.engine, kind, {"store": "main", "budget": 2000}))
            assert (told.objects, told.bytes, told.calls) == (2, 2000, {"main": {"get": 2}})
            for wrong in ({"share": 2}, {"bucket": "b"}, {"budget": "much"}, {"sample": 0}, {"colour": 1}):
                with pytest.raises(InvalidRequestError):
                    kind.check(wrong)

    run(story())
