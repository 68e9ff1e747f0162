"""Deleted tenants: refused at once, restored in time, removed whole afterwards, and the audit of it stays whole."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

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
    UnauthenticatedError,
)
from holdfast.core.failpoints import armed
from holdfast.core.types import Principal, Quota, TenantState, Usage
from holdfast.engine.engine import Engine
from holdfast.engine.executions import NewArtifact
from holdfast.engine.keys import Authenticator
from holdfast.engine.measuring import measure
from holdfast.engine.session import Session
from tests.helpers import blobs_on_disk, content, engine_on, local_store, run

pytestmark = pytest.mark.engine
OPERATOR = Principal("boss", "default", "operator")
DAY = 86_400


@dataclass
class House:
    engine: Engine
    clock: ManualClock
    disk: Path

    def of(self, tenant: str) -> Session:
        return self.engine.session(Principal("p", tenant, "admin"))

    @property
    def boss(self) -> Session:
        return self.engine.session(OPERATOR)


@asynccontextmanager
async def house(url: str, root: Path) -> AsyncIterator[House]:
    """A service with the tenants acme and other, each with objects, uploads, keys and runs."""
    environment = Environment.seeded(5)
    assert isinstance(environment.clock, ManualClock)
    async with engine_on(url, local_store("local", root, environment), environment=environment) as (
        engine,
        _,
    ):
        at = House(engine, environment.clock, root)
        for tenant in ("acme", "other"):
            environment.clock.advance(1)
            await at.boss.admin.create_tenant(tenant)
            session = at.of(tenant)
            for bucket in ("photos", "notes"):
                await session.create_bucket(bucket, versioning=bucket == "notes")
                for number in range(3):
                    await session.put(bucket, f"k{number % 2}", Body.of_bytes(b"%d" % number))
            await session.delete("notes", "k0")
            upload = await session.create_upload("photos", "big")
            await session.put_part("photos", "big", upload.id, 1, Body.of_bytes(b"part"))
            await session.executions.create("run-1")
            await session.executions.add(
                "run-1", NewArtifact("log.txt", artifact_type="log"), Body.of_bytes(b"l")
            )
            await session.admin.create_key("ci", "writer")
            await session.put("notes", "again", Body.of_bytes(b"a"), idempotency_key="once")
        yield at


async def holds(engine: Engine, tenant: str) -> dict[str, Usage]:
    return {bucket.name: usage for bucket, usage in await engine.catalog.buckets(tenant)}


def test_a_deleted_tenant_is_refused_restored_and_in_the_end_removed(
    catalog_url: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with house(catalog_url, tmp_path / "disk") as at:
            engine, boss = at.engine, at.boss.admin
            authenticate = Authenticator(engine.catalog, at.clock)
            _, token = await at.of("acme").admin.create_key("k", "admin")
            _, theirs = await at.of("other").admin.create_key("k", "admin")
            await authenticate(token)
            before = await holds(engine, "other")
            made = await boss.delete_tenant("acme", grace=DAY)
            assert made.state is TenantState.DELETING
            at.clock.advance(5.1)
            with pytest.raises(PermissionDeniedError, match="being deleted"):
                await authenticate(token)
            await boss.restore_tenant("acme")
            at.clock.advance(5.1)
            assert (await authenticate(token)).tenant == "acme"
            assert await content(at.of("acme"), "photos", "k0") == b"2"

            await boss.delete_tenant("acme", grace=DAY)
            assert await engine.remove_tenants() == []
            at.clock.advance(DAY)
            assert await engine.remove_tenants() == []  # until every process has noticed
            with pytest.raises(ConflictError):
                await boss.restore_tenant("acme")
            at.clock.advance(5.1)
            assert await engine.remove_tenants() == ["acme"]
            assert await engine.remove_tenants() == []
            with pytest.raises(NotFoundError):
                await boss.tenant("acme")
            with pytest.raises(UnauthenticatedError):
                await authenticate(token)
            assert await engine.catalog.buckets("acme") == []
            at.clock.advance(2 * DAY)
            await engine.sweep()
            names = {str(path.relative_to(at.disk)).partition("/")[0] for path in blobs_on_disk(at.disk)}
            assert names == {"other"}
            assert await holds(engine, "other") == before
            assert (await authenticate(theirs)).tenant == "other"
            assert len((await at.of("other").executions.get("run-1"))[1]) == 1
            with pytest.raises(AlreadyExistsError, match="was removed"):
                await boss.create_tenant("acme")

            await engine.audit.seal()
            verdicts = {verdict.tenant: verdict for verdict in await engine.audit.verify_all()}
            assert [name for name, verdict in verdicts.items() if not verdict.whole] == []
            assert verdicts["acme"].records > 10
            told = [
                entry.action
                for entry in await engine.catalog.audit("")
                if entry.detail.get("tenant") == "acme"
            ]
            assert told == ["delete-tenant", "restore-tenant", "delete-tenant", "remove-tenant"]

    run(story())


def rows_of(path: Path, tenant: str, bucket_ids: list[int]) -> dict[str, int]:
    """Count the rows of every table that belong to a tenant or to one of its buckets."""
    found = {}
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            ids = ", ".join(map(str, bucket_ids))
            if "tenant" in columns:
                where = f"tenant = '{tenant}'"
            elif "bucket_id" in columns:
                where = f"bucket_id IN ({ids})"
            else:
                continue
            found[table] = database.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]
    return found


def test_nothing_of_it_is_left_in_any_table_but_its_audit(sqlite_url: str, tmp_path: Path) -> None:
    ids: dict[str, list[int]] = {}

    async def story() -> None:
        async with house(sqlite_url, tmp_path / "disk") as at:
            for tenant in ("acme", "other"):
                await at.engine.catalog.set_quota(tenant, None, Quota(1_000_000))
                ids[tenant] = [bucket.id for bucket, _ in await at.engine.catalog.buckets(tenant)]
            await measure(at.engine.context)
            await at.boss.admin.delete_tenant("acme", grace=0)
            at.clock.advance(5.1)
            assert await at.engine.remove_tenants() == ["acme"]
            await at.engine.audit.seal()
            await measure(at.engine.context)

    run(story())
    catalog = Path(sqlite_url.removeprefix("sqlite:///"))
    held = {
        "buckets",
        "versions",
        "objects",
        "quotas",
        "api_keys",
        "executions",
        "artifacts",
        "uploads",
        "store_usage",
    }
    theirs, left = (
        {table for table, count in rows_of(catalog, tenant, ids[tenant]).items() if count}
        for tenant in ("other", "acme")
    )
    assert held <= theirs  # so much there would be to leave behind
    assert left == {"audit_heads", "audit_segments"}


def test_a_removal_that_dies_is_taken_up_again(sqlite_url: str, tmp_path: Path) -> None:
    class Death(BaseException):
        pass

    async def story() -> None:
        async with house(sqlite_url, tmp_path / "disk") as at:
            before = await holds(at.engine, "other")
            await at.boss.admin.delete_tenant("acme", grace=0)
            at.clock.advance(5.1)
            deaths = 0

            def die(place: str) -> None:
                nonlocal deaths
                if place in ("tenant.after_bucket", "tenant.after_page") and deaths < 4:
                    deaths += 1
                    raise Death(place)

            while True:
                with armed(die):
                    try:
                        removed = await at.engine.remove_tenants()
                        break
                    except Death:
                        continue
            assert deaths == 4
            assert removed == ["acme"]
            assert await holds(at.engine, "other") == before
            await at.engine.audit.seal()
            assert all(verdict.whole for verdict in await at.engine.audit.verify_all())

    run(story())


def test_what_cannot_be_deleted(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path / "disk") as at:
            for name, error in (("default", ConflictError), ("nobody", NotFoundError)):
                with pytest.raises(error):
                    await at.boss.admin.delete_tenant(name)
            stranger = at.engine.session(Principal("boss2", "acme", "operator")).admin
            for name in ("default", "acme"):  # the first of the service, and one's own
                with pytest.raises(ConflictError):
                    await stranger.delete_tenant(name)
            with pytest.raises(InvalidRequestError):
                await at.boss.admin.delete_tenant("acme", grace=-1)
            with pytest.raises(InvalidRequestError):
                await at.boss.admin.update_tenant("acme", state=TenantState.DELETING)
            for verb in ("delete_tenant", "restore_tenant"):
                with pytest.raises(PermissionDeniedError):
                    await getattr(at.of("acme").admin, verb)("acme")
            assert (await at.engine.catalog.tenant("acme")).state is TenantState.ACTIVE

    run(story())


def test_a_tenant_that_somebody_still_adds_to_is_left_for_the_next_time(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path / "disk") as at:
            await at.boss.admin.delete_tenant("acme", grace=0)
            at.clock.advance(5.1)
            clear, late = at.engine.catalog.clear_tenant, True

            async def clear_and_add(name: str, *, limit: int = 1000) -> bool:
                nonlocal late
                done = await clear(name, limit=limit)
                if done and late:
                    late = False
                    await at.of("acme").create_bucket("late")
                return done

            monkeypatch.setattr(at.engine.catalog, "clear_tenant", clear_and_add)
            assert await at.engine.remove_tenants() == []
            assert list(await holds(at.engine, "acme")) == ["late"]
            assert await at.engine.remove_tenants() == ["acme"]
            with pytest.raises(HoldfastError):
                await at.of("acme").create_bucket("later")

    run(story())
