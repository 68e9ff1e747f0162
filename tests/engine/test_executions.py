"""Executions and artifacts through a session: contents as objects, files in place, and who may do what."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptedError,
    DigestMismatchError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.types import Digests, Principal, Scope, Span
from holdfast.engine.engine import Engine
from holdfast.engine.executions import Executions, NewArtifact
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.policy.artifacts import KINDS
from tests.helpers import content, engine_on, memory_store, run

pytestmark = pytest.mark.engine
DAY = 86_400
MICRO = 1_000_000


@dataclass
class Works:
    engine: Engine
    clock: ManualClock
    session: Session

    def of(self, role: str, **more: Any) -> Session:
        return self.engine.session(Principal(f"a-{role}", "default", role, **more))

    @property
    def runs(self) -> Executions:
        return self.session.executions


@asynccontextmanager
async def works(url: str, *roots: str) -> AsyncIterator[Works]:
    world = Environment.seeded(4)
    assert isinstance(world.clock, ManualClock)
    settings = EngineSettings(artifact_roots=roots)
    async with engine_on(
        url, memory_store("m", world), environment=world, settings=settings, inline=1024
    ) as (engine, session):
        await session.executions.create("run", name="nightly", metadata={"host": "a"})
        yield Works(engine, world.clock, session)


def test_an_artifact_goes_to_the_bucket_of_its_kind_and_is_kept_as_long(catalog_url: str) -> None:
    async def story() -> None:
        async with works(catalog_url) as at:
            for kind, policy, bucket, kept in (
                ("report", "", "artifacts", "permanent"),
                ("output", "", "executions", "permanent"),
                ("Log", "", "logs", "permanent"),
                ("report", "temporary", "temp", "temporary"),
                ("backup", "", "backups", "archived"),
            ):
                wish = NewArtifact(f"{kind}.bin", artifact_type=kind, retention_policy=policy)
                made = await at.runs.add("run", wish, Body.of_bytes(b"x" * 2000))
                assert made.bucket == f"opsconductor-{bucket}"
                assert made.key == f"run/{made.id}/{kind}.bin"
                assert made.retention_policy == kept
                days = KINDS[bucket].retention_days
                version = (await at.session.head(made.bucket, made.key))[0]
                assert made.expires == version.created + days * DAY * MICRO
                assert made.storage_type == "object_storage"
                assert made.checksum == hashlib.sha256(b"x" * 2000).hexdigest()
            found, artifacts = await at.runs.get("run")
            assert (found.name, found.status, dict(found.metadata)) == ("nightly", "running", {"host": "a"})
            assert len(artifacts) == 5
            small = await at.runs.add("run", NewArtifact("s.txt"), Body.of_bytes(b"x"))
            assert small.storage_type == "database"
            assert await content(at.session, small.bucket, small.key) == b"x"
            for bucket, kind in KINDS.items():
                held = await at.session.bucket(f"opsconductor-{bucket}")
                assert held.versioning == kind.versioning
                assert held.settings == kind.settings
            at.clock.advance(8 * DAY)
            assert await at.engine.expire() == 1
            assert {one.retention_policy for one in (await at.runs.get("run"))[1]} == {
                "permanent",
                "archived",
            }
            assert len(await at.engine.catalog.artifacts("default", "run")) == 5

    run(story())


def test_ids_are_used_once_and_what_fails_leaves_nothing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with works(sqlite_url) as at:
            wish = NewArtifact("a.txt", "one")
            await at.runs.add("run", wish, Body.of_bytes(b"first"))
            with pytest.raises(AlreadyExistsError):
                await at.runs.add("run", wish, Body.of_bytes(b"second"))
            with pytest.raises(NotFoundError):
                await at.runs.add("nowhere", wish, Body.of_bytes(b"x"))
            wrong = NewArtifact("b.txt", "two", digests=Digests(sha256=hashlib.sha256(b"other").digest()))
            with pytest.raises(DigestMismatchError):
                await at.runs.add("run", wrong, Body.of_bytes(b"x"))
            add = at.engine.catalog.add_artifact

            async def refuses(*given: Any, **more: Any) -> Any:
                raise ConflictError("no")

            monkeypatch.setattr(at.engine.catalog, "add_artifact", refuses)
            with pytest.raises(ConflictError):
                await at.runs.add("run", NewArtifact("c.txt", "three"), Body.of_bytes(b"x"))

            async def lost(*given: Any, **more: Any) -> Any:
                raise UnavailableError("the catalog is gone")

            monkeypatch.setattr(at.engine.catalog, "add_artifact", lost)
            broken = NewArtifact("d.txt", "four")
            with pytest.raises(UnavailableError):
                await at.runs.add("run", broken, Body.of_bytes(b"left over"))
            monkeypatch.setattr(at.engine.catalog, "add_artifact", add)
            page = await at.session.list("opsconductor-artifacts")
            assert [version.ref.key for version in page.items] == ["run/four/d.txt", "run/one/a.txt"]
            with pytest.raises(ConflictError, match="another upload"):
                await at.runs.add("run", broken, Body.of_bytes(b"again"))
            at.clock.advance(901)
            made = await at.runs.add("run", broken, Body.of_bytes(b"again"))
            assert await content(at.session, made.bucket, made.key) == b"again"
            for name in ("", "..", "x" * 300):
                with pytest.raises(InvalidRequestError):
                    await at.runs.add("run", NewArtifact(name), Body.of_bytes(b"x"))
            assert (
                await at.runs.add("run", NewArtifact("../../etc/passwd"), Body.of_bytes(b"x"))
            ).name == "passwd"
            for id_ in ("a/b", "..", "é", "-a", "x" * 129):
                with pytest.raises(InvalidRequestError):
                    await at.runs.add("run", NewArtifact("n", id_), Body.of_bytes(b"x"))
                with pytest.raises(InvalidRequestError):
                    await at.runs.create(id_)
            with pytest.raises(InvalidRequestError):
                await at.runs.add("run", NewArtifact("n", retention_policy="for ever"), Body.of_bytes(b"x"))

    run(story())


def test_removing(sqlite_url: str) -> None:
    async def story() -> None:
        async with works(sqlite_url) as at:
            made = [
                await at.runs.add("run", NewArtifact(f"{n}", f"a{n}"), Body.of_bytes(b"x")) for n in range(3)
            ]
            await at.runs.remove("run", "a0")
            with pytest.raises(NotFoundError):
                await at.runs.artifact("run", "a0")
            with pytest.raises(NotFoundError):
                await at.runs.remove("run", "a0")
            versions = await at.session.versions("opsconductor-artifacts", prefix="run/a0/")
            assert versions.items == []  # a versioned bucket, and yet it is gone for good
            assert await at.runs.delete("run") == 2
            with pytest.raises(NotFoundError):
                await at.runs.get("run")
            assert (await at.session.usage(made[0].bucket)).versions == 0

    run(story())


def test_reads_are_counted_without_a_write_each(sqlite_url: str) -> None:
    async def story() -> None:
        async with works(sqlite_url) as at:
            await at.runs.add("run", NewArtifact("a.txt", "a"), Body.of_bytes(b"x"))
            for _ in range(3):
                at.clock.advance(1)
                await at.runs.reading("run", "a")
            last = at.clock.now()
            shown = await at.runs.artifact("run", "a")
            assert (shown.access_count, shown.last_access) == (3, last)
            assert (await at.engine.catalog.artifact("default", "run", "a")).access_count == 0
            await at.engine.count_reads()
            kept = await at.engine.catalog.artifact("default", "run", "a")
            assert (kept.access_count, kept.last_access) == (3, last)
            assert (await at.runs.artifact("run", "a")).access_count == 3
            await at.runs.reading("run", "a")
            assert (await at.runs.get("run"))[1][0].access_count == 4

    run(story())


def test_counts_that_cannot_be_written_wait(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with works(sqlite_url) as at:
            await at.runs.add("run", NewArtifact("a.txt", "a"), Body.of_bytes(b"x"))
            await at.runs.reading("run", "a")
            touch = at.engine.catalog.touch_artifacts

            async def lost(*given: Any) -> None:
                raise UnavailableError("the catalog is gone")

            monkeypatch.setattr(at.engine.catalog, "touch_artifacts", lost)
            with pytest.raises(UnavailableError):
                await at.engine.count_reads()
            monkeypatch.setattr(at.engine.catalog, "touch_artifacts", touch)
            await at.runs.reading("run", "a")
            await at.engine.count_reads()
            assert (await at.engine.catalog.artifact("default", "run", "a")).access_count == 2

    run(story())


def test_files_in_place(sqlite_url: str, tmp_path: Path) -> None:
    root, other = tmp_path / "old", tmp_path / "secret"
    (root / "runs").mkdir(parents=True)
    other.mkdir()
    data = b"0123456789" * 60_000
    (root / "runs" / "out.log").write_bytes(data)
    (other / "key").write_bytes(b"do not read")
    (root / "link").symlink_to(other / "key")
    (root / "away").symlink_to(other)
    os.mkfifo(root / "pipe")
    checksum = hashlib.sha256(data).digest()

    async def story() -> None:
        async with works(sqlite_url, str(root)) as at:
            boss = at.of("operator").executions
            wish = NewArtifact("out.log", "f", artifact_type="log", digests=Digests(sha256=checksum))
            made = await boss.register("run", wish, str(root / "runs" / "out.log"), seconds=60)
            assert (made.storage_type, made.size, made.checksum) == ("filesystem", len(data), checksum.hex())
            assert (made.content_type, made.bucket) == ("text/plain", "")
            read = b""
            async with at.runs.file(made) as file:
                async for chunk in file.chunks(Span(0, file.size), made.checksum):
                    read += chunk
                part = b"".join([chunk async for chunk in file.chunks(Span(5, 10))])
            assert (read, part) == (data, data[5:15])
            for path, error in (
                (root / "link", InvalidRequestError),
                (root / "away" / "key", InvalidRequestError),
                (root / "pipe", InvalidRequestError),
                (root / "runs", InvalidRequestError),
                (root / "none", NotFoundError),
                (root / "runs" / "out.log" / "x", InvalidRequestError),
                (f"{root}/../secret/key", InvalidRequestError),
                (other / "key", PermissionDeniedError),
                (root, PermissionDeniedError),
                ("runs/out.log", InvalidRequestError),
            ):
                with pytest.raises(error):
                    await boss.register("run", NewArtifact("n"), str(path))
            for seconds in (-5, -0.5, float("nan")):
                with pytest.raises(InvalidRequestError, match="seconds"):
                    await boss.register(
                        "run", NewArtifact("n"), str(root / "runs" / "out.log"), seconds=seconds
                    )
            wrong = NewArtifact("n", digests=Digests(sha256=bytes(32)))
            with pytest.raises(DigestMismatchError):
                await boss.register("run", wrong, str(root / "runs" / "out.log"))
            with pytest.raises(PermissionDeniedError):
                await at.runs.register("run", NewArtifact("n"), str(root / "runs" / "out.log"))
            (root / "runs" / "out.log").write_bytes(data[:-1] + b"X")
            async with at.runs.file(made) as file:
                with pytest.raises(CorruptedError):
                    async for _ in file.chunks(Span(0, file.size), made.checksum):
                        pass
            (root / "runs" / "out.log").write_bytes(data[:-1])
            with pytest.raises(CorruptedError):
                async with at.runs.file(made):
                    pass
            at.clock.advance(61)
            await at.engine.expire()
            with pytest.raises(NotFoundError):
                await at.runs.artifact("run", "f")
            assert (root / "runs" / "out.log").exists()

    run(story())


def test_a_run_is_looked_after_like_an_object(sqlite_url: str) -> None:
    async def story() -> None:
        async with works(sqlite_url) as at:
            await at.runs.add("run", NewArtifact("a.txt", "a"), Body.of_bytes(b"x"))
            reader, writer = at.of("reader").executions, at.of("writer").executions
            assert len((await reader.get("run"))[1]) == 1
            assert [one.id for one in (await reader.list())[0]] == ["run"]
            for refused in (
                reader.create("mine"),
                reader.update("run", status="done"),
                reader.add("run", NewArtifact("n"), Body.of_bytes(b"x")),
                reader.remove("run", "a"),
                reader.delete("run"),
                writer.add("run", NewArtifact("n", artifact_type="log"), Body.of_bytes(b"x")),
            ):
                with pytest.raises((PermissionDeniedError, NotFoundError)):
                    await refused
            await at.session.create_default_bucket("logs")
            await writer.add("run", NewArtifact("n", artifact_type="log"), Body.of_bytes(b"x"))
            assert (await writer.update("run", status="completed")).status == "completed"
            narrow = at.of("writer", scopes=(Scope("opsconductor-executions", "mine/"),)).executions
            await narrow.create("mine")
            for closed in (
                narrow.get("run"),
                narrow.list(),
                narrow.create("yours"),
                narrow.artifact("run", "a"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await closed
            runs = at.of(
                "reader", scopes=(Scope("opsconductor-executions"), Scope("opsconductor-logs"))
            ).executions
            assert [one.name for one in (await runs.get("run"))[1]] == ["n"]  # not what lies in other buckets
            with pytest.raises(PermissionDeniedError):
                await runs.artifact("run", "a")

    run(story())
