"""Buckets as they were: listings, snapshots that keep what they show, differences, a rewind that loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from holdfast.core.jobs import Part
from holdfast.core.types import Principal, Version
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.jobs.clone import CloneBucket
from holdfast.jobs.rewind import Rewind
from holdfast.policy.buckets import changed
from holdfast.policy.moments import Change, text_of, time_of
from tests.engine.alone import Ran, run_alone, work_of
from tests.helpers import content, engine_on, memory_store, run

pytestmark = pytest.mark.engine

SECOND = 1_000_000


class Ground:
    """An engine whose clock is turned by hand; every write is a second after the one before."""

    def __init__(self, engine: Engine, session: Session, clock: ManualClock) -> None:
        self.engine, self.session, self.clock = engine, session, clock

    async def now(self) -> int:
        return await self.engine.catalog.now()

    async def put(self, key: str, text: str, **about: Any) -> Version:
        self.clock.advance(1)
        return await self.session.put("kept", key, Body.of_bytes(text.encode()), ObjectInput(**about))

    async def delete(self, key: str, version_id: str | None = None) -> None:
        self.clock.advance(1)
        await self.session.delete("kept", key, version_id=version_id)

    async def texts(self, at: int | None = None, **how: Any) -> dict[str, str]:
        """What a reader finds, now or at a moment, a small page at a time."""
        found, marker = {}, ""
        while True:
            page = await self.session.list("kept", at=at, marker=marker, limit=2, **how)
            for item in page.items:
                found[item.ref.key] = (
                    await content(self.session, "kept", item.ref.key, version_id=item.id)
                ).decode()
            for prefix in page.prefixes:
                found[prefix] = ""
            if not page.truncated:
                return found
            marker = page.next_marker

    async def history(self) -> None:
        """Versions of several keys; what was there a second later is in `then`."""
        await self.put("a", "a1")
        await self.put("b/x", "x1", tags={"t": "1"}, metadata={"m": "1"})
        await self.put("b/y", "y1")
        await self.put("gone", "g1")
        await self.put("a", "a2")
        await self.delete("gone")
        await self.put("back", "k1")
        self.clock.advance(1)

    async def rewind(self, *, twice: bool = False, **spec: Any) -> Ran:
        return await run_alone(
            self.engine, Rewind(), {"bucket": "kept", **spec}, tenant="default", twice=twice
        )


THEN = {"a": "a2", "b/x": "x1", "b/y": "y1", "back": "k1"}


@asynccontextmanager
async def ground(url: str, *, inline: int = 0) -> AsyncIterator[Ground]:
    environment = Environment.seeded(8)
    assert isinstance(environment.clock, ManualClock)
    store = memory_store("main", environment)
    async with engine_on(url, store, environment=environment, inline=inline) as (engine, session):
        yield Ground(engine, session, environment.clock)


async def undo(here: Ground) -> None:
    """Change everything."""
    await here.put("a", "a3")
    await here.delete("b/x")
    await here.put("gone", "g2")
    await here.delete("back")
    await here.put("new", "n1")
    here.clock.advance(1)


def test_a_listing_shows_what_was_there(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            start = await here.now()
            await here.history()
            then = await here.now()
            await undo(here)
            assert await here.texts() == {"a": "a3", "b/y": "y1", "gone": "g2", "new": "n1"}
            assert await here.texts(then) == THEN
            assert await here.texts(start) == {}
            assert await here.texts(start + 4 * SECOND) == {"a": "a1", "b/x": "x1", "b/y": "y1", "gone": "g1"}
            assert await here.texts(then, delimiter="/") == {"a": "a2", "b/": "", "back": "k1"}
            assert await here.texts(then, prefix="b/") == {"b/x": "x1", "b/y": "y1"}
            found = await here.session.moments.version_id("kept", "back", then)
            assert await content(here.session, "kept", "back", version_id=found) == b"k1"
            with pytest.raises(NotFoundError):
                await here.session.moments.version_id("kept", "gone", then)
            with pytest.raises(NotFoundError):
                await here.session.moments.version_id("kept", "never", then)

    run(story())


def test_only_a_bucket_with_versions_has_a_past(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            now = await here.now()
            with pytest.raises(ConflictError, match="keeps no versions"):
                await here.session.list("plain", at=now)
            with pytest.raises(InvalidRequestError, match="future"):
                await here.session.list("kept", at=now + SECOND)
            with pytest.raises(ConflictError, match="keeps versions"):
                await here.session.moments.create("plain", "one")
            for name in ("", "-x", "a b", "x" * 101):
                with pytest.raises(InvalidRequestError):
                    await here.session.moments.create("kept", name)
            for spec in ({}, {"at": "yesterday"}, {"at": "2026-01-01", "snapshot": "x"}):
                with pytest.raises(InvalidRequestError):
                    Rewind().check({"bucket": "kept", **spec})

    run(story())


def test_a_snapshot_keeps_what_it_shows(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            old = await here.put("a", "a0")
            await here.history()
            moments = here.session.moments
            made = await moments.create("kept", "monday", note="before the change")
            shown = {item.ref.key: item.id for item in (await here.session.list("kept", at=made.at)).items}
            await undo(here)
            newer = await here.put("a", "a4")
            for key, version_id in shown.items():
                with pytest.raises(ConflictError, match="monday"):
                    await here.delete(key, version_id)
            marker = next(
                one for one in (await here.session.versions("kept", prefix="gone")).items if one.delete_marker
            )
            with pytest.raises(ConflictError, match="monday"):  # it hides what is older
                await here.delete("gone", marker.id)
            await here.delete("a", old.id)  # nobody sees these in it
            await here.delete("a", newer.id)
            assert await here.texts(made.at) == THEN
            for verb in (
                here.session.delete_bucket("kept"),
                here.session.delete_bucket("kept", force=True),
                here.session.update_bucket("kept", versioning=False),
            ):
                with pytest.raises(ConflictError, match="monday"):
                    await verb
            assert await here.texts(made.at) == THEN
            with pytest.raises(AlreadyExistsError):
                await moments.create("kept", "monday")
            await moments.create("kept", "early", at=made.at - SECOND)
            assert [one.name for one in await moments.snapshots("kept")] == ["early", "monday"]
            assert await moments.snapshot("kept", "monday") == made
            await moments.delete("kept", "monday")
            with pytest.raises(NotFoundError):
                await moments.snapshot("kept", "monday")
            with pytest.raises(ConflictError, match="early"):
                await here.delete("b/y", shown["b/y"])
            await moments.delete("kept", "early")
            await here.delete("b/y", shown["b/y"])
            told = [line.action for line in await here.engine.catalog.audit("default")]
            assert told.count("create-snapshot") == told.count("delete-snapshot") == 2
            await here.session.delete_bucket("kept", force=True)

    run(story())


def test_what_is_written_at_the_same_moment_is_not_in_the_snapshot(catalog_url: str) -> None:
    """The clock stands still: the order of the transactions counts."""

    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.put("a", "a1")
            made = await here.session.moments.create("kept", "s")
            for number in range(3):
                await here.session.put("kept", "a", Body.of_bytes(b"later%d" % number))
                await here.session.put("kept", f"b{number}", Body.of_bytes(b"later"))
            await here.session.delete("kept", "a")
            assert await here.texts(made.at) == {"a": "a1"}

    run(story())


def test_retention_passes_over_what_a_snapshot_shows(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.session.update_bucket("kept", change=lambda held: changed(held, {"retention_days": 1}))
            await here.put("a", "a1")
            made = await here.session.moments.create("kept", "s")
            await here.put("a", "a2")
            here.clock.advance(2 * 86_400)
            assert await here.engine.expire() == 1
            assert await here.texts(made.at) == {"a": "a1"}
            await here.session.moments.delete("kept", "s")
            assert await here.engine.expire() > 0
            assert (await here.session.list("kept")).items == []

    run(story())


def test_a_difference_tells_each_key_once(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.history()
            then = await here.now()
            await undo(here)
            await here.put("b/y", "y1")  # the same again is no difference
            later = await here.now()
            await here.put("last", "l1")
            expected = {
                "a": Change.CHANGED,
                "b/x": Change.REMOVED,
                "back": Change.REMOVED,
                "gone": Change.ADDED,
                "new": Change.ADDED,
            }
            for until, limit in ((later, 100), (later, 1), (None, 2)):
                found, marker, pages = [], "", 0
                while True:
                    page = await here.session.moments.compare("kept", then, until, marker=marker, limit=limit)
                    found += page.changes
                    marker, pages = page.next_marker, pages + 1
                    if not marker:
                        break
                wanted = expected if until else {**expected, "last": Change.ADDED}
                assert {one.key: one.change for one in found} == wanted
                assert [one.key for one in found] == sorted(wanted)
                assert pages >= len(wanted) // limit
            none = await here.session.moments.compare("kept", later, later)
            assert none.changes == []
            with pytest.raises(InvalidRequestError):
                await here.session.moments.compare("kept", later, then)

    run(story())


@pytest.mark.parametrize("inline", [0, 1000])
def test_a_rewind_brings_everything_back_and_loses_nothing(catalog_url: str, inline: int) -> None:
    async def story() -> None:
        async with ground(catalog_url, inline=inline) as here:
            await here.history()
            then = await here.now()
            await undo(here)
            now = await here.now()
            here.clock.advance(1)
            before = await here.texts(now)
            blobs = {(row.store, row.blob) for row in await here.engine.catalog.replicas()}
            ran = await here.rewind(at=text_of(then), twice=True)
            assert ran.failures == []
            assert ran.counts.notes.get("back", 0) == 0  # it was done the first time
            assert await here.texts() == THEN
            assert await here.texts(now) == before  # nothing was destroyed
            assert {(row.store, row.blob) for row in await here.engine.catalog.replicas()} == blobs
            back = (await here.session.head("kept", "b/x"))[0]
            assert (back.tags, back.metadata) == ({"t": "1"}, {"m": "1"})
            recount = await here.engine.catalog.recount("default", "kept")
            assert await here.session.usage("kept") == recount
            here.clock.advance(1)
            again = await here.rewind(at=text_of(now), prefix="b/")
            assert again.counts.notes == {"hidden": 1}
            assert await here.texts() == {key: text for key, text in THEN.items() if key != "b/x"}

    run(story())


def test_a_rewind_leaves_what_is_newer_than_itself(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.history()
            then = await here.now()
            await undo(here)
            work = work_of(here.engine, Rewind(), {"bucket": "kept", "at": text_of(then)}, tenant="default")
            work = replace(work, job=replace(work.job, created=await here.now()))
            await here.put("a", "newest")
            await here.put("b/x", "other")
            await here.delete("b/x")  # a delete is as new as a put
            stretch = (await Rewind().split(work))[0]
            step = await Rewind().step(work, Part(work.job.id, 0, stretch.start, stretch.end))
            assert step.done
            assert step.counts.notes == {"newer": 2, "back": 1, "hidden": 2}
            assert await here.texts() == {"a": "newest", "b/y": "y1", "back": "k1"}

    run(story())


def test_a_clock_that_was_set_back_hides_nothing_from_a_rewind_or_a_clone(catalog_url: str) -> None:
    """What is written after a snapshot is dated behind it, whatever the clock says: so the job is meant to find it."""

    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.put("a", "one")
            await here.session.moments.create("kept", "first")
            here.clock.advance(-600)
            await here.put("a", "two")
            here.clock.advance(1)
            told = {}
            for kind, spec in (
                (CloneBucket(), {"bucket": "kept", "target": "twin"}),
                (Rewind(), {"bucket": "kept", "snapshot": "first"}),
            ):
                work = work_of(here.engine, kind, spec, tenant="default")
                work = replace(work, job=replace(work.job, created=await here.now()))
                stretch = (await kind.split(work))[0]
                step = await kind.step(work, Part(work.job.id, 0, stretch.start, stretch.end))
                told[kind.name] = (step.counts.done, step.failures)
            assert told == {"clone": (1, []), "rewind": (1, [])}
            assert await here.texts() == {"a": "one"}
            assert await content(here.session, "twin", "a") == b"two"

    run(story())


def test_what_was_removed_for_good_is_told_as_a_gap(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            first = await here.put("a", "a1")
            lost = await here.put("a", "a2")
            then = await here.now()
            await here.put("a", "a3")
            await here.put("whole", "w")
            await here.delete("a", lost.id)
            assert await here.texts(then) == {"a": "a1"}  # as far as anybody can know
            assert first.id == await here.session.moments.version_id("kept", "a", then)
            found = await here.session.moments.compare("kept", then)
            assert {one.key: one.gap for one in found.changes} == {"a": True, "whole": False}
            work = work_of(here.engine, Rewind(), {"bucket": "kept", "at": text_of(then)}, tenant="default")
            notes = "\n".join((await Rewind().forecast(work)).notes)
            assert "1 objects come back as new versions, 1 are hidden" in notes
            assert "1 keys have lost versions" in notes
            assert "removed for good" in notes
            ran = await here.rewind(at=text_of(then))
            assert ran.result["gaps"] == 1

    run(story())


def test_snapshots_need_permission_and_go_with_their_tenant(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            reader = here.engine.session(Principal("r", "default", "reader"))
            for verb in (reader.moments.create("kept", "s"), reader.moments.delete("kept", "s")):
                with pytest.raises(PermissionDeniedError):
                    await verb
            assert await reader.moments.snapshots("kept") == []
            await here.put("a", "a1")
            await here.session.moments.create("kept", "s")
            catalog = here.engine.catalog
            await catalog.delete_tenant("default", grace=0)
            here.clock.advance(600)
            assert await here.engine.remove_tenants() == ["default"]

    run(story())


def test_times_are_read_as_they_are_written() -> None:
    assert time_of("2027-01-31") == time_of("2027-01-31T00:00:00Z") == time_of("2027-01-31T01:00:00+01:00")
    for at in (0, 1, 1_800_000_000_123_456, 1_800_000_000_000_000):
        assert time_of(text_of(at)) == at
    for text in ("", "now", "2027-01-31T00:00:00", "2027-13-01"):
        with pytest.raises(HoldfastError):
            time_of(text)
