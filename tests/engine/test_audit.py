"""What waits to be sealed: bounded, kept while the catalog is away, and only then counted as lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.catalog.chain import Line
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, UnavailableError
from holdfast.engine.audit import AuditFilter, Auditor
from holdfast.engine.recording import Raw, Recorder, by_tenant
from holdfast.engine.secrets import RootSecret, root_secret
from tests.engine.catalog.support import desk_at, run
from tests.helpers import engine_on, memory_store

pytestmark = pytest.mark.engine

SECRET = RootSecret(b"an audit's secret that tests share")


def line(raw: Raw) -> tuple[str, Line]:
    tenant, at, action = raw
    return tenant, Line(at, action=action)


def test_a_recorder_is_bounded_and_counts_what_it_drops() -> None:
    recorder = Recorder(most=3)
    for number in range(5):
        recorder.add(line, ("t", number, "get"))
    assert (len(recorder), recorder.dropped) == (3, 2)
    taken = asyncio.run(by_tenant(*recorder.take()))
    assert [one.at for one in taken["t"]] == [0, 1, 2]
    assert len(recorder) == 0
    recorder.add(line, ("u", 9, "get"))
    recorder.keep("t", taken["t"])
    assert (len(recorder), recorder.dropped) == (3, 3)
    assert {
        tenant: [one.at for one in lines]
        for tenant, lines in asyncio.run(by_tenant(*recorder.take())).items()
    } == {
        "t": [0, 1],
        "u": [9],
    }


class _Away:
    """A catalog that can be away."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise UnavailableError("the catalog is away")
        return getattr(self._inner, name)


def test_what_cannot_be_sealed_waits_for_the_catalog(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = _Away(desk.catalog)
            auditor = Auditor(catalog, SECRET)  # type: ignore[arg-type]
            catalog.away = True
            for number in range(1, 4):
                auditor.recorder.add(line, ("t", number, "get"))
                with pytest.raises(UnavailableError):
                    await auditor.seal()
            assert len(auditor.recorder) == 3
            catalog.away = False
            await auditor.seal()
            assert len(auditor.recorder) == 0
            entries = await desk.catalog.audit("t")
            assert [entry.at for entry in entries if entry.action == "get"] == [1, 2, 3]
            assert (await auditor.verify("t")).whole

    run(story())


def test_one_tenants_broken_chain_does_not_stop_the_others(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await Auditor(desk.catalog, RootSecret(b"another secret that is long enough, too")).seal()
            auditor = Auditor(desk.catalog, SECRET)
            for tenant in ("t", "u"):
                auditor.recorder.add(line, (tenant, 1, "get"))
            report = await auditor.seal()
            assert "t" in report.failed
            assert "u" not in report.failed
            assert len(auditor.recorder) == 1
            assert [entry.action for entry in await desk.catalog.audit("u")] == ["get"]

    run(story())


def test_many_records_become_many_segments_and_come_back_in_pages(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            auditor = Auditor(desk.catalog, SECRET)
            for number in range(2600):
                auditor.recorder.add(line, ("u", number, "get" if number % 100 else "put"))
            assert (await auditor.seal()).failed == {}
            verdict = await auditor.verify("u")
            assert (verdict.whole, verdict.records, verdict.segments) == (True, 2600, 3)
            found = [entry.at async for entry in auditor.records("u", AuditFilter())]
            assert found == list(range(2600))
            page, after = await auditor.page("u", AuditFilter(since=995, until=1005), limit=6)
            assert ([entry.at for entry in page], after) == (list(range(995, 1001)), 1001)
            rest, after = await auditor.page("u", AuditFilter(since=995, until=1005), after=after, limit=6)
            assert ([entry.at for entry in rest], after) == ([1001, 1002, 1003, 1004], 0)

    run(story())


def test_all_processes_over_a_catalog_share_its_secret(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            made = await asyncio.gather(*(root_secret(desk.catalog, Environment()) for _ in range(8)))
            keys = {one.derive("audit", "t") for one in made}
            assert len(keys) == 1
            assert (await root_secret(desk.catalog, Environment())).derive("audit", "t") in keys
            named = await root_secret(desk.catalog, Environment(), " 0123456789abcdef0123456789abcdef\n")
            assert named.derive("audit", "t") not in keys
            with pytest.raises(ConfigError):
                await root_secret(desk.catalog, Environment(), "too short")

    run(story())


def test_keys_of_different_uses_are_different_and_the_secret_is_not_shown() -> None:
    keys = {
        SECRET.derive("audit", "t"),
        SECRET.derive("audit", "u"),
        SECRET.derive("audit"),
        SECRET.derive("link", "t"),
        SECRET.derive("audit", "t", ""),
        SECRET.derive("audit", "", "t"),
    }
    assert len(keys) == 6
    assert "tests share" not in f"{SECRET!r} {SECRET}"


def test_engines_that_share_a_secret_verify_each_other(catalog_url: str) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, memory_store("memory", Environment())) as (engine, session):
            await session.create_bucket("another")
            await engine.audit.seal()
            whole = await session.verify_audit()
            assert whole.whole
            assert whole.records >= 3
            records, after = await session.audit(AuditFilter(bucket="another"))
            assert [(entry.action, after) for entry in records] == [("create-bucket", 0)]

    run(story())
