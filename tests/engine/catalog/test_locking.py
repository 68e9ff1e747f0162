"""Holds and locks: no transaction removes what they keep, whichever way it is asked; and rules look once more."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from holdfast.catalog.contract import Actor, Seen
from holdfast.core.errors import ConflictError, HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.lifecycle import LifecycleRule
from holdfast.core.retention import DefaultLock, Keeping, LockMode
from holdfast.core.types import Deleted, Version
from tests.engine.catalog.support import GRACE, Desk, desk_at, run

pytestmark = pytest.mark.engine

DAY = 86_400
SECOND = 1_000_000
GOVERNANCE, COMPLIANCE = LockMode.GOVERNANCE, LockMode.COMPLIANCE
RULES = (LifecycleRule("old", expire_days=1, noncurrent_days=1),)
NOTHING = Deleted(None)


async def until(desk: Desk, days: float) -> int:
    return await desk.catalog.now() + int(days * DAY * 1_000_000)


async def lock(desk: Desk, version: Version, mode: LockMode = COMPLIANCE, days: float = 10) -> Keeping:
    found = await desk.catalog.set_lock(version.ref, version.id, mode, await until(desk, days))
    return found[1]


async def ids(desk: Desk, bucket: str) -> list[str]:
    return [version.id for version in (await desk.catalog.list_versions("t", bucket)).items]


def test_nothing_removes_a_locked_version_before_its_time(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k", "kept")
            await lock(desk, made, days=1)
            with pytest.raises(ConflictError, match="retention lock ends"):
                await desk.delete("k", "kept", made.id)
            marker = await desk.delete("k", "kept")  # only hides it
            assert marker.delete_marker
            assert await ids(desk, "kept") == [marker.version_id, made.id]
            with pytest.raises(ConflictError):
                await desk.delete("k", "kept", made.id)
            desk.advance(DAY + 1)
            assert (await desk.delete("k", "kept", made.id)).version_id == made.id

    run(story())


def test_a_hold_keeps_until_it_is_cleared(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k")
            assert await desk.catalog.set_hold(made.ref, None, True, reason="case 7", actor=Actor("ann")) == (
                made.id,
                Keeping(hold=True),
            )
            with pytest.raises(ConflictError, match="legal hold"):
                await desk.delete("k")
            with pytest.raises(ConflictError, match="legal hold"):
                await desk.put("k")
            assert await ids(desk, "plain") == [made.id]
            assert await desk.catalog.usage("t", "plain") == await desk.catalog.recount("t", "plain")
            await desk.catalog.set_hold(made.ref, made.id, True, actor=Actor("bob"))  # it is so already
            await desk.catalog.set_hold(made.ref, made.id, False, actor=Actor("ann"))
            newer = await desk.put("k")
            assert await ids(desk, "plain") == [newer.id]
            told = [
                (line.action, line.principal, line.detail.get("reason"))
                for line in await desk.catalog.audit("t")
                if "hold" in line.action
            ]
            assert told == [("set-hold", "ann", "case 7"), ("clear-hold", "ann", None)]

    run(story())


def test_a_version_that_is_kept_is_not_overwritten_where_no_versions_are_kept(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k", "kept")
            await lock(desk, made)
            await desk.catalog.update_bucket("t", "kept", versioning=False)
            with pytest.raises(ConflictError):
                await desk.put("k", "kept")
            with pytest.raises(ConflictError):
                await desk.put_inline("k", "kept")
            with pytest.raises(ConflictError):
                await desk.delete("k", "kept")
            assert (await desk.catalog.resolve(made.ref)).version.id == made.id
            use = await desk.catalog.usage("t", "kept")
            assert (use.objects, use.versions, use.bytes) == (1, 1, 5)

    run(story())


def test_a_lock_needs_versions_and_a_version(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k")
            with pytest.raises(ConflictError, match="versioning"):
                await lock(desk, made)
            with pytest.raises(NotFoundError):
                await desk.catalog.set_hold(desk.ref("nothing"), None, True)
            with pytest.raises(NotFoundError):
                await desk.catalog.set_hold(made.ref, "other", True)
            with pytest.raises(NotFoundError):
                await desk.catalog.set_hold(desk.ref("k", "no-bucket"), None, True)
            await desk.put("k", "kept")
            marker = await desk.delete("k", "kept")
            with pytest.raises(InvalidRequestError, match="delete marker"):
                await desk.catalog.set_hold(desk.ref("k", "kept"), marker.version_id, True)
            with pytest.raises(NotFoundError):  # what a reader finds is nothing
                await desk.catalog.set_hold(desk.ref("k", "kept"), None, True)

    run(story())


@pytest.mark.parametrize(
    ("mode", "days", "reason", "allowed"),
    [
        (GOVERNANCE, 20, "", True),
        (COMPLIANCE, 10, "", True),
        (GOVERNANCE, 5, "", False),
        (None, None, "", False),
        (GOVERNANCE, 5, "the court said so", True),
        (None, None, "the court said so", True),
    ],
)
def test_governance_gives_way_to_a_reason(
    sqlite_url: str, mode: LockMode | None, days: int | None, reason: str, allowed: bool
) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            made = await desk.put("k", "kept")
            await lock(desk, made, GOVERNANCE)
            end = None if days is None else await until(desk, days)
            change = desk.catalog.set_lock(made.ref, made.id, mode, end, reason=reason, actor=Actor("ann"))
            if not allowed:
                with pytest.raises(ConflictError, match="reason"):
                    await change
                return
            assert (await change)[1] == Keeping(False, mode, end)
            told = (await desk.catalog.audit("t"))[-1]
            assert (told.action, told.principal) == ("set-lock", "ann")
            assert told.detail.get("reason") == (reason or None)
            assert ("bypassed" in told.detail) == bool(reason)

    run(story())


@pytest.mark.parametrize(("mode", "days"), [(GOVERNANCE, 20), (COMPLIANCE, 5), (None, None)])
def test_compliance_gives_way_to_nothing(sqlite_url: str, mode: LockMode | None, days: int | None) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            made = await desk.put("k", "kept")
            held = await lock(desk, made)
            end = None if days is None else await until(desk, days)
            with pytest.raises(ConflictError, match="nobody"):
                await desk.catalog.set_lock(made.ref, made.id, mode, end, reason="please")
            assert await desk.catalog.keeping(made.ref) == (made.id, held)
            longer = await lock(desk, made, days=11)
            assert (longer.until or 0) > (held.until or 0)
            desk.advance(12 * DAY)
            assert (await desk.catalog.set_lock(made.ref, made.id, None, None))[1] == Keeping()

    run(story())


def test_a_bucket_locks_what_is_made_in_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            wanted = DefaultLock(COMPLIANCE, 3)
            with pytest.raises(InvalidRequestError, match="keeps versions"):
                await desk.catalog.update_bucket(
                    "t", "plain", change=lambda held: replace(held, default_lock=wanted)
                )
            earlier = await desk.put("k", "kept")
            await desk.catalog.update_bucket(
                "t", "kept", change=lambda held: replace(held, default_lock=wanted)
            )
            with pytest.raises(InvalidRequestError):
                await desk.catalog.update_bucket("t", "kept", versioning=False)
            for made in (await desk.put("k", "kept"), await desk.put_inline("i", "kept")):
                _, keeping = await desk.catalog.keeping(made.ref)
                assert keeping == Keeping(False, COMPLIANCE, made.created + 3 * DAY * 1_000_000)
            await desk.delete("k", "kept", earlier.id)
            with pytest.raises(ConflictError):
                await desk.delete("k", "kept", (await desk.catalog.resolve(desk.ref("k", "kept"))).version.id)

    run(story())


def test_a_clock_that_was_ahead_ends_no_lock(catalog_url: str) -> None:
    """A snapshot of a time that is yet to come puts what is made later behind it, but no lock is over before its time."""

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            wanted = DefaultLock(COMPLIANCE, 3)
            old = await desk.put("k", "kept")
            await desk.put("k", "kept")
            await lock(desk, old, days=30)
            desk.advance(400 * DAY)
            snapshot = await desk.catalog.create_snapshot("t", "kept", "ahead")
            desk.advance(-400 * DAY)
            with pytest.raises(ConflictError, match="retention lock ends"):
                await desk.delete("k", "kept", old.id)
            await desk.catalog.update_bucket(
                "t", "kept", change=lambda held: replace(held, default_lock=wanted, retention_days=5)
            )
            made = await desk.put("new", "kept")
            assert made.created > snapshot.at
            now = await desk.catalog.now()
            assert (await desk.catalog.keeping(made.ref))[1] == Keeping(
                False, COMPLIANCE, now + 3 * DAY * SECOND
            )
            assert (await desk.catalog.file_facts("t", made.id)).expires == now + 5 * DAY * SECOND
            with pytest.raises(ConflictError, match="retention lock ends"):
                await desk.delete("new", "kept", made.id)
            desk.advance(4 * DAY)
            await desk.delete("new", "kept", made.id)  # it is over when it said
            desk.advance(GRACE / SECOND + 1)
            assert len(await desk.catalog.doomed()) == 1

    run(story())


def test_retention_waits_for_a_lock_and_nothing_comes_back(catalog_url: str) -> None:
    """The newest goes by age while an older one is kept: readers still find nothing."""

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.update_bucket("t", "kept", change=lambda held: replace(held, retention_days=1))
            older = await desk.put("k", "kept")
            newer = await desk.put("k", "kept")
            await lock(desk, older, days=5)
            desk.advance(2 * DAY)
            due = await desk.catalog.due()
            assert [one.version_id for one in due] == [newer.id]
            assert await desk.delete("k", "kept", older.id, if_due=True) == NOTHING
            gone = await desk.delete("k", "kept", newer.id, if_due=True)
            assert gone.delete_marker
            assert await ids(desk, "kept") == [gone.version_id, older.id]
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("k", "kept"))
            assert await desk.catalog.usage("t", "kept") == await desk.catalog.recount("t", "kept")
            desk.advance(4 * DAY)
            for one in await desk.catalog.due():
                await desk.delete("k", "kept", one.version_id, if_due=True)
            for one in await desk.catalog.due():
                await desk.delete("k", "kept", one.version_id, if_due=True)
            assert await ids(desk, "kept") == []

    run(story())


def test_it_is_told_what_a_bucket_or_tenant_keeps(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k", "kept")
            assert await desk.catalog.kept("t") == ""
            await lock(desk, made, days=5)
            assert "kept/k" in await desk.catalog.kept("t", "kept")
            assert await desk.catalog.kept("t", "plain") == ""
            assert await desk.catalog.kept("t", at=await until(desk, 6)) == ""
            with pytest.raises(ConflictError, match="locked until"):
                await desk.catalog.delete_tenant("t", grace=3 * DAY * 1_000_000)
            with pytest.raises(ConflictError, match="keys are not destroyed"):
                await desk.catalog.destroy_tenant_keys("t")
            await desk.catalog.set_hold(made.ref, None, True)
            assert "legal hold" in await desk.catalog.kept("t")
            with pytest.raises(ConflictError, match="legal hold"):
                await desk.catalog.delete_tenant("t", grace=6 * DAY * 1_000_000)
            await desk.catalog.set_hold(made.ref, None, False)
            await desk.catalog.delete_tenant("t", grace=6 * DAY * 1_000_000)

    run(story())


def test_what_rules_remove_is_looked_at_once_more(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.update_bucket("t", "kept", change=lambda held: replace(held, lifecycle=RULES))
            older, newer = await desk.put("k", "kept"), await desk.put("k", "kept")
            was = replace(older, current=False)
            for seen in (
                Seen(older, RULES),  # it is not the newest any more
                Seen(was, ()),  # the rules are others
                Seen(was, RULES, newer=1),  # one noncurrent version newer than it is to stay
                Seen(replace(was, tags={"a": "b"}), RULES),  # it was described otherwise
                Seen(replace(was, id="gone"), RULES),
            ):
                assert await desk.delete("k", "kept", older.id, if_as=seen) == NOTHING
            assert await desk.delete("k", "kept", if_as=Seen(replace(newer, id="x"), RULES)) == NOTHING
            assert await ids(desk, "kept") == [newer.id, older.id]
            gone = await desk.delete("k", "kept", older.id, if_as=Seen(was, RULES))
            assert gone.version_id == older.id
            marker = await desk.delete("k", "kept", if_as=Seen(newer, RULES))
            assert marker.delete_marker
            hidden = (await desk.catalog.list_versions("t", "kept")).items[0]
            assert await desk.delete("k", "kept", hidden.id, if_as=Seen(hidden, RULES)) == NOTHING
            await desk.delete("k", "kept", newer.id)
            assert (await desk.delete("k", "kept", hidden.id, if_as=Seen(hidden, RULES))).delete_marker
            assert await ids(desk, "kept") == []

    run(story())


def test_a_lock_and_a_delete_at_once_are_one_after_the_other(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for number in range(20):
                made = await desk.put(f"k{number}", "kept")
                done = await asyncio.gather(
                    desk.delete(made.ref.key, "kept", made.id), lock(desk, made), return_exceptions=True
                )
                assert sum(isinstance(one, HoldfastError) for one in done) == 1
                there = made.id in await ids(desk, "kept")
                assert there == isinstance(done[0], ConflictError)
                assert there == isinstance(done[1], Keeping)
                assert there or isinstance(done[1], NotFoundError)

    run(story())


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_asked_a_version_that_is_kept_is_there(catalog_url: str, seed: int) -> None:
    """Random verbs, and a model of what must be there: held ones, and locked ones until their time."""

    async def story() -> None:
        chance = random.Random(seed)
        async with desk_at(catalog_url) as desk:
            await desk.catalog.update_bucket("t", "kept", change=lambda held: replace(held, lifecycle=RULES))
            held: dict[str, int] = {}  # version: kept until then
            made: dict[str, Version] = {}
            tried = defaultdict(int)
            for _ in range(120):
                key, bucket = chance.choice("ab"), chance.choice(["kept", "plain"])
                known = [one for one in made.values() if (one.ref.key, one.ref.bucket) == (key, bucket)]
                one = chance.choice(known) if known else None
                verb = chance.choice(
                    ["put", "put", "delete", "version", "due", "rule", "hold", "lock", "flip", "wait"]
                )
                tried[verb] += 1
                try:
                    if verb == "put":
                        new = await desk.put(key, bucket)
                        made[new.id] = new
                    elif verb == "delete":
                        await desk.delete(key, bucket)
                    elif verb == "wait":
                        desk.advance(DAY // 4)
                    elif verb == "flip":
                        await desk.catalog.update_bucket("t", "kept", versioning=chance.random() < 0.7)
                    elif one is None:
                        continue
                    elif verb == "version":
                        await desk.delete(key, bucket, one.id)
                    elif verb == "due":
                        await desk.delete(key, bucket, one.id, if_due=True)
                    elif verb == "rule":
                        seen = Seen(replace(one, current=chance.random() < 0.5), RULES)
                        await desk.delete(key, bucket, chance.choice([None, one.id]), if_as=seen)
                    elif verb == "hold":
                        on = chance.random() < 0.6
                        await desk.catalog.set_hold(one.ref, one.id, on)
                        held[one.id] = (
                            1 << 62 if on else (await desk.catalog.keeping(one.ref, one.id))[1].until or 0
                        )
                    else:
                        keeping = await lock(desk, one, days=chance.choice([0.3, 1, 2]))
                        held[one.id] = 1 << 62 if keeping.hold else keeping.until or 0
                except HoldfastError:
                    pass
                now = await desk.catalog.now()
                there = {*await ids(desk, "kept"), *await ids(desk, "plain")}
                assert {version_id for version_id, end in held.items() if end > now} <= there
            for name in ("kept", "plain"):
                assert await desk.catalog.usage("t", name) == await desk.catalog.recount("t", name)
            assert len(tried) == 9

    run(story())


def test_grace_and_bytes_of_what_is_kept_stay(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            made = await desk.put("k", "kept")
            await lock(desk, made)
            with pytest.raises(ConflictError):
                await desk.delete("k", "kept", made.id)
            desk.advance(GRACE)
            assert set((await desk.states()).values()) == {"live"}

    run(story())
