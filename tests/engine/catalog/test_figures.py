"""What operators watch: equal to a recount, and had without reading objects or versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import pytest

from holdfast.catalog import Measures, figures, open_catalog, sqlite, tenancy
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError
from tests.engine.catalog.support import GRACE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def _fill(desk: Desk) -> None:
    for number in range(5):
        await desk.put(f"k{number}", size=10 + number)
    await desk.put("k0", size=7)
    await desk.put("v", "kept", size=3)
    await desk.put("v", "kept", size=4)
    await desk.delete("k1")
    await desk.part(await desk.upload("big"), 1, 100)


def test_usages_equal_a_recount_at_every_moment(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await _fill(desk)
            for _ in range(2):  # before the changes are added up, and after
                found = await desk.catalog.usages()
                assert [(tenant, bucket) for tenant, bucket, _ in found] == [("t", "kept"), ("t", "plain")]
                for tenant, bucket, usage in found:
                    assert usage == await desk.catalog.recount(tenant, bucket)
                    assert usage.bytes > 0
                await desk.catalog.fold_usage()

    run(story())


def test_the_backlog_says_what_waits(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            assert (await desk.catalog.backlog()).doomed == 0
            assert (await desk.catalog.backlog()).due is None
            await _fill(desk)
            await desk.intend(desk.ref("under way"))
            before = await desk.catalog.backlog()
            assert (before.doomed, before.doomed_bytes, before.overdue) == (2, 21, 0.0)
            assert before.due is not None
            assert await desk.catalog.now() < before.due <= await desk.catalog.now() + GRACE
            assert (before.pending, before.uploads, before.expired) == (2, 1, 0)  # a part waits for its whole
            assert (before.unfolded > 0) == catalog_url.startswith("postgres")  # SQLite counts at once
            assert before.unsealed > 0
            desk.advance(GRACE / 1_000_000 + 60)
            assert (await desk.catalog.backlog()).overdue == pytest.approx(60, abs=1)
            await desk.catalog.fold_usage()
            assert (await desk.catalog.backlog()).unfolded == 0

    run(story())


def test_a_tenant_without_limits_has_no_quota(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            assert await desk.catalog.quota_uses() == []

    run(story())


@pytest.mark.parametrize(
    ("room", "name"),
    [(figures, "USAGES"), (figures, "QUOTAS"), (figures, "BACKLOG"), (tenancy, "BUCKETS")],
)
def test_no_statement_scans_what_grows_with_objects(tmp_path: Path, room: ModuleType, name: str) -> None:
    """SQLite's plan names no scan of a table of objects: versions and replicas only through their partial indexes."""
    path = tmp_path / "catalog.db"

    async def story() -> None:
        async with desk_at(f"sqlite:///{path}") as desk:
            await _fill(desk)

    run(story())
    with _reading(path) as connection:
        sql = getattr(room, name).sqlite[0]
        plan = [
            str(row[3])
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", {"tenant": "t", "now": 0}).fetchall()
        ]
    assert plan
    for line in plan:
        for table in ("objects", "versions", "replicas", "segments"):
            if line.startswith((f"SCAN {table}", f"SEARCH {table}")):
                partial = ("ix_versions_expires", "ix_replicas_doomed", "ix_replicas_pending")
                assert any(index in line for index in partial), line


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    connection = sqlite.connect(str(path), write=False)
    try:
        yield connection
    finally:
        assert isinstance(connection, apsw.Connection)
        connection.close()


def test_transactions_are_measured(catalog_url: str) -> None:
    measures = Measures()

    async def story() -> None:
        catalog = await open_catalog(catalog_url, environment=Environment(), upgrade=True, measures=measures)
        try:
            await catalog.create_tenant("t")
            await catalog.create_bucket("t", "plain")
            with pytest.raises(NotFoundError):
                await catalog.bucket("t", "missing")
            await catalog.usages()
        finally:
            await catalog.close()

    run(story())
    found = {kind: sum(measure.counts) for kind, measure in measures.kinds.items()}
    assert found["write"] >= 2
    assert found["read"] >= 1
    assert found["scan"] == 1
    assert all(measure.in_flight == 0 and measure.failed == 0 for measure in measures.kinds.values())
    assert all(measure.seconds > 0 for measure in measures.kinds.values())
