"""Which set is meant, what is lost and comes back, and what of a forged or damaged set is refused."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.directly import reads_directly
from holdfast.core.errors import (
    ConflictError,
    CorruptedError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.failpoints import armed
from holdfast.core.jobs import Part
from holdfast.core.types import ReplicaState
from holdfast.engine.backups import ages, sets
from holdfast.engine.backups.packing import Packing
from holdfast.engine.backups.rows import decode, encode, stretches
from holdfast.engine.backups.shelf import shown
from holdfast.jobs.backup import Backup
from holdfast.jobs.backup_care import BackupPrune, BackupVerify
from holdfast.jobs.drill import Drill
from holdfast.jobs.reconcile import pay
from holdfast.jobs.restore import Restore
from holdfast.layers.base import ALL, Layer
from tests.engine.alone import run_alone, work_of
from tests.engine.vault import SECRET, Vault, backed_up, furnish, ran, read_all, restored, session
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine
PLAIN = {"plain": True}
SET = "0190f3a2-7b1c-7def-8123-456789abcdef"


class Death(BaseException):
    """The process ended here."""


class Watched(Layer):
    """A store that is watched, fails at what is called as `match` (`bad` times), and may keep what is deleted."""

    preserves = ALL
    match, bad, keeps = "data-", 0, False

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.past_caches: set[bool] = set()

    def get(self, name: str, **how: Any) -> Any:
        self.past_caches.add(reads_directly())
        if self.match in name and self.bad:
            self.bad -= 1
            raise UnavailableError("not now", store="safe", name=name)
        return super().get(name, **how)

    async def delete(self, name: str) -> None:
        if not self.keeps:
            await super().delete(name)


@pytest.mark.parametrize("kind", [Restore(), BackupVerify(), Drill()], ids=lambda kind: kind.name)
def test_a_set_that_is_made_meanwhile_changes_nothing(sqlite_url: str, tmp_path: Path, kind: Any) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            first = (await backed_up(engine, **PLAIN)).result["set"]
            spec = {"store": "safe", "set": "latest"}
            spec |= {"folder": str(tmp_path)} if isinstance(kind, Drill) else {}
            work = work_of(engine, kind, spec)
            parts = [Part(work.job.id, 0, one.start) for one in await kind.split(work)]

            async def of_job(job_id: str) -> list[Part]:
                return parts

            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            await backed_up(engine, **PLAIN)
            engine.catalog.job_parts = of_job  # type: ignore[method-assign]
            part = parts[0]
            while not part.done:
                step = await kind.step(work, part)
                part = replace(part, cursor=step.cursor, done=step.done)
            assert (await kind.finish(work)).result["set"] == first == part.start

    run(story())


@pytest.mark.parametrize("inline", [0, 4096])
def test_lost_bytes_come_back_into_their_version(catalog_url: str, inline: int) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(catalog_url, inline=inline) as engine:
            await furnish(engine)
            who = session(engine)
            await who.put("kept", "k", Body.of_bytes(noise(9000, 1)))
            await who.put("kept", "k", Body.of_bytes(noise(9000, 2)))
            await who.put("plain", "sound", Body.of_bytes(noise(500, 3)))
            await backed_up(engine, **PLAIN)
            before, usage = await read_all(engine), await engine.catalog.usage("default", "kept")
            disk = vault.mains["main"]
            lost = {row.blob for row in await engine.catalog.replicas() if row.size == 9000}
            for name in lost:
                await disk.delete(name)

            def hook(name: str) -> None:
                if name == "restore.after_store":
                    raise Death

            with armed(hook), pytest.raises(Death):
                await restored(engine, "latest")
            back = await restored(engine, "latest", twice=True)
            assert not back.failures
            assert await read_all(engine) == before
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            await pay(engine)
            vault.environment.clock.advance(86_400)  # type: ignore[attr-defined]
            await engine.sweep()
            rows = await engine.catalog.replicas()
            assert {row.state for row in rows} == {ReplicaState.LIVE}
            assert len(rows) == 3
            assert not lost & {row.blob for row in rows}
            assert await read_all(engine) == before
            assert await engine.catalog.usage("default", "kept") == usage
            again = await restored(engine, "latest", overwrite=True)
            assert (again.counts.skipped, again.counts.notes["there"]) == (3, 3)
            # bytes that are wrong are seen only by who reads them
            bad = next(row for row in rows if row.size == 9000)
            await disk.put(bad.blob, Body.of_bytes(noise(9000, 9)))
            assert (await restored(engine, "latest")).counts.skipped == 3
            mended = await restored(engine, "latest", overwrite=True)
            assert (mended.counts.done, mended.counts.notes["mended"], mended.failures) == (1, 1, [])
            assert await read_all(engine) == before

    run(story())


def test_the_store_itself_is_read_and_what_passes_is_raised(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        vault = Vault()
        watched = vault.safe = Watched(vault.safe)
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await session(engine).put("kept", "k", Body.of_bytes(noise(900)))
            await backed_up(engine, **PLAIN)
            for kind, more in ((BackupVerify(), {}), (Drill(), {"folder": str(tmp_path)})):
                watched.past_caches.clear()
                assert not (await ran(engine, kind, **more)).failures
                assert watched.past_caches == {True}
                watched.bad = 1
                if isinstance(kind, BackupVerify):  # what was read before is told, and the next step goes on
                    assert not (await ran(engine, kind, **more)).failures
                    watched.bad = 2
                with pytest.raises(UnavailableError):
                    await ran(engine, kind, **more)
        async with vault.opened(f"sqlite:///{tmp_path / 'new.db'}", main="fresh") as engine:
            work = work_of(engine, kind := Restore(), {"store": "safe", "set": "latest"})
            part = Part(work.job.id, 0, cursor=(await kind.step(work, Part(work.job.id, 0))).cursor)
            watched.bad = 1
            with pytest.raises(UnavailableError):
                await kind.step(work, part)
            assert (await kind.step(work, part)).counts.done == 1
            assert await content(session(engine), "kept", "k") == noise(900)

    run(story())


def test_a_wrong_identity_is_refused_before_anything_is_read(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await backed_up(engine)
            other = tmp_path / "other.key"
            other.write_text(ages.new_identity()[0])
            spec = {"store": "safe", "identity": str(other)}
            with pytest.raises(InvalidRequestError, match="not one that"):
                await BackupVerify().split(work_of(engine, BackupVerify(), spec))
            with pytest.raises(Exception, match="on the server"):
                await ran(engine, BackupVerify(), identity=str(tmp_path / "none.key"))
        assert ages.identities_of(f"\ufeff{SECRET}\n", "a file with a mark")

    run(story())


def test_prune_keeps_its_hands_off_what_it_does_not_know(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        watched = vault.safe = Watched(vault.safe)
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await session(engine).put("kept", "k", Body.of_bytes(b"x"))
            first = (await backed_up(engine, **PLAIN)).result["set"]
            for name in await vault.files():
                await vault.write(name.replace(first, "copy-of-it"), await vault.read(name))
            for name in ("~notes", "~~notes", "~~~notes"):
                await vault.write(f"set-{first}/{name}", b"of somebody else")
            await vault.write("set-0", b"a file")
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            last = (await backed_up(engine, **PLAIN)).result["set"]
            told = await shown(engine.context, "safe")
            assert [one["set"] for one in told.sets] == [first, last]
            assert list(told.damaged) == ["copy-of-it"]
            watched.keeps = True
            with pytest.raises(ConflictError, match="keep what is deleted"):
                await run_alone(engine, BackupPrune(), {"store": "safe", "last": 1})
            watched.keeps = False
            assert (await run_alone(engine, BackupPrune(), {"store": "safe", "last": 1})).result["kept"] == [
                last
            ]
            assert "set-copy-of-it/manifest.json" in await vault.files()

    run(story())


def test_the_parent_of_a_backup_that_has_begun_is_kept(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            first = (await backed_up(engine, **PLAIN)).result["set"]
            work = work_of(engine, Backup(), {"store": "safe", "incremental": True, **PLAIN})

            def hook(name: str) -> None:
                if name == "backup.after_parent":
                    raise Death

            with armed(hook), pytest.raises(Death):
                await Backup().step(work, Part(work.job.id, 0))
            vault.environment.clock.advance(60)  # type: ignore[attr-defined]
            last = (await backed_up(engine, **PLAIN)).result["set"]
            pruned = await run_alone(engine, BackupPrune(), {"store": "safe", "last": 1})
            assert pruned.result["kept"] == [first, last]

    run(story())


def _version(**other: Any) -> dict[str, Any]:
    made = dict.fromkeys(("sha256", "md5", "crc64nvme"))
    made |= {"tenant": "default", "bucket": "plain", "current": True, "segments": [], "id": SET, "key": "k"}
    made |= {
        "seq": 1,
        "size": 5,
        "etag": "x",
        "created": 1,
        "content_type": "a/b",
        "metadata": "",
        "tags": "",
    }
    made |= {
        "checksum_type": "",
        "parts": 0,
        "pieces": 0,
        "delete_marker": False,
        "chunk_size": 0,
        "chunk_crcs": b"",
    }
    return made | other


@pytest.mark.parametrize(
    ("table", "row", "told"),
    [
        ("versions", _version(id="../x"), "is no id"),
        ("versions", _version(key="../x"), "key"),
        ("versions", _version(key=5), "key"),
        ("versions", _version(bucket="../x y"), "bucket"),
        ("versions", _version(created="abc"), "created"),
        ("versions", _version(seq=True), "seq"),
        ("versions", _version(seq=-5), "no such number"),
        ("versions", _version(size=1 << 80), "size|range|number"),
        ("versions", _version(metadata="[1"), "truncated|malformed|Expected"),
        ("versions", _version(segments=[{"id": 5}]), "segments"),
        ("versions", {"id": SET}, "has no"),
        ("tenants", {"name": "../../evil"}, "tenant name"),
        ("tenants", {"name": 5}, "name"),
        ("buckets", {"tenant": "default", "name": "abc", "settings": "{bad"}, "malformed|object"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_name(table: str, row: dict[str, Any], told: str) -> None:
    good = (
        _version()
        if table == "versions"
        else {"name": "default"} | ({"tenant": "a", "name": "abc"} if table == "buckets" else {})
    )
    assert decode(encode([good]), "rows-1", table) == [good]
    with pytest.raises(CorruptedError, match=f"rows-1 is damaged: .*({told})"):
        decode(
            msgspec.json.encode({**row, **({"chunk_crcs": {"b64": ""}} if "chunk_crcs" in row else {})}),
            "rows-1",
            table,
        )


def test_text_that_is_no_set_is_refused() -> None:
    for text in (b"[1,2]", b"{{{", b"[" * 100_000):
        with pytest.raises(CorruptedError, match="rows-1 is damaged"):
            decode(text, "rows-1", "versions")
    for line in (b"v -1 0 5 . data-1", b"v 0 0 -5 . data-1", b"v 0"):
        with pytest.raises(CorruptedError, match="index-1 is damaged"):
            stretches(line, "index-1", SET)


async def forged(vault: Vault, frames: list[tuple[dict[str, Any], bytes]], **other: Any) -> None:
    """Write a set of one version of 5 bytes, whose contents are `frames`."""
    prefix, pieces = sets.prefix_of(SET), []
    files = {
        "rows-1": [({"table": "versions", "rows": 1}, encode([_version()]))],
        "index-1": [({"index": True}, f"{SET} 0 0 5 . data-1\n".encode())],
        "data-1": frames,
    }
    for name, each in files.items():
        packing = Packing("none")
        for header, payload in each:
            await packing.add(header, payload)
        pieces.append(replace(await packing.put(vault.safe, prefix + name), last="z"))
        packing.close()
    rows, index, data = pieces
    made = sets.Manifest(SET, 1, compression="none", rows=[rows], index=[index], data=[data], **other)
    await sets.save(Store("safe", vault.safe), made)


@pytest.mark.parametrize(
    "frame",
    [
        ({"v": SET, "p": 0, "o": 0}, b""),
        ({"v": SET, "p": 0, "o": 0}, b"hello" * 2),
        ({"v": 5, "p": "a", "o": 0}, b"hello"),
        ({}, b"hello"),
    ],
)
def test_frames_that_cannot_be_are_refused_and_nothing_hangs(sqlite_url: str, frame: Any) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)
            await forged(vault, [frame])
            back = await restored(engine, SET)
            assert [one.code for one in back.failures] == ["corrupted"]
            with pytest.raises(NotFoundError):
                await content(session(engine), "plain", "k")

    run(story())


def test_a_set_of_a_newer_catalog_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await forged(vault, [({"v": SET, "p": 0, "o": 0}, b"hello")], schema="9999", software="99.0")
            with pytest.raises(UnsupportedError, match=r"step 9999.*99\.0"):
                await restored(engine, SET)

    run(story())


def test_a_full_temporary_folder_is_named(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        vault = Vault()
        async with vault.opened(sqlite_url) as engine:
            await furnish(engine)

            def full(**how: Any) -> Any:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(tempfile, "TemporaryFile", full)
            with pytest.raises(UnavailableError, match="TMPDIR"):
                await backed_up(engine, **PLAIN)

    run(story())
