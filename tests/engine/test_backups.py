"""Backups: what is in a set is what was there at its moment, whatever happens meanwhile; and it comes back so."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError, PermissionDeniedError
from holdfast.core.jobs import Part
from holdfast.core.types import Principal
from holdfast.engine.backups import ages
from holdfast.engine.engine import Engine
from holdfast.engine.measuring import measure
from holdfast.engine.settings import EngineSettings
from holdfast.engine.write import ObjectInput
from holdfast.jobs import drill
from holdfast.jobs.backup import Backup
from holdfast.jobs.backup_care import BackupVerify
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.drill import Drill
from holdfast.jobs.installed import installed
from holdfast.policy.prices import parse
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


@pytest.fixture
def identity(tmp_path: Path) -> str:
    path = tmp_path / "recovery.key"
    path.write_text(f"# kept elsewhere\n{SECRET}\n")
    return str(path)


async def fill(engine: Engine, tenant: str = "default") -> None:
    """Put a bit of everything: small and large, tags and metadata, history, a delete marker, parts, nothing at all."""
    who = session(engine, tenant)
    about = ObjectInput("text/plain", {"who": "me"}, {"team": "a"})
    await who.put("plain", "small", Body.of_bytes(b"small"), about)
    await who.put("plain", "empty", Body.of_bytes(b""))
    await who.put("plain", "large", Body.of_bytes(noise(4_300_000, 1)))
    await who.put("plain", "twice", Body.of_bytes(b"first"))
    await who.put("plain", "twice", Body.of_bytes(b"second"))
    for text in (b"one", b"two", b"three"):
        await who.put("kept", "history", Body.of_bytes(text))
    await who.put("kept", "gone", Body.of_bytes(b"still there below"))
    await who.delete("kept", "gone")
    upload = await who.create_upload("kept", "parts")
    parts = [
        await who.put_part("kept", "parts", upload.id, number, Body.of_bytes(noise(size, number)))
        for number, size in ((1, 300_000), (2, 300_000), (3, 77))
    ]
    await who.complete_upload("kept", "parts", upload.id, [(part.number, part.etag) for part in parts])


def test_everything_comes_back_on_another_catalog(catalog_url: str, tmp_path: Path, identity: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(catalog_url, inline=100) as engine:
            await furnish(engine, tenants=("default", "other"))
            await fill(engine)
            await fill(engine, "other")
            before, contents = await all_rows(engine), await read_all(engine)
            done = await backed_up(engine)
            assert not done.failures
            assert (done.result["versions"], done.result["missing"]) == (20, 0)
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            back = await restored(engine, "latest", identity=identity)
            assert not back.failures
            assert back.counts.done == 20
            assert await all_rows(engine) == before
            assert await read_all(engine) == contents
            for bucket in ("plain", "kept"):
                assert await engine.catalog.usage("default", bucket) == await engine.catalog.recount(
                    "default", bucket
                )
            again = await restored(engine, "latest", identity=identity)
            assert (again.counts.done, again.counts.skipped) == (0, 20)
            assert await all_rows(engine) == before

    run(story())


def test_a_drill_finds_rows_and_bytes_equal_and_leaves_its_evidence(
    catalog_url: str, tmp_path: Path, identity: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(catalog_url, inline=100) as engine:
            await furnish(engine)
            await fill(engine)
            done = await backed_up(engine)
            drilled = await ran(engine, Drill(), identity=identity, folder=str(tmp_path))
            assert not drilled.failures
            assert (drilled.result["result"], drilled.result["versions"]) == ("equal", 10)
            assert drilled.result["bytes"] == done.result["bytes"] > 4_900_000
            evidence = json.loads(await vault.read(drilled.result["file"].partition("/")[2]))
            assert (evidence["set"], evidence["different"]) == (done.result["set"], 0)
            told = [one for one in await engine.catalog.audit("") if one.action == "backup-drill"]
            assert [one.detail["result"] for one in told] == ["equal"]
            assert not list(tmp_path.glob("holdfast-drill-*"))
            assert not (await ran(engine, BackupVerify(), identity=identity)).failures

    run(story())


@pytest.mark.parametrize("kind", ["drill", "restore", "backup-verify"])
def test_a_job_is_told_of_a_file_with_an_identity_and_never_the_identity(
    sqlite_url: str, identity: str, kind: str
) -> None:
    """A spec is shown to those who look at jobs; and what it names is read where the service runs."""

    async def story() -> None:
        async with Vault().opened(sqlite_url) as engine:
            operator = Principal("boss", "default", "operator")
            desk = JobDesk(engine, installed(), operator)
            for given in (SECRET, SECRET.lower(), f"/{SECRET}", f"{identity}\n{SECRET}", "relative.key"):
                with pytest.raises(InvalidRequestError, match="absolute path") as caught:
                    await desk.start(kind, {"set": "latest", "identity": given})
                assert given[-30:] not in str(caught.value)
            assert not await desk.jobs()
            for role in ("admin", "writer", "reader"):
                other = JobDesk(engine, installed(), replace(operator, role=role))
                for do in (other.start, other.forecast):
                    with pytest.raises(PermissionDeniedError):
                        await do(kind, {"set": "latest", "identity": identity})
            made = await desk.start(kind, {"store": "safe", "set": "latest", "identity": identity})
            assert made.spec["identity"] == identity

    run(story())


def test_a_forecast_tells_what_a_backup_costs_and_never_0_for_what_is_not_known(sqlite_url: str) -> None:
    main = {"storage": "1", "write": "1", "read": "0.4", "egress": "0.09"}
    safe = {"storage": "0.02", "write": "5", "read": "1", "egress": "1"}
    spec = {"store": "safe", "plain": True}

    async def costs(engine: Engine) -> tuple[Decimal | None, Decimal | None, str]:
        found = await Backup().forecast(work_of(engine, Backup(), spec))
        assert found.calls == {"safe": {"put": 4}}
        return found.once.total, found.after.total, " ".join(found.notes)

    async def story() -> None:
        vault = Vault()
        priced = EngineSettings(prices=parse({"main": main, "safe": safe}))
        async with vault.opened(sqlite_url, settings=priced) as engine:
            await furnish(engine)
            assert (await costs(engine))[0] == 4 * Decimal("0.005")
            await session(engine).put("plain", "a", Body.of_bytes(noise(2_000_000, 1)))
            once, month, notes = await costs(engine)
            assert once == Decimal("0.0004") + 2 * Decimal("0.00009") + 4 * Decimal("0.005")
            assert month == 2 * Decimal("0.00002")
            assert "not measured yet" in notes
            await measure(engine.context)
            again, _, notes = await costs(engine)
            assert again == once
            assert "not measured yet" not in notes
        for book in ({}, {"main": main}, {"safe": safe}):
            async with vault.opened(sqlite_url, settings=EngineSettings(prices=parse(book))) as engine:
                once, month, _ = await costs(engine)
                assert once is None
                assert (month is None) == ("safe" not in book)

    run(story())


def test_a_drill_tells_a_version_that_is_not_as_it_was(
    sqlite_url: str, tmp_path: Path, identity: str
) -> None:
    """Rows that a restore would lose or change are found: the comparison is not with itself."""

    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await fill(engine)
            await backed_up(engine)
            work = work_of(engine, Drill(), {"store": "safe", "identity": identity})
            work = drill._restoring(work)
            source = await drill.Source.of(work)
            async with drill.scratch(work) as inside:
                moved = replace(work, engine=inside)
                assert not await drill._restore(moved, work, drill.Beat(work))
                who = session(inside)
                await who.delete("kept", "history")
                await who.put("plain", "small", Body.of_bytes(b"other"))
                found = drill._Found()
                await drill._compare_rows(source, inside, found, drill.Beat(work))
                await drill._compare_contents(source, inside, found, drill.Beat(work), work)
                keys = sorted({one.key for one in found.failures})
                assert {"small", "history"} <= set(keys)
                assert "large" not in keys

    run(story())


def test_what_is_removed_and_written_over_while_it_runs_is_in_it(
    catalog_url: str, tmp_path: Path, identity: str
) -> None:
    async def story() -> None:
        vault = Vault()
        none = EngineSettings(grace=0.0)
        async with vault.opened(catalog_url, inline=100, settings=none) as engine:
            await furnish(engine)
            await fill(engine)
            before, contents = await all_rows(engine), await read_all(engine)
            kind = Backup()
            work = work_of(engine, kind, {"store": "safe", "recipients": [RECIPIENT]})
            step = await kind.step(work, Part(work.job.id, 0))
            who = session(engine)
            for bucket, key, version in contents:
                await who.delete(bucket, key, version_id=version)
            await who.put("plain", "small", Body.of_bytes(b"newer than the backup"))
            vault.environment.clock.advance(3 * 3600.0)  # type: ignore[attr-defined]
            await engine.sweep()
            part = Part(work.job.id, 0, cursor=step.cursor)
            while not part.done:
                step = await kind.step(work, part)
                assert not step.failures
                part = replace(part, cursor=step.cursor, done=step.done)
            left = await engine.sweep()
            assert left.deleted > 0  # the pin went with the end of the backup
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            assert not (await restored(engine, "latest", identity=identity)).failures
            assert await all_rows(engine) == before
            assert await read_all(engine) == contents

    run(story())


def test_nothing_readable_lies_in_the_store_and_only_the_identity_opens_it(
    sqlite_url: str, tmp_path: Path, identity: str
) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url, encrypt=True) as engine:
            await furnish(engine)
            await session(engine).put("plain", "secret-name", Body.of_bytes(b"secret-content" * 100))
            await backed_up(engine, compression="none")
            for name in await vault.files():
                raw = await vault.read(name)
                assert b"secret-name" not in raw
                assert b"secret-content" not in raw
            other, _ = ages.new_identity()
            wrong = tmp_path / "other.key"
            wrong.write_text(other)
            with pytest.raises(InvalidRequestError, match="identity is not one that rows-"):
                await restored(engine, "latest", identity=str(wrong))
            with pytest.raises(InvalidRequestError, match="is encrypted"):
                await restored(engine, "latest")
            with pytest.raises(InvalidRequestError, match="name a recipient"):
                await backed_up(engine, recipients=[])
        # the root key of the old service is lost with it: contents do not need it
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            assert not (await restored(engine, "latest", identity=identity)).failures
            assert list((await read_all(engine)).values()) == [b"secret-content" * 100]

    run(story())


@pytest.mark.parametrize("compression", ["zst", "gz", "none"])
def test_a_large_backup_is_split_as_it_was_told(sqlite_url: str, tmp_path: Path, compression: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            for number in range(40):
                await session(engine).put("plain", f"k{number:02d}", Body.of_bytes(noise(60_000, number)))
            await session(engine).put("plain", "large", Body.of_bytes(noise(5 << 20, 99)))
            contents = await read_all(engine)
            sizes = {"max_size": 5 << 20, "chunk_size": 1 << 20}
            await backed_up(engine, plain=True, compression=compression, **sizes)
            data = await vault.files("data-")
            assert len(data) >= 3
            assert max(data.values()) < (1 << 20) + (5 << 20)  # a stretch of a large one is not cut
            one = await backed_up(engine, plain=True, compression=compression, auto_split=False)
            assert len(await vault.files("data-")) == len(data) + 1
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            for set_id in {name.partition("/")[0] for name in data} | {one.result["set"]}:
                assert not (await restored(engine, set_id)).failures
                assert await read_all(engine) == contents

    run(story())
