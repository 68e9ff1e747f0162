"""What a restore puts back where, what it leaves alone, and which backups rest on which."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.types import BucketSettings, Quota
from holdfast.engine.backups.shelf import described, shown
from holdfast.engine.session import Session
from holdfast.jobs.backup_care import BackupPrune
from holdfast.jobs.drill import Drill
from holdfast.jobs.fsck import Fsck
from tests.engine.alone import run_alone
from tests.engine.vault import Vault, all_rows, backed_up, furnish, ran, read_all, restored, session
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine
PLAIN = {"plain": True}


async def put(who: Session, bucket: str, key: str, data: bytes) -> None:
    await who.put(bucket, key, Body.of_bytes(data))


def test_what_is_newer_stays_unless_it_is_told_otherwise(catalog_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(catalog_url) as engine:
            await furnish(engine)
            who = session(engine)
            for bucket in ("plain", "kept"):
                await put(who, bucket, "changed", b"old")
                await put(who, bucket, "removed", b"old")
                await put(who, bucket, "same", b"same")
            await backed_up(engine, **PLAIN)
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            for bucket in ("plain", "kept"):
                await put(who, bucket, "changed", b"new")
                await who.delete(bucket, "removed")
            left = await restored(engine, "latest")
            assert not left.failures
            assert await content(who, "plain", "changed") == await content(who, "kept", "changed") == b"new"
            assert await content(who, "plain", "removed") == b"old"
            with pytest.raises(NotFoundError):  # its delete marker is newer than the backup
                await content(who, "kept", "removed")
            told = await restored(engine, "latest", overwrite=True, twice=True)
            assert not told.failures
            for bucket in ("plain", "kept"):
                assert await content(who, bucket, "changed") == b"old"
                assert await content(who, bucket, "removed") == b"old"
                assert await content(who, bucket, "same") == b"same"
                usage = await engine.catalog.usage("default", bucket)
                assert usage == await engine.catalog.recount("default", bucket)
            kept = await engine.catalog.list_versions("default", "kept", prefix="changed")
            assert [one.size for one in kept.items] == [3, 3, 3]
            plain = await engine.catalog.list_versions("default", "plain")
            assert len(plain.items) == 3

    run(story())


def test_a_key_a_prefix_a_time_and_another_bucket(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            who, clock = session(engine), vault.environment.clock
            await put(who, "kept", "a/1", b"one")
            noon = clock.now()
            clock.advance(60)  # type: ignore[attr-defined]
            await put(who, "kept", "a/1", b"two")
            await put(who, "kept", "a/2", b"three")
            await put(who, "kept", "b", b"four")
            await backed_up(engine, tenant="default", bucket="kept", **PLAIN)
            place = {"tenant": "default", "bucket": "kept"}
            assert (await restored(engine, "latest", **place, key="b", into="one")).counts.done == 1
            assert await content(who, "one", "b") == b"four"
            assert (await restored(engine, "latest", **place, prefix="a/", into="some")).counts.done == 3
            assert await content(who, "some", "a/1") == b"two"
            at = datetime.fromtimestamp(noon / 1e6 + 1, UTC).isoformat()
            assert (
                await restored(engine, "latest", **place, at=at, into="then", twice=True)
            ).counts.skipped == 1
            assert await content(who, "then", "a/1") == b"one"
            with pytest.raises(NotFoundError):
                await content(who, "then", "b")
            # ids that are taken are given anew, and the same ones the next time
            again = await restored(engine, "latest", **place, at=at, into="then")
            assert (
                again.counts.done,
                len((await engine.catalog.list_versions("default", "then")).items),
            ) == (0, 1)
            assert (await restored(engine, "latest", **place)).counts.skipped == 4
            assert (await engine.catalog.bucket("default", "some")).versioning

    run(story())


def test_an_incremental_backup_writes_only_what_is_new_and_rests_on_the_others(
    sqlite_url: str, tmp_path: Path
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            who = session(engine)
            sets = []
            for day in range(4):
                for number in range(3):
                    await put(who, "kept", f"k{number}", noise(20_000, day * 10 + number))
                sets.append(await backed_up(engine, incremental=True, twice=day == 2, **PLAIN))
                vault.environment.clock.advance(86_400)  # type: ignore[attr-defined]
            assert [one.result["written"] for one in sets] == [3, 3, 3, 3]
            assert [one.result["versions"] for one in sets] == [3, 6, 9, 12]
            ids = [one.result["set"] for one in sets]
            assert sets[3].result["needs"] == sorted(ids[:3])
            assert (await ran(engine, Drill())).result["result"] == "equal"
            going = await ran(engine, BackupPrune(), "", last=1)
            assert going.result["kept"] == ids  # all of it is needed
            full = await backed_up(engine, **PLAIN)
            vault.environment.clock.advance(86_400 * 3)  # type: ignore[attr-defined]
            going = await ran(engine, BackupPrune(), "", last=1)
            assert going.result["kept"] == [full.result["set"]]
            assert {name.partition("/")[0] for name in await vault.files()} == {f"set-{full.result['set']}"}
            listed = await shown(engine.context, "safe")
            assert [one["set"] for one in listed.sets] == [full.result["set"]]
            assert (await described(engine.context, "safe", "latest"))["versions"] == 12
            contents = await read_all(engine)
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            assert not (await restored(engine, full.result["set"][:20])).failures
            assert await read_all(engine) == contents
            with pytest.raises(NotFoundError, match="no whole backup"):
                await restored(engine, ids[0])

    run(story())


def test_a_backup_for_other_keys_is_never_gone_on_from(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await put(session(engine), "plain", "k", b"x")
            first = await backed_up(engine)
            second = await backed_up(engine, incremental=True, **PLAIN)
            assert second.result["parent"] == ""
            with pytest.raises(InvalidRequestError, match="other recipients"):
                await backed_up(engine, parent=first.result["set"], **PLAIN)

    run(story())


def test_a_tenant_comes_back_with_its_settings_and_quotas(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(f"sqlite:///{tmp_path / 'old.db'}") as engine:
            await furnish(engine, tenants=("default", "acme"))
            await engine.catalog.set_quota("acme", None, Quota(5000))
            await engine.catalog.set_quota("acme", "plain", Quota(4000, 7))
            await engine.catalog.create_bucket(
                "acme", "typed", settings=BucketSettings(allowed_types=(".csv",))
            )
            await put(session(engine, "acme"), "plain", "k", noise(3000))
            before = await all_rows(engine)
            await backed_up(engine, **PLAIN)
        async with vault.opened(catalog_url, main="fresh") as engine:
            back = await restored(engine, "latest", tenant="acme")
            assert not back.failures
            assert [one.name for one in await engine.catalog.tenants()] == ["acme"]
            assert (await engine.catalog.quota("acme")).bytes == 3000
            used = await engine.catalog.quota("acme", "plain")
            assert (used.quota, used.bytes, used.objects) == (Quota(4000, 7), 3000, 1)
            assert not (await restored(engine, "latest")).failures
            assert await all_rows(engine) == before

    run(story())


def test_a_look_at_the_store_takes_backups_for_nothing_of_its_own(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await put(session(engine), "plain", "k", b"x")
            await backed_up(engine, **PLAIN)
            vault.environment.clock.advance(3 * 86_400)  # type: ignore[attr-defined]
            files = await vault.files()
            for _ in range(2):
                looked = await run_alone(engine, Fsck(), {"store": "safe"})
                assert not looked.failures
                vault.environment.clock.advance(3 * 86_400)  # type: ignore[attr-defined]
                await engine.sweep()
            assert not await engine.catalog.findings(store="safe")
            assert await vault.files() == files

    run(story())


def test_a_restore_adds_nothing_to_a_snapshot(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            who = session(engine)
            await put(who, "kept", "k", b"one")
            made = await who.put("kept", "gone", Body.of_bytes(b"two"))
            await backed_up(engine, **PLAIN)
            await who.delete("kept", "gone", version_id=made.id)
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            await engine.catalog.create_snapshot("default", "kept", "friday")
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            back = await restored(engine, "latest", tenant="default", bucket="kept")
            assert [("snapshot" in one.message, one.key) for one in back.failures] == [(True, "gone")]
            back = await restored(engine, "latest", tenant="default", bucket="kept", into="beside")
            assert (back.counts.done, len(back.failures)) == (2, 0)

    run(story())


def test_no_snapshot_comes_back_over_another_history(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        vault = Vault()
        clock = vault.environment.clock
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await put(session(engine), "kept", "k", b"one")
            clock.advance(60)  # type: ignore[attr-defined]
            await engine.catalog.create_snapshot("default", "kept", "friday")
            await backed_up(engine, **PLAIN)
        clock.advance(60)  # type: ignore[attr-defined]
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            await furnish(engine)
            who = session(engine)
            await put(who, "kept", "k", b"another")
            back = await restored(engine, "latest")
            assert (back.result["taken"], back.result["snapshots_left"]) == (1, 1)
            assert not await engine.catalog.snapshots("default", "kept")
            assert not (await restored(engine, "latest", overwrite=True)).failures
            then = (await engine.catalog.snapshot("default", "kept", "friday")).at
            assert [one.size for one in (await who.list("kept", at=then)).items] == [len(b"one")]

    run(story())


def test_snapshots_come_back_with_what_they_show(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        vault = Vault()
        clock = vault.environment.clock
        async with vault.opened(f"sqlite:///{tmp_path / 'old.db'}") as engine:
            await furnish(engine)
            who = session(engine)
            await put(who, "kept", "k", b"one")
            for name in ("early", "late"):
                clock.advance(60)  # type: ignore[attr-defined]
                made = await engine.catalog.create_snapshot("default", "kept", name, note=f"the {name} one")
                await put(who, "kept", f"after-{name}", b"two")
            await who.delete("kept", "k")
            before = await all_rows(engine)
            assert before["snapshots"].count(b"\n") == 2
            await backed_up(engine, **PLAIN)
            assert (await ran(engine, Drill())).result["different"] == 0
        at = datetime.fromtimestamp(made.at / 1e6 - 1, UTC).isoformat()
        async with vault.opened(catalog_url, main="fresh") as engine:
            place = {"tenant": "default", "bucket": "kept"}
            assert not (await restored(engine, "latest", **place, prefix="k", into="part")).failures
            assert not (await restored(engine, "latest", **place, at=at, into="then")).failures
            back = await restored(engine, "latest", twice=True)
            assert not back.failures
            found = {
                bucket: [one.name for one in await engine.catalog.snapshots("default", bucket)]
                for bucket in ("part", "then", "kept")
            }
            assert found == {"part": [], "then": ["early"], "kept": ["early", "late"]}
            late = await engine.catalog.snapshot("default", "kept", "late")
            assert (late.at, late.note) == (made.at, "the late one")
            with pytest.raises(ConflictError, match="snapshot"):
                (version,) = (await engine.catalog.list_versions("default", "kept", prefix="after-e")).items
                await session(engine).delete("kept", "after-early", version_id=version.id)

    run(story())
