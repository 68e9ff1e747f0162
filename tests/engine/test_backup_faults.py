"""Backups and restores that die, and sets that were damaged: what is told, what is never done, and what goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.errors import ConflictError, NotFoundError, UnavailableError
from holdfast.core.failpoints import armed
from holdfast.core.jobs import Part
from holdfast.core.types import BlobInfo, ReplicaState
from holdfast.engine.engine import Engine
from holdfast.jobs.backup import Backup
from holdfast.jobs.backup_care import BackupVerify
from holdfast.jobs.drill import Drill
from holdfast.jobs.kinds import Kind, Work
from holdfast.jobs.restore import Restore
from holdfast.layers.base import ALL, Layer
from tests.engine.alone import work_of
from tests.engine.vault import (
    RECIPIENT,
    SECRET,
    Vault,
    all_rows,
    backed_up,
    furnish,
    ran,
    read_all,
    restored,
    session,
)
from tests.helpers import noise, run

pytestmark = pytest.mark.engine


class Death(BaseException):
    """The process ended here."""


class Mortal(Layer):
    """A store under which the process dies at a chosen put, before its effect or after it."""

    preserves = ALL
    puts = 0
    dies_at = 0
    after = False

    async def put(self, name: str, body: Any, **how: Any) -> BlobInfo:
        self.puts += 1
        fatal = self.puts == self.dies_at
        if fatal and not self.after:
            raise Death
        done = await super().put(name, body, **how)
        if fatal:
            raise Death
        return done


@pytest.fixture
def identity(tmp_path: Path) -> str:
    path = tmp_path / "recovery.key"
    path.write_text(SECRET)
    return str(path)


async def some(engine: Engine) -> None:
    """Put enough for several files of 64 KiB."""
    await furnish(engine)
    for number in range(6):
        await session(engine).put("kept", f"k{number % 4}", Body.of_bytes(noise(50_000, number)))
    await session(engine).put("plain", "large", Body.of_bytes(noise(4_500_000, 7)))
    await session(engine).delete("kept", "k1")


SIZES = {"max_size": 64 << 10, "chunk_size": 64 << 10}


async def through(kind: Kind, work: Work, *, deaths: int = 1) -> int:
    """Run a part to its end, each step again from its cursor when it died; return how often that was."""
    part, died = Part(work.job.id, 0), 0
    while not part.done:
        try:
            step = await kind.step(work, part)
        except Death:
            died += 1
            assert died <= deaths
            continue
        part = replace(part, cursor=step.cursor, done=step.done)
    return died


def test_a_backup_that_dies_at_any_put_ends_whole(sqlite_url: str, tmp_path: Path, identity: str) -> None:
    async def story() -> None:
        vault = Vault()
        mortal = vault.safe = Mortal(vault.safe)
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            before, contents = await all_rows(engine), await read_all(engine)
            kind, spec = Backup(), {"store": "safe", "recipients": [RECIPIENT], **SIZES}
            await through(kind, work_of(engine, kind, spec))
            total, made = mortal.puts, []
            assert total >= 7
            for number in (1, 2, 3, 4, total // 2, total - 1, total):
                mortal.puts, mortal.dies_at, mortal.after = 0, number, number % 2 == 0
                work = work_of(engine, kind, spec)
                assert await through(kind, work) == 1
                mortal.dies_at = 0
                made.append((await kind.finish(work)).result["set"])
        for number, set_id in enumerate(made):
            async with vault.opened(f"sqlite:///{tmp_path / f'{number}.db'}", main=f"m{number}") as engine:
                assert not (await restored(engine, set_id, identity=identity)).failures
                assert await all_rows(engine) == before
                assert await read_all(engine) == contents
                assert not (await ran(engine, BackupVerify(), set_id, identity=identity)).failures
        names = [name.rpartition("/")[2] for name in await vault.files()]
        assert not [name for name in names if name.startswith(("step-", "plan-"))]

    run(story())


@pytest.mark.parametrize(
    "place", ["backup.after_pin", "backup.after_rows", "backup.before_manifest", "backup.after_manifest"]
)
def test_a_backup_that_dies_between_steps_ends_whole_and_leaves_no_pin(
    sqlite_url: str, tmp_path: Path, identity: str, place: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            before = await all_rows(engine)
            kind = Backup()
            work = work_of(engine, kind, {"store": "safe", "recipients": [RECIPIENT]})
            with armed(once(place)):
                assert await through(kind, work) == 1
            assert await engine.catalog.renew_pin(work.job.id, lease=1) is None
        async with vault.opened(f"sqlite:///{tmp_path / 'fresh.db'}", main="fresh") as engine:
            assert not (await restored(engine, work.job.id, identity=identity)).failures
            assert await all_rows(engine) == before

    run(story())


def once(place: str, at: int = 1) -> Callable[[str], None]:
    """Return what dies when `place` is passed for the time `at`."""
    seen = 0

    def hook(name: str) -> None:
        nonlocal seen
        seen += name == place
        if name == place and seen == at:
            raise Death

    return hook


@pytest.mark.parametrize("place", ["restore.after_begin", "restore.after_store", "restore.after_commit"])
def test_a_restore_that_dies_goes_on_and_puts_nothing_back_twice(
    catalog_url: str, sqlite_url: str, identity: str, place: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(f"{sqlite_url}.old") as engine:
            await some(engine)
            before, contents = await all_rows(engine), await read_all(engine)
            await backed_up(engine, **SIZES)
        async with vault.opened(catalog_url, main="fresh") as engine:
            kind = Restore()
            work = work_of(engine, kind, {"store": "safe", "set": "latest", "identity": identity})
            for at in (1, 3):
                with armed(once(place, at)):
                    assert await through(kind, work) <= 1
            assert await all_rows(engine) == before
            assert await read_all(engine) == contents
            for bucket in ("plain", "kept"):
                usage = await engine.catalog.usage("default", bucket)
                assert usage == await engine.catalog.recount("default", bucket)
            vault.environment.clock.advance(3600.0)  # type: ignore[attr-defined]
            await engine.sweep()
            rows = await engine.catalog.replicas()
            assert {row.state for row in rows} == {ReplicaState.LIVE}
            held = [info.name async for info in vault.mains["fresh"].list() if ":" not in info.name]
            assert sorted(held) == sorted(row.blob for row in rows)

    run(story())


def test_every_damaged_file_is_named_and_nothing_of_it_is_used(
    sqlite_url: str, tmp_path: Path, identity: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            await backed_up(engine, **SIZES)
            files = [name for name in await vault.files() if not name.endswith(".json")]
            assert len(files) >= 5
            files = [*files[:3], *[name for name in files if "/index-000001" in name or "/rows-" in name]]
            for name in files:
                good = await vault.read(name)
                flipped = bytearray(good)
                flipped[len(good) // 2] ^= 1
                await vault.write(name, bytes(flipped))
                tail = name.rpartition("/")[2]
                told = [
                    one.message for one in (await ran(engine, BackupVerify(), identity=identity)).failures
                ]
                assert [tail in one for one in told] == ["is damaged" in one for one in told] == [True]
                await vault.safe.delete(f"_holdfast-backup/{name}")
                told = [one.message for one in (await ran(engine, BackupVerify())).failures]
                assert [one.startswith(f"{tail} of set-") for one in told] == [True]
                assert "is missing" in told[0]
                await vault.write(name, good)
            name = next(name for name in await vault.files() if "/data-000002" in name)
            await vault.safe.delete(f"_holdfast-backup/{name}")
            drilled = await ran(engine, Drill(), identity=identity, folder=str(tmp_path))
            assert drilled.result["result"] == "different"
            assert name.rpartition("/")[2] in str(drilled.result["differences"])
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            back = await restored(engine, "latest", identity=identity)
            assert back.failures
            assert all(name.rpartition("/")[2] in one.message for one in back.failures)
            assert back.counts.done + back.counts.failed == back.counts.examined == 8
            manifest = next(name for name in await vault.files() if name.endswith("manifest.json"))
            await vault.write(
                manifest, (await vault.read(manifest)).replace(b'"versions": 8', b'"versions": 9')
            )
            with pytest.raises(NotFoundError):
                await restored(engine, "latest", identity=identity)

    run(story())


def test_what_cannot_be_read_is_told_and_the_next_backup_tries_it_again(
    sqlite_url: str, tmp_path: Path, identity: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            row = next(row for row in await engine.catalog.replicas() if row.size == 4_500_000)
            async with vault.mains["main"].get(row.blob) as reader:
                good = await reader.read()
            await vault.mains["main"].put(row.blob, Body.of_bytes(good[:-1] + b"x"))
            first = await backed_up(engine)
            assert [(one.bucket, one.key) for one in first.failures] == [("plain", "large")]
            assert first.result["missing"] == 1
            await vault.mains["main"].put(row.blob, Body.of_bytes(good))
            second = await backed_up(engine, incremental=True)
            assert not second.failures
            assert (second.result["missing"], second.result["written"]) == (0, 1)
            contents = await read_all(engine)
        async with vault.opened(f"sqlite:///{tmp_path / 'a.db'}", main="a") as engine:
            back = await restored(engine, first.result["set"], identity=identity)
            assert ["could not be read when" in one.message for one in back.failures] == [True]
        async with vault.opened(f"sqlite:///{tmp_path / 'b.db'}", main="b") as engine:
            assert not (await restored(engine, second.result["set"], identity=identity)).failures
            assert await read_all(engine) == contents

    run(story())


def test_a_backup_that_nobody_worked_at_for_too_long_begins_with_the_rows_again(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            kind = Backup()
            work = work_of(engine, kind, {"store": "safe", "plain": True, **SIZES})
            part = Part(work.job.id, 0)
            for _ in range(2):
                part = replace(part, cursor=(await kind.step(work, part)).cursor)
            await engine.catalog.unpin(work.job.id)
            await session(engine).put("plain", "late", Body.of_bytes(b"late"))
            while not part.done:
                step = await kind.step(work, part)
                part = replace(part, cursor=step.cursor, done=step.done)
            assert (await kind.finish(work)).result["versions"] == 9
            assert not (await ran(engine, Drill())).failures

    run(story())


def test_a_store_that_does_not_answer_fails_the_step_and_nothing_else(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            kind = Backup()
            work = work_of(engine, kind, {"store": "safe", "plain": True})

            def hook(name: str) -> None:
                if name == "backup.after_contents":
                    raise UnavailableError("gone")

            part = replace(Part(work.job.id, 0), cursor=(await kind.step(work, Part(work.job.id, 0))).cursor)
            with armed(hook), pytest.raises(UnavailableError):
                await kind.step(work, part)
            assert await through(kind, work) == 0
            assert not (await ran(engine, Drill())).failures

    run(story())


def test_a_set_whose_parent_is_gone_says_so(sqlite_url: str, identity: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await some(engine)
            first = await backed_up(engine)
            second = await backed_up(engine, parent=first.result["set"])
            assert second.result["needs"] == [first.result["set"]]
            await vault.safe.delete(f"_holdfast-backup/set-{first.result['set']}/manifest.json")
            with pytest.raises(ConflictError, match="rests on set-"):
                await restored(engine, second.result["set"], identity=identity)

    run(story())
