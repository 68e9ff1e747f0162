"""PostgreSQL goes away at the worst moment: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from holdfast.catalog import open_catalog, postgres, postgres_pool
from holdfast.catalog.chain import Line, pack
from holdfast.catalog.contract import Actor
from holdfast.catalog.postgres_errors import translated
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    HoldfastError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
)
from holdfast.core.types import ApiKey, Deleted, TenantState, Version
from holdfast.engine.audit import Auditor
from holdfast.engine.secrets import RootSecret
from tests.engine.catalog.proxy import Cut, Relay, relay_to
from tests.engine.catalog.support import GRACE, Desk, run
from tests.servers_postgres import available_server, fresh_database, own_server

pytestmark = pytest.mark.engine


@asynccontextmanager
async def desk_behind_relay() -> AsyncIterator[tuple[Desk, Relay]]:
    server = available_server()
    async with relay_to(server.port) as relay:
        world = Environment()
        url = server.url(server.create_database(), port=relay.port)
        catalog = await open_catalog(url, environment=world, upgrade=True)
        await catalog.create_tenant("t")
        await catalog.create_bucket("t", "plain")
        await catalog.create_bucket("t", "kept", versioning=True)
        yield Desk(catalog, world), relay
        await catalog.close()


Deed = Callable[[Desk], Awaitable[Any]]


async def put(desk: Desk) -> None:
    made = await desk.put("k")
    assert (await desk.catalog.resolve(desk.ref("k"))).version == made
    assert made.seq == 1


async def put_versioned(desk: Desk) -> None:
    made = await desk.put("k", "kept")
    page = await desk.catalog.list_versions("t", "kept")
    assert list(page.items) == [made]


async def put_inline(desk: Desk) -> None:
    made = await desk.put_inline("k")
    found = await desk.catalog.resolve(desk.ref("k"), whole=True)
    assert (found.version, found.data) == (made, b"ccccc")
    assert len(await desk.catalog.replicas()) == len(await desk.catalog.content_list()) == 1


async def create_tenant(desk: Desk) -> None:
    await desk.catalog.create_tenant("new")
    with pytest.raises(AlreadyExistsError):
        await desk.catalog.create_tenant("new")


async def create_bucket(desk: Desk) -> None:
    made = await desk.catalog.create_bucket("t", "new")
    assert await desk.catalog.bucket("t", "new") == made
    with pytest.raises(AlreadyExistsError):
        await desk.catalog.create_bucket("t", "new")


async def delete_bucket(desk: Desk) -> None:
    await desk.catalog.delete_bucket("t", "plain")
    with pytest.raises(NotFoundError):
        await desk.catalog.delete_bucket("t", "plain")


async def create_upload(desk: Desk) -> None:
    upload = await desk.upload("k")
    assert (await desk.catalog.list_uploads("t", "plain"))[0] == [upload]


async def create_key(desk: Desk) -> None:
    key = ApiKey("id", "t", "name", "admin", b"d" * 32, 1)
    await desk.catalog.create_key(key)
    assert await desk.catalog.api_key("id") == key


async def revoke_key(desk: Desk) -> None:
    await desk.catalog.revoke_key("old", tenant="t")
    await audited_once(desk, "revoke-key")


async def revoke_token(desk: Desk) -> None:
    await desk.catalog.revoke_token("t/us:1", tenant="t", expires=1 << 60)
    assert await desk.catalog.token_revoked("t/us:1")
    await audited_once(desk, "revoke-token")


async def note(desk: Desk) -> None:
    await desk.catalog.note("t", "create-token", {"id": "1"})
    await audited_once(desk, "create-token")


async def suspend_tenant(desk: Desk) -> None:
    made = await desk.catalog.update_tenant("t", state=TenantState.SUSPENDED)
    assert await desk.catalog.tenant("t") == made
    await audited_once(desk, "update-tenant")


async def rotate_signing(desk: Desk) -> None:
    assert (await desk.catalog.rotate_signing("t")).signing_generation == 2
    assert (await desk.catalog.tenant("t")).signing_generation == 2
    await audited_once(desk, "rotate-signing")


async def audited_once(desk: Desk, action: str) -> None:
    assert [entry.action for entry in await desk.catalog.audit("t")].count(action) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize(
    "deed",
    [
        *(
            put,
            put_versioned,
            put_inline,
            create_tenant,
            create_bucket,
            delete_bucket,
            create_upload,
            create_key,
        ),
        *(revoke_key, revoke_token, note, suspend_tenant, rotate_signing),
    ],
)
def test_a_commit_that_is_cut_off_is_done_once(deed: Deed, cut: Cut) -> None:
    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            await desk.catalog.create_key(ApiKey("old", "t", "name", "admin", b"o" * 32, 1))
            relay.cut = cut
            await deed(desk)
            assert relay.cuts == 1, "the line was cut in this test"
            if deed is not delete_bucket:
                await desk.check_counters()

    run(story())


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("deed", ["seal", "record", "prune", "restart"])
def test_the_audit_is_sealed_once_also_when_it_is_cut_off(deed: str, cut: Cut) -> None:
    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            auditor = Auditor(desk.catalog, RootSecret(b"an audit's secret that tests share"))
            if deed in ("prune", "restart"):
                await auditor.seal()
            before = [entry.action for entry in await desk.catalog.audit("t")]
            relay.cut = cut
            if deed == "seal":
                assert (await auditor.seal()).failed == {}
            elif deed == "record":
                await desk.catalog.seal_audit("t", auditor.chain("t"), pack([Line(1, action="get")]))
                before = ["get", *before]
            elif deed == "prune":
                pruned = await auditor.prune("t", before=1 << 60, actor=Actor("op"))
                assert pruned.records == len(before)
                before = ["prune-audit"]
            else:
                await auditor.restart("t", actor=Actor("op"))
                before = ["restart-audit"]
            assert relay.cuts == 1
            assert [entry.action for entry in await desk.catalog.audit("t")] == before
            await auditor.seal()
            assert [entry.action for entry in await desk.catalog.audit("t")] == before
            assert (await auditor.verify("t")).whole

    run(story())


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("bucket", ["plain", "kept"])
def test_a_delete_that_is_cut_off_is_done_once(bucket: str, cut: Cut) -> None:
    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            made = await desk.put("k", bucket)
            relay.cut = cut
            done = await desk.delete("k", bucket)
            assert relay.cuts == 1
            assert done == Deleted(made.id) if bucket == "plain" else done.delete_marker
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("k", bucket))
            assert len((await desk.catalog.list_versions("t", bucket)).items) == (
                0 if bucket == "plain" else 2
            )
            await desk.check_counters()
            named = await desk.put("named", bucket)
            relay.cut = cut
            assert await desk.delete("named", bucket, named.id) == Deleted(named.id)
            assert relay.cuts == 2
            await desk.check_counters()

    run(story())


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_upload_that_is_cut_off_is_done_once(cut: Cut) -> None:
    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            upload = await desk.upload("k")
            relay.cut = cut
            part, _ = await desk.part(upload, 1)
            assert relay.cuts == 1
            await desk.check_counters()
            relay.cut = cut
            new = desk.assembled(upload, [part])
            made = await desk.catalog.complete_upload(upload.id, new, grace=GRACE)
            assert relay.cuts == 2
            assert (await desk.catalog.resolve(upload.ref)).version == made
            other = await desk.upload("other")
            await desk.part(other, 1)
            relay.cut = cut
            await desk.catalog.abort_upload(other.ref, other.id)
            assert relay.cuts == 3
            await desk.check_counters()

    run(story())


def test_another_writer_between_the_cut_and_the_answer() -> None:
    """The commit took effect, its answer was lost, and somebody overwrote the object before we asked again."""

    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            other = Desk(await open_catalog(fresh_or(desk), environment=Environment()), Environment())
            relay.cut = "after"
            first = asyncio.create_task(desk.put("k"))
            await relay.was_cut.wait()
            second = await other.put("k")
            made = await first
            current = (await desk.catalog.resolve(desk.ref("k"))).version
            assert current.id in (made.id, second.id)
            assert len((await desk.catalog.list_objects("t", "plain")).items) == 1
            await desk.check_counters()
            await other.catalog.close()

    def fresh_or(desk: Desk) -> str:
        return str(desk.catalog._runner._pool._url)  # type: ignore[attr-defined]

    run(story())


def test_a_catalog_that_stays_away_is_unavailable_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_PATIENCE", 0.5)

    async def story() -> None:
        async with desk_behind_relay() as (desk, relay):
            copies = await desk.intend(desk.ref("k"))
            new, ids = desk.content(desk.ref("k"), copies), [copies[0].id]
            relay.cut = "after"
            commit = asyncio.create_task(desk.catalog.commit_put(new, ids, grace=GRACE))
            await relay.was_cut.wait()
            relay.refuse()
            with pytest.raises(UnavailableError, match="not known"):
                await commit
            for call in (desk.catalog.ping(), desk.put("other"), desk.catalog.list_objects("t", "plain")):
                with pytest.raises(UnavailableError):
                    await call
            relay.refusing = False
            await desk.catalog.abandon(ids)
            made = await desk.catalog.commit_put(new, ids, grace=GRACE)
            assert (await desk.catalog.resolve(desk.ref("k"))).version.id == made.id

    run(story())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_a_restart_under_load_loses_nothing_acknowledged(how: signal.Signals) -> None:
    with own_server(durable=True) as server:

        async def story() -> None:
            world = Environment()
            url = server.url(server.create_database())
            desk = Desk(await open_catalog(url, environment=world, upgrade=True, connections=8), world)
            await desk.catalog.create_tenant("t")
            await desk.catalog.create_bucket("t", "plain")
            await desk.catalog.create_bucket("t", "kept", versioning=True)
            acknowledged: list[Version] = []
            failed: list[HoldfastError] = []
            stop = threading.Event()

            async def writer(number: int) -> None:
                count = 0
                while not stop.is_set():
                    count += 1
                    try:
                        acknowledged.append(await desk.put(f"w{number}/{count}", "kept"))
                    except UnavailableError as error:
                        failed.append(error)

            def bounce() -> None:
                for _ in range(2):
                    server.stop(how)
                    server.start()

            writers = [asyncio.create_task(writer(number)) for number in range(12)]
            await asyncio.sleep(0.5)
            await asyncio.to_thread(bounce)
            before = len(acknowledged)
            await asyncio.sleep(1)
            stop.set()
            await asyncio.gather(*writers)
            assert len(acknowledged) > before > 0, "writing went on after the restart by itself"
            for version in acknowledged:
                found = await desk.catalog.resolve(version.ref)
                assert found.version == version
            assert not failed, "a restart of a second or two is waited for"
            await desk.check_counters()
            await desk.catalog.close()

        run(story())


def test_a_caller_that_gives_up_leaves_no_connection_in_doubt() -> None:
    async def story() -> None:
        world = Environment()
        catalog = await open_catalog(fresh_database(), environment=world, upgrade=True, connections=2)
        desk = Desk(catalog, world)
        await catalog.create_tenant("t")
        await catalog.create_bucket("t", "plain")
        await catalog.create_bucket("t", "kept", versioning=True)
        for number in range(40):
            task = asyncio.create_task(desk.put("k"))
            await asyncio.sleep(number / 5000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await desk.put("k")
        await desk.check_counters()
        await catalog.close()

    run(story())


def test_a_commit_is_durable_even_where_the_server_would_not_ask_for_it() -> None:
    async def story() -> None:
        url = fresh_database()
        connection = await asyncpg.connect(url)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        await connection.close()
        ours = await postgres_pool.connect(url)
        assert await ours.fetchval("SHOW synchronous_commit") == "on"
        await ours.close()

    run(story())


def test_what_the_server_refuses_is_said_clearly() -> None:
    async def story() -> None:
        url = fresh_database()
        with pytest.raises(ConfigError, match="does not exist"):
            await open_catalog(url + "_not_there")
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await open_catalog("postgresql://postgres@127.0.0.1:1/nowhere")

    run(story())
    full = translated(asyncpg.exceptions.DiskFullError("no space left"))
    assert isinstance(full, QuotaExceededError)
    assert "disk" in full.message
