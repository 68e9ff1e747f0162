"""Fsck: rows and listing compared both ways, every suspicion looked at again, and nothing removed but what was dark long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog.contract import Actor
from holdfast.core.body import Body
from holdfast.core.errors import ConflictError, NotFoundError, UnavailableError
from holdfast.core.findings import FindingKind, FindingState
from holdfast.core.names import ABOUT
from holdfast.core.types import BlobInfo, ReplicaState
from holdfast.jobs.adopt import Adopt
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.reconcile import pay
from holdfast.policy.placement import Rule
from tests.engine.alone import run_alone, work_of
from tests.engine.encrypted import Place
from tests.engine.proving import ALONE, DAY, advance, copies, flip, found, fsck, world
from tests.helpers import ADMIN, content, noise, run

pytestmark = pytest.mark.engine

BOSS = replace(ADMIN, role="operator")


async def fill(here: Place, count: int = 12, size: int = 500) -> None:
    for number in range(count):
        await here.session.put("plain", f"k{number:03}", Body.of_bytes(noise(size, number)))


async def plant(here: Place, store: str = "main", tenant: str = "default", tail: str = "") -> str:
    """Put a blob that no row knows, as a put that ended after its writer had given up."""
    name = f"{tenant}/2023111422/{here.environment.new_id()}{tail}"
    await here.disks[store].put(name, Body.of_bytes(noise(77)))
    return name


class Listing:
    """Replaces what a store lists."""

    def __init__(self, disk: MemoryBackend) -> None:
        self._real = disk.list
        self.most: int | None = None
        self.hidden: set[str] = set()
        self.error: Exception | None = None
        self.breaks_at = ""
        disk.list = self.list  # type: ignore[method-assign]

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        count = 0
        async for info in self._real(prefix, after=after):
            if self.error is not None and info.name >= self.breaks_at:
                raise self.error
            if self.most is not None and count >= self.most:
                return
            count += 1
            if info.name not in self.hidden:
                yield info


@asynccontextmanager
async def filled(url: str, count: int = 12, **more: Any) -> AsyncIterator[Place]:
    async with world(url, **more) as here:
        await fill(here, count)
        yield here


def test_nothing_is_wrong(catalog_url: str) -> None:
    async def story() -> None:
        async with filled(catalog_url) as here:
            upload = await here.session.create_upload("plain", "open")
            await here.session.put_part("plain", "open", upload.id, 1, Body.of_bytes(noise(10)))
            await here.session.delete("plain", "k000")
            await here.disks["main"].put("notes.txt", Body.of_bytes(b"of somebody else"))
            await plant(here, tenant="stranger")
            for _ in range(2):
                ran = await fsck(here, deep=True, metadata=True, twice=True)
                assert (ran.counts.failed, await found(here)) == (0, {})
                assert ran.counts.notes["foreign"] == 2
                advance(here, 2 * DAY)

    run(story())


def test_the_way_of_what_is_dark(catalog_url: str) -> None:
    async def story() -> None:
        async with filled(catalog_url) as here:
            name, disk = await plant(here), here.disks["main"]
            assert (await fsck(here)).counts.notes == {"young": 1}
            advance(here, 2 * 3600)
            assert (await fsck(here, twice=True)).counts.notes == {"dark": 1}
            first = (await found(here))["dark", "seen"]
            assert (first.store, first.blob, first.size, first.sightings) == ("main", name, 77, 1)
            advance(here, DAY / 2)
            await fsck(here)
            assert (await found(here))["dark", "seen"].sightings == 2  # but not a day apart
            advance(here, DAY / 2 + 1)
            assert (await fsck(here)).counts.notes == {"dark": 1, "quarantined": 1}
            held = (await found(here))["dark", "quarantined"]
            assert held.until == await here.engine.catalog.now() + int(7 * DAY * 1e6)
            advance(here, 6.9 * DAY)
            await fsck(here)
            assert (await here.engine.sweep()).deleted == 0
            advance(here, 0.2 * DAY)
            ran = await fsck(here, twice=True)
            assert ran.counts.notes["dark"] == 1
            assert ("dark", "removed") in await found(here)
            assert [info.name async for info in disk.list()].count(name) == 1
            assert (await here.engine.sweep()).deleted == 1
            assert name not in await here.names()
            audit = [entry for entry in await here.engine.catalog.audit("") if "finding" in entry.action]
            assert [(entry.principal, entry.action) for entry in audit] == [("fsck", "remove-finding")]
            assert (await fsck(here)).counts.notes == {}
            for number in range(12):
                assert await content(here.session, "plain", f"k{number:03}") == noise(500, number)

    run(story())


def test_a_record_without_its_blob_is_dark_and_one_with_it_is_not(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url) as here:
            disk = here.disks["main"]
            lonely = f"default/2023111422/{here.environment.new_id()}{ABOUT}"
            await disk.put(lonely, Body.of_bytes(b"v=1"))
            await disk.put((await copies(here, "main"))[3].blob + ABOUT, Body.of_bytes(b"v=1"))
            advance(here, DAY)
            await fsck(here)
            told = (await found(here))["dark", "seen"]
            assert (told.blob, told.detail) == (lonely, "a record without its blob")
            for _ in range(2):
                advance(here, 8 * DAY)
                await fsck(here)
            assert (await here.engine.sweep()).deleted == 1
            assert [name for name in await here.names() if name.endswith(ABOUT)] != [lonely]
            assert lonely not in await here.names()

    run(story())


def test_what_is_found_again_by_a_row_is_left(sqlite_url: str) -> None:
    """Between quarantine and removal a catalog may be rebuilt: then the row is asked, not the finding."""

    async def story() -> None:
        async with filled(sqlite_url) as here:
            name = await plant(here)
            for _ in range(2):
                advance(here, 2 * DAY)
                await fsck(here)
            held = (await found(here))["dark", "quarantined"]
            version = await here.session.put("plain", "k000", Body.of_bytes(b"x"))
            row = next(row for row in await copies(here, "main") if row.version_id == version.id)
            renamed = "UPDATE replicas SET blob = ? WHERE id = ?"
            import sqlite3

            with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
                connection.execute(renamed, (name, row.id))
            connection.close()
            advance(here, 8 * DAY)
            assert not await here.engine.catalog.remove_finding(held, here.environment.new_id())
            await fsck(here, store="main")
            assert ("dark", "quarantined") not in await found(here)
            await here.engine.sweep()
            assert name in await here.names()

    run(story())


def test_bytes_that_were_adopted_are_not_removed(catalog_url: str) -> None:
    """Whether they are adopted before their removal, or before somebody told of them notes it."""

    async def story() -> None:
        async with filled(catalog_url, rule=ALONE) as here:
            name = await plant(here)
            for _ in range(2):
                advance(here, 2 * DAY)
                await fsck(here)
            held = (await found(here))["dark", "quarantined"]
            spec = {"store": "main", "tenant": "default", "bucket": "plain", "add": "rescued/"}
            assert (await run_alone(here.engine, Adopt(), spec)).counts.notes["taken"] == 1
            assert list(await found(here)) == [("dark", "released")]
            catalog, desk = here.engine.catalog, here.engine.session(BOSS).admin.findings
            with pytest.raises(ConflictError, match="not quarantined"):
                await desk.remove("main", name)
            await catalog.resolve_findings("main", [name], kinds=["dark"])
            await catalog.note_findings([held], run="late", at=await catalog.now())
            await catalog.count_findings("main", "late")
            await desk.quarantine("main", name, hold=0)
            with pytest.raises(ConflictError, match="a row knows these bytes"):
                await desk.remove("main", name)
            await here.engine.sweep()
            assert await content(here.session, "plain", f"rescued/{name}") == noise(77)

    run(story())


def test_quarantine_is_undone_and_done_by_hand(catalog_url: str) -> None:
    async def story() -> None:
        async with filled(catalog_url) as here:
            name = await plant(here)
            catalog, actor = here.engine.catalog, Actor("boss")
            advance(here, DAY)
            await fsck(here)
            seen = (await found(here))["dark", "seen"]
            held = await catalog.change_finding(seen, FindingState.QUARANTINED, hold=10, actor=actor)
            with pytest.raises(ConflictError, match="is quarantined meanwhile"):
                await catalog.change_finding(seen, FindingState.RELEASED, actor=actor)
            await catalog.change_finding(held, FindingState.RELEASED, actor=actor)
            for _ in range(3):
                advance(here, 8 * DAY)
                await fsck(here)
            kept = (await found(here))["dark", "released"]
            assert (kept.until, kept.sightings) == (None, 4)
            assert not await catalog.remove_finding(kept, here.environment.new_id())
            assert name in await here.names()
            with pytest.raises(NotFoundError):
                await catalog.finding("main", "no such", "dark")
            await here.disks["main"].delete(name)
            advance(here, DAY)
            assert (await fsck(here)).counts.notes["gone"] == 1
            assert await found(here) == {}

    run(story())


@pytest.mark.parametrize("how", ["error", "short", "empty", "hidden"])
def test_a_listing_that_is_not_believed_changes_nothing(sqlite_url: str, how: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, 40) as here:
            name = await plant(here)
            advance(here, 2 * DAY)
            await fsck(here)
            before = await found(here)
            disk = here.disks["main"]
            listing = Listing(disk)
            names = await here.names()
            listing.breaks_at = names[10]
            listing.most = {"short": 20, "empty": 0}.get(how)
            listing.hidden = set(names[::3]) - {name} if how == "hidden" else set()
            listing.error = UnavailableError("it broke off", store="main") if how == "error" else None
            advance(here, 2 * DAY)
            if how == "error":
                with pytest.raises(UnavailableError):
                    await fsck(here, store="main")
            else:
                ran = await fsck(here, store="main")
                assert [failure.code for failure in ran.failures] == ["not_believed"]
                assert "blobs are not in the listing" in ran.failures[0].message
            assert await found(here) == before
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            listing.error, listing.most, listing.hidden = None, None, set()
            assert (await fsck(here, store="main")).counts.notes == {"dark": 1, "quarantined": 1}

    run(story())


def test_a_listing_that_lags_is_asked_by_name(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, 40) as here:
            listing = Listing(here.disks["main"])
            listing.hidden = set((await here.names())[:5])
            ran = await fsck(here, store="main")
            assert ran.counts.notes == {"left_out_of_the_listing": 5}
            assert (ran.counts.failed, await found(here)) == (0, {})

    run(story())


def test_an_emptied_store_is_left_alone(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, 40) as here:
            for name in await here.names("main"):
                await here.disks["main"].delete(name)
            ran = await fsck(here)
            assert [failure.code for failure in ran.failures] == ["not_believed"]
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            assert await found(here) == {}
            assert not await here.engine.catalog.debts()

    run(story())


def test_lost_and_wrong_copies_are_made_again(catalog_url: str) -> None:
    async def story() -> None:
        async with filled(catalog_url) as here:
            lost, cut, *_, bad = await copies(here, "main")
            await here.disks["main"].delete(lost.blob)
            await here.disks["main"].put(cut.blob, Body.of_bytes(b"short"))
            await flip(here.disks["main"], bad.blob)
            ran = await fsck(here)
            assert ran.counts.notes == {"lost": 1, "wrong-size": 1, "healing": 2}
            ran = await fsck(here, deep=True)
            assert ran.counts.notes["wrong-hash"] == 1
            assert (await pay(here.engine)).moved == 3
            ran = await fsck(here, deep=True)
            assert (ran.counts.failed, await found(here)) == (0, {})
            for number in range(12):
                assert await content(here.session, "plain", f"k{number:03}") == noise(500, number)

    run(story())


def test_the_last_copy_that_is_lost_is_told_and_its_row_stays(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, rule=ALONE) as here:
            lost = (await copies(here))[0]
            await here.disks["main"].delete(lost.blob)
            for _ in range(3):
                ran = await fsck(here, twice=True)
                assert ran.counts.notes["no_sound_copy"] == 1
                assert (await found(here))["lost", "seen"].version_id == lost.version_id
                advance(here, 30 * DAY)
                await here.engine.sweep()
            assert lost.id in {row.id for row in await copies(here)}
            assert not await here.engine.catalog.debts()

    run(story())


def test_too_much_that_is_dark_is_told_and_not_quarantined(sqlite_url: str) -> None:
    """As after a catalog was put back that is older than the stores."""

    async def story() -> None:
        async with filled(sqlite_url) as here:
            names = [await plant(here) for _ in range(15)]
            for _ in range(3):
                advance(here, 10 * DAY)
                ran = await fsck(here, store="main")
            assert ran.counts.notes == {"dark": 15, "not_quarantined": 15}
            states = {one.state for one in await here.engine.catalog.findings(kind="dark")}
            assert states == {FindingState.SEEN}
            assert (await here.engine.sweep()).deleted == 0
            assert set(names) <= set(await here.names())

    run(story())


def test_a_blob_that_says_it_is_another(sqlite_url: str) -> None:
    async def story() -> None:
        rule = Rule("default", ("main",), encrypt=False)
        async with world(sqlite_url, rule=rule) as here:
            from holdfast.core.backend import PutOptions, Store
            from holdfast.core.types import Origin
            from holdfast.layers.describing import Describing

            described = Describing(here.disks["main"])
            here.engine.stores.own["main"] = Store("main", described)
            one = await here.session.put("plain", "one", Body.of_bytes(b"1"))
            await here.session.put("plain", "two", Body.of_bytes(b"2"))
            row = next(row for row in await copies(here) if row.version_id == one.id)
            told = Origin("default", "plain", "two", one.id, one.id, None, one.created)
            assert (await fsck(here, metadata=True)).counts.failed == 0
            await described.put(row.blob, Body.of_bytes(b"1"), options=PutOptions(origin=told))
            ran = await fsck(here, metadata=True)
            assert ran.counts.failed == 1
            finding = (await found(here))["wrong-metadata", "seen"]
            assert finding.kind is FindingKind.WRONG_METADATA
            assert finding.detail == "it says key 'two', its row 'one'"
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}

    run(story())


def test_many_names_are_compared_in_stretches(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with filled(sqlite_url, 30) as here:
            from holdfast.engine import fsck as module

            monkeypatch.setattr(module, "PAGE", 4)
            planted = [await plant(here) for _ in range(5)]
            advance(here, DAY)
            ran = await run_alone(here.engine, Fsck(), {"store": "main"}, twice=True)
            assert ran.counts.examined == 35
            dark = await here.engine.catalog.findings(kind="dark")
            assert [one.blob for one in dark] == sorted(planted)

    run(story())


def test_what_it_would_do(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, 3) as here:
            kind = Fsck()
            told = await kind.forecast(work_of(here.engine, kind, {"store": "main", "deep": True}))
            assert (told.objects, told.bytes) == (3, 1500)
            assert told.calls == {"main": {"list": 1, "get": 3}}

    run(story())


def test_a_blob_that_cannot_be_read_is_told_and_the_others_are_looked_into(sqlite_url: str) -> None:
    async def story() -> None:
        async with filled(sqlite_url, count=25) as here:
            disk = here.disks["main"]
            real, rows = disk.get, await copies(here)
            refused = {rows[3].blob}

            def get(name: str, **how: Any) -> Any:
                if name in refused:
                    raise UnavailableError("not this one", store="main", name=name)
                return real(name, **how)

            disk.get = get  # type: ignore[method-assign]
            ran = await fsck(here, deep=True)
            assert ran.counts.notes["unreadable"] == ran.counts.failed == len(ran.failures) == 1
            assert rows[3].blob in ran.failures[0].message
            assert ran.failures[0].code == "unavailable"
            refused |= {row.blob for row in rows}
            with pytest.raises(UnavailableError):  # so many in a row: it is the store
                await fsck(here, deep=True)

    run(story())
