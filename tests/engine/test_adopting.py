"""What others wrote, adopted where it lies: every name, nothing copied, nothing deleted, and again without harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.core.adopted import (
    Divergence,
    Found,
    HeldKey,
    Hold,
    Verdict,
    Way,
    foreign_name,
    is_kept,
    key_of,
    parse_foreign,
)
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError, NotFoundError, UnavailableError
from holdfast.core.names import BACKUPS
from holdfast.core.types import ByteRange, Quota
from holdfast.engine.engine import Engine
from holdfast.engine.replicas import reconcile
from holdfast.jobs import adopt
from holdfast.jobs.adopt import Adopt
from holdfast.jobs.reconcile import walk
from holdfast.policy.following import judge, shrank
from holdfast.policy.placement import Match, Rule
from tests.engine.alone import Ran, run_alone
from tests.engine.outage import Ground, whereabouts
from tests.helpers import content, local_store, noise, run, sha256

pytestmark = pytest.mark.engine

S = 1_000_000
KEYS = ("a b", "a/b", "a//c", "ü=%41", "x+y", "trail ", "d:ot.csv", "q?w#e", "n.floe1", "n:about")


async def foreign(store: Any, key: str, data: bytes, **how: Any) -> None:
    await store.put(foreign_name(key), Body.of_bytes(data), options=PutOptions(**how))


async def adopted(engine: Engine, *, twice: bool = False, **spec: Any) -> Ran:
    told = {"store": "spare", "tenant": "default", "bucket": "plain", **spec}
    return await run_alone(engine, Adopt(), told, twice=twice)


async def keys(session: Any) -> list[str]:
    return [item.ref.key for item in (await session.list("plain", limit=1000)).items]


def test_every_name_comes_back_as_it_was() -> None:
    for key in (*KEYS, "ends=", "=", "=41", "\udcff", "@keep:x/y"):
        for pin, hold in (("", Hold.ANY), ('W/"a/b"', Hold.KEEP), ("1=2", Hold.OWN)):
            name = foreign_name(key, pin, hold)
            assert name.isascii()
            assert parse_foreign(name) == (hold, pin, key)
            assert is_kept(name) == (hold is Hold.KEEP)
    assert key_of("") == ""
    with pytest.raises(InvalidRequestError):
        parse_foreign("tenant/2026/blob")


def test_objects_are_adopted_and_read_and_nothing_is_copied(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            for number, key in enumerate(KEYS):
                await foreign(ground.spare, key, noise(1000 + number, number))
            await foreign(ground.spare, "big", noise(3 << 20))
            puts = ground.spare.puts
            ran = await adopted(engine)
            assert (ran.counts.done, ran.counts.failed) == (len(KEYS) + 1, 0)
            assert await keys(session) == sorted([*KEYS, "big"])
            for number, key in enumerate(KEYS):
                assert await content(session, "plain", key) == noise(1000 + number, number)
            async with session.get("plain", "big", range=ByteRange(5, 1 << 20)) as reader:
                assert await reader.read() == noise(3 << 20)[5 : (1 << 20) + 1]
            version = (await session.head("plain", "d:ot.csv"))[0]
            assert version.content_type == "text/csv"
            usage = await session.usage("plain")
            assert (usage.objects, usage.bytes) == (11, sum(1000 + n for n in range(10)) + (3 << 20))
            assert ground.spare.puts == puts
            assert await engine.catalog.recount("default", "plain") == usage
            again = await adopted(engine, twice=True)
            assert (again.counts.done, again.counts.notes) == (0, {"same": 11})
            assert await whereabouts(engine, session, "plain", "big") == ["spare"]

    run(story())


def test_a_step_done_twice_and_a_prefix(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            for key in ("in/a", "in/b", "other"):
                await foreign(ground.spare, key, key.encode())
            spec = {"store": "spare", "tenant": "default", "bucket": "plain", "prefix": "in/", "add": "new/"}
            await run_alone(engine, Adopt(), spec, twice=True)
            assert await keys(session) == ["new/a", "new/b"]
            assert (await session.usage("plain")).objects == 2
            await adopted(engine, prefix="in/", strip="")
            refused = await adopted(engine, prefix="in/", strip="")
            assert [failure.code for failure in refused.failures] == ["refused"] * 2
            assert "adopted already" in refused.failures[0].message

    run(story())


def test_what_changed_is_a_new_version_and_a_reader_never_gets_the_other_one(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await foreign(ground.spare, "k", b"first" * 400_000)
            await adopted(engine)
            ground.advance(10)
            await foreign(ground.spare, "k", b"other" * 400_000)
            first = (await session.head("plain", "k"))[0]
            with pytest.raises(UnavailableError, match=r"no copy of plain/k"):
                async with session.get("plain", "k", version_id=first.id) as reader:
                    await reader.read()
            assert await content(session, "plain", "k") == b"other" * 400_000  # looked for anew
            ground.advance(10)
            await foreign(ground.spare, "k", b"third" * 400_000)
            ran = await adopted(engine)
            assert ran.counts.notes == {"changed": 1}
            assert await content(session, "plain", "k") == b"third" * 400_000
            usage = await session.usage("plain")
            assert (usage.objects, usage.versions) == (1, 1)
            ground.advance(200)
            await engine.sweep()
            assert await content(session, "plain", "k") == b"third" * 400_000
            await ground.spare.delete(foreign_name("k"))
            with pytest.raises(NotFoundError, match="has it no more"):
                await content(session, "plain", "k")

    run(story())


@pytest.mark.parametrize("keep", [True, False])
def test_a_deleted_object_stays_deleted_and_its_bytes_are_theirs_or_ours(
    keep: bool, catalog_url: str
) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await foreign(ground.spare, "k", b"k")
            await foreign(ground.spare, "changed", b"1")
            await adopted(engine, keep=keep)
            await session.delete("plain", "k")
            await session.delete("plain", "changed")
            await foreign(ground.spare, "changed", b"2")
            await adopted(engine, keep=keep)
            assert await keys(session) == ["changed"]
            ground.advance(200)
            await engine.sweep()
            left = [key_of(info.name) async for info in ground.spare.list("@any:/")]
            assert left == (["changed", "k"] if keep else ["changed"])
            await adopted(engine, keep=keep)
            assert await keys(session) == ["changed"]
            ground.advance(10)
            await foreign(ground.spare, "k", b"again")
            await adopted(engine, keep=keep)
            assert await content(session, "plain", "k") == b"again"
            assert {row.state for row in await engine.catalog.replicas()} == {"live"}

    run(story())


def test_an_adopted_version_moves_home_like_any_other_and_learns_its_digests(catalog_url: str) -> None:
    async def story() -> None:
        ground, data = Ground(catalog_url), noise(700_000)
        async with ground.opened(Rule("r", ("home",), Match(buckets=("plain",)))) as (engine, session):
            await foreign(
                ground.spare, "k", data, content_type="text/x-own", metadata={"m": "v"}, tags={"t": "1"}
            )
            await adopted(engine, heads=True)
            version = (await session.head("plain", "k"))[0]
            assert (version.content_type, version.metadata, version.tags) == (
                "text/x-own",
                {"m": "v"},
                {"t": "1"},
            )
            assert version.digests.sha256 is None
            report = await walk(engine)
            assert report.moved == 1
            assert await whereabouts(engine, session, "plain", "k") == ["home"]
            ground.advance(200)
            await engine.sweep()
            assert (await ground.spare.head(foreign_name("k"))).size == len(data)
            assert await content(session, "plain", "k") == data
            assert (await session.head("plain", "k"))[0].digests.sha256 == sha256(data)
            assert (await adopted(engine)).counts.notes == {"same": 1}

    run(story())


def test_what_vanished_is_told_and_stays_until_somebody_deletes_it(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            for key in ("in/a", "in/b", "in/c", "other"):
                await foreign(ground.spare, key, key.encode())
            await adopted(engine, strip="")
            for key in ("in/a", "in/c", "other"):
                await ground.spare.delete(foreign_name(key))
            ran = await adopted(engine, prefix="in/", strip="")
            assert ran.counts.notes == {"same": 1, "vanished": 2}
            assert [(one.key, one.code) for one in ran.failures] == [
                ("in/a", "vanished"),
                ("in/c", "vanished"),
            ]
            assert await keys(session) == ["in/a", "in/b", "in/c", "other"]

    run(story())


def test_digests_are_read_where_that_is_asked_for(sqlite_url: str) -> None:
    async def story() -> None:
        ground, data = Ground(sqlite_url), noise(300_000)
        async with ground.opened() as (engine, session):
            await foreign(ground.spare, "k", data)
            await adopted(engine, digests="read")
            assert (await session.head("plain", "k"))[0].digests.sha256 == sha256(data)
            assert await content(session, "plain", "k") == data

    run(story())


def test_our_own_blobs_and_bad_names_are_not_adopted(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(default=("spare",)) as (engine, session):
            await session.put("plain", "ours", Body.of_bytes(b"x" * 100_000))
            for key in ("../up", "a/./b", "ok", "line\nfeed"):
                await foreign(ground.spare, key, b"1")
            ran = await adopted(engine)
            assert ran.counts.notes == {"minted": 1, "refused": 3, "taken": 1}
            assert [failure.key for failure in ran.failures] == ["../up", "a/./b", "line\nfeed"]
            assert await keys(session) == ["ok", "ours"]

    run(story())


def test_backups_of_this_service_are_not_adopted(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            await foreign(ground.spare, f"{BACKUPS}set/1", b"rows of all tenants")
            assert (await adopted(engine)).counts.notes == {"minted": 1}
            assert await keys(session) == []

    run(story())


def test_a_version_that_was_deleted_does_not_come_back_over_an_older_one(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await foreign(ground.spare, "k", b"first")
            await adopted(engine, bucket="kept")
            ref = (await session.head("kept", "k"))[0].ref
            first = (await session.head("kept", "k"))[0].id
            await reconcile(engine.context, ref, first)
            ground.advance(10)
            await foreign(ground.spare, "k", b"second")
            await adopted(engine, bucket="kept")
            second = (await session.head("kept", "k"))[0].id
            assert second != first
            ground.advance(10)
            await session.delete("kept", "k", version_id=second)
            assert (await adopted(engine, bucket="kept")).counts.notes == {"ours": 1}
            assert await content(session, "kept", "k") == b"first"
            ground.advance(10)
            await foreign(ground.spare, "k", b"third")
            await adopted(engine, bucket="kept")
            assert await content(session, "kept", "k") == b"third"

    run(story())


def test_a_quota_is_filled_and_not_passed(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await session.update_bucket(
                "plain", change=lambda old: type(old)(quota=Quota(max_bytes=35)) if old else old
            )
            for number in range(5):
                await foreign(ground.spare, f"k{number}", b"x" * 10)
            ran = await adopted(engine)
            assert ran.counts.notes == {"taken": 3, "refused": 2}
            assert "quota" in ran.failures[0].message
            assert (await session.quota("plain")).bytes == 30

    run(story())


def test_a_folder_of_files(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        root = tmp_path / "theirs"
        files = {"a.txt": b"1", "b/a b.txt": b"22", "b/%c.txt": b"333", "ü/é.bin": b"4444", "#x#": b"5"}
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        (root / "link").symlink_to(tmp_path)
        ground = Ground(sqlite_url)
        ground.stores["theirs"] = local_store("theirs", root, ground.environment).backend  # type: ignore[assignment]
        async with ground.opened(default=("theirs",)) as (engine, session):
            await session.put("plain", "ours", Body.of_bytes(b"x" * 100_000))
            ran = await run_alone(
                engine, Adopt(), {"store": "theirs", "tenant": "default", "bucket": "plain"}
            )
            assert ran.counts.notes == {"taken": 5}
            for name, data in files.items():
                assert await content(session, "plain", name) == data
            (root / "a.txt").write_bytes(b"another")
            assert await content(session, "plain", "a.txt") == b"another"
            for name in files:
                await session.delete("plain", name)
            ground.advance(200)
            await engine.sweep()
            assert (root / "b/%c.txt").read_bytes() == b"333"

    run(story())


def test_a_run_goes_on_where_it_stood(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "BATCH", 10)
    monkeypatch.setattr(adopt, "_STEP", 20)

    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            for number in range(95):
                await foreign(ground.spare, f"k{number:03}", b"x")
            ran = await adopted(engine)
            assert ran.counts.done == 95
            assert len(await keys(session)) == 95

    run(story())


def test_a_spec_is_checked() -> None:
    good = {"store": "s", "tenant": "default", "bucket": "plain"}
    for bad in (
        {"digests": "all"},
        {"prefix": "a/", "strip": "b"},
        {"keep": "yes"},
        {"other": 1},
        {"bucket": "X"},
    ):
        with pytest.raises(InvalidRequestError):
            Adopt().check({**good, **bad})


def told(modified: int = 5 * S, pin: str = "p") -> Found:
    return Found("k", "k", 1, pin, modified)


def gone(at: int, pin: str = "", *, owed: bool = True, version_id: str = "", modified: int = 0) -> Divergence:
    return Divergence("k", version_id, at, pin, modified, owed)


@pytest.mark.parametrize(
    ("found", "held", "way", "verdict"),
    [
        (told(), HeldKey("k"), Way(), "take"),
        (told(5 * S + 999_999), HeldKey("k", "v", 5 * S, "p"), Way(), "same"),
        (told(pin="q"), HeldKey("k", "v", 5 * S, "p"), Way(), "take"),
        (told(6 * S), HeldKey("k", "v", 5 * S, "p"), Way(), "take"),
        (told(9 * S), HeldKey("k", "v", 5 * S), Way(), "ours"),
        (told(9 * S), HeldKey("k", "v", 5 * S), Way(True), "take"),
        (told(5 * S), HeldKey("k", "v", 5 * S), Way(True), "ours"),
        (told(5 * S), HeldKey("k", divergence=gone(7 * S)), Way(), "ours"),
        (told(5 * S), HeldKey("k", divergence=gone(4 * S, "p", modified=5 * S)), Way(), "ours"),
        (told(8 * S), HeldKey("k", divergence=gone(7 * S, "p", modified=5 * S)), Way(), "take"),
        (told(9 * S), HeldKey("k", "v", 5 * S, divergence=gone(7 * S, version_id="v")), Way(True), "take"),
        (
            told(9 * S),
            HeldKey("k", "v", 5 * S, divergence=gone(7 * S, version_id="v")),
            Way(True, True),
            "ours",
        ),
        (told(7 * S), HeldKey("k", "v", divergence=gone(7 * S, version_id="v")), Way(True), "ours"),
        (
            told(8 * S, "q"),
            HeldKey("k", "v", divergence=gone(7 * S, "p", owed=False, version_id="v", modified=7 * S)),
            Way(True, True),
            "take",
        ),
        (
            told(6 * S, "q"),
            HeldKey("k", "v", divergence=gone(7 * S, "p", owed=False, version_id="v", modified=7 * S)),
            Way(True, True),
            "ours",
        ),
    ],
)
def test_which_is_newer(found: Found, held: HeldKey, way: Way, verdict: str) -> None:
    assert judge(found, held, way, certain=True) == verdict
    doubted = judge(found, held, way)
    assert doubted == (
        Verdict.LOOK if verdict == "take" and (held.version_id or held.divergence) else verdict
    )


def test_a_listing_that_shrank_is_not_believed() -> None:
    assert not shrank(100, 1000, share=0.1)
    assert shrank(101, 1000, share=0.1)
    assert not shrank(0, 0, share=0.1)
    assert not shrank(1, 4, share=0.1)  # one may always go
    assert shrank(2, 4, share=0.1)
    assert shrank(1, 1, share=0.9)  # but not all
    assert shrank(50, 1000, share=0.1, empty=True)  # of which others were written here
    assert not shrank(20, 20, share=1.0, empty=True)
