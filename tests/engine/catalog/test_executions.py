"""Executions and artifacts in the catalog: as exact as what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.catalog.contract import Touch
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.records import Artifact, Execution
from holdfast.core.types import BucketSettings, Version
from tests.engine.catalog.support import MINUTE, desk_at, run

pytestmark = pytest.mark.engine


def of(version: Version, name: str = "a", **more: object) -> Artifact:
    return Artifact(
        name,
        version.ref.tenant,
        "run",
        f"{name}.txt",
        bucket=version.ref.bucket,
        key=version.ref.key,
        version_id=version.id,
        size=version.size,
        **more,  # type: ignore[arg-type]
    )


def test_runs_are_made_listed_changed_and_removed(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            made = await catalog.create_execution(Execution("run", "t", "n", "running", {"a": "b"}))
            assert made == await catalog.execution("t", "run")
            assert made.created == made.updated == await catalog.now()
            with pytest.raises(AlreadyExistsError):
                await catalog.create_execution(Execution("run", "t"))
            await catalog.create_tenant("other")
            await catalog.create_execution(Execution("run", "other"))  # ids are the tenant's own
            desk.advance(1)
            for name in ("b", "c", "a"):
                await catalog.create_execution(Execution(name, "t"))
            found = await catalog.executions("t", limit=2)
            assert [one.id for one in found] == ["a", "b"]
            rest = await catalog.executions("t", before=found[-1].created, after=found[-1].id)
            assert [one.id for one in rest] == ["c", "run"]
            changed = await catalog.update_execution(Execution("run", "t", "n2", "completed"))
            assert (changed.name, changed.status, changed.created) == ("n2", "completed", made.created)
            assert changed.updated > made.updated
            assert await catalog.update_execution(changed) == changed
            await catalog.remove_execution("t", "run")
            with pytest.raises(NotFoundError):
                await catalog.execution("t", "run")
            with pytest.raises(NotFoundError):
                await catalog.remove_execution("t", "run")
            assert (await catalog.execution("other", "run")).tenant == "other"
            actions = [entry.action for entry in await catalog.audit("t")]
            assert actions.count("create-execution") == 4
            assert actions.count("update-execution") == 1
            assert actions.count("delete-execution") == 1

    run(story())


def test_an_artifact_is_where_and_until_when_its_content_is(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_execution(Execution("run", "t"))
            with pytest.raises(NotFoundError):
                await catalog.add_artifact(Artifact("a", "t", "nowhere", "n"))
            version = await desk.put("run/a/a.txt", size=9)
            made = await catalog.add_artifact(of(version, metadata={"x": "y"}))
            assert made == await catalog.artifact("t", "run", "a")
            assert (made.storage_type, made.expires, made.size) == ("object_storage", None, 9)
            assert dict(made.metadata) == {"x": "y"}
            with pytest.raises(AlreadyExistsError):
                await catalog.add_artifact(of(version))
            with pytest.raises(NotFoundError):
                await catalog.artifact("other", "run", "a")
            desk.stores = ("catalog",)
            small = await desk.put("run/b/b.txt")
            assert (await catalog.add_artifact(of(small, "b"))).storage_type == "database"
            # the retention of the bucket changes: the artifact's date is the version's, at once
            await catalog.update_bucket("t", "plain", change=with_retention(7))
            dated = await catalog.artifact("t", "run", "a")
            assert dated.expires == version.created + 7 * 86_400_000_000
            assert [one.id for one in await catalog.artifacts("t", "run")] == ["a", "b"]
            assert [one.id for one in await catalog.artifacts("t", "run", after="a")] == ["b"]
            # somebody removes the object itself: the artifact is gone with it
            await desk.delete("run/a/a.txt")
            with pytest.raises(NotFoundError):
                await catalog.artifact("t", "run", "a")
            assert [one.id for one in await catalog.artifacts("t", "run")] == ["b"]
            again = await desk.put("run/a/a.txt")
            assert (await catalog.add_artifact(of(again))).version_id == again.id
            with pytest.raises(ConflictError):
                await catalog.remove_execution("t", "run")
            assert await catalog.remove_artifact("t", "run", "a")
            assert not await catalog.remove_artifact("t", "run", "a")
            assert (await catalog.resolve(again.ref)).version.id == again.id
            await desk.delete("run/b/b.txt")
            await catalog.remove_execution("t", "run")  # what is left of it has no content any more

    run(story())


def with_retention(days: int | None) -> Callable[[BucketSettings], BucketSettings]:
    return lambda settings: replace(settings, retention_days=days)


def test_a_content_that_went_before_it_was_recorded_is_no_artifact(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_execution(Execution("run", "t"))
            version = await desk.put("k")
            await desk.put("k")
            with pytest.raises(ConflictError):
                await desk.catalog.add_artifact(of(version))
            assert await desk.catalog.artifacts("t", "run") == []

    run(story())


def test_reads_are_added_up(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.create_execution(Execution("run", "t"))
            await desk.catalog.add_artifact(of(await desk.put("k")))
            await desk.catalog.touch_artifacts(
                [Touch("t", "run", "a", 3, 50), Touch("t", "run", "gone", 1, 9)]
            )
            await desk.catalog.touch_artifacts([Touch("t", "run", "a", 2, 40)])
            found = await desk.catalog.artifact("t", "run", "a")
            assert (found.access_count, found.last_access) == (5, 50)
            await desk.catalog.touch_artifacts([Touch("t", "run", "a", 1, 60)])
            found = await desk.catalog.artifact("t", "run", "a")
            assert (found.access_count, found.last_access) == (6, 60)

    run(story())


def test_what_is_over_is_forgotten_and_what_is_kept_longer_is_not(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.update_bucket("t", "plain", change=with_retention(1))
            await catalog.create_execution(Execution("run", "t"))
            for name in ("a", "b", "c"):
                await catalog.add_artifact(of(await desk.put(name), name))
            now = await catalog.now()
            file = Artifact(
                "f", "t", "run", "f", storage_type="filesystem", file_path="/f", expires=now + MINUTE
            )
            await catalog.add_artifact(file)
            assert await catalog.forget_artifacts() == 0
            assert len(await catalog.artifacts("t", "run")) == 4
            desk.advance(86_401)
            await desk.delete("a")
            assert (
                await catalog.forget_artifacts() == 2
            )  # that without content, and the file whose time is over
            assert [one.id for one in await catalog.artifacts("t", "run")] == ["b", "c"]
            await catalog.update_bucket("t", "plain", change=with_retention(30))
            assert await catalog.forget_artifacts() == 0
            desk.advance(2 * 86_400)
            await catalog.update_bucket("t", "plain", change=with_retention(None))
            await desk.delete("b")
            assert await catalog.forget_artifacts() == 0  # its row knows the later date by now
            desk.advance(40 * 86_400)
            assert await catalog.forget_artifacts() == 1
            kept = await catalog.artifact("t", "run", "c")
            assert kept.expires is None

    run(story())
