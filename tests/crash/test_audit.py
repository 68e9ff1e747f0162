"""Sealing and pruning, failed and killed around each of their calls: no change is lost or told twice, all stays whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.catalog import open_catalog
from holdfast.catalog.chain import Line
from holdfast.catalog.contract import Actor
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.engine.audit import Auditor
from holdfast.engine.recording import Raw
from holdfast.engine.secrets import RootSecret
from tests.crash.tripwire import Death, Fault, Kind, Tripwire, When, WiredCatalog
from torture.audit import TAMPERINGS, Ground, trial

pytestmark = pytest.mark.crash

SECRET = RootSecret(b"an audit's secret that tests share")
READS = ("r0", "r1", "r2")


def _line(raw: Raw) -> tuple[str, Line]:
    return "t", Line(raw[0], action="get", request_id=raw[1])


async def _act(auditor: Auditor, what: str) -> None:
    for number, name in enumerate(READS):
        auditor.recorder.add(_line, (number + 1, name))
    report = await auditor.seal()
    if report.failed:
        raise next(iter(report.failed.values()))
    if what == "prune":
        await auditor.prune("t", before=1 << 60, actor=Actor("op"))


async def _one(url: str, what: str, fault: Fault | None) -> tuple[Tripwire, list[tuple[str, str]], int]:
    """Prepare, act until the fault, and return what the audit says afterwards."""
    world = Environment.seeded(3)
    catalog = await open_catalog(url, environment=world, upgrade=True)
    wire = Tripwire(fault)
    try:
        await catalog.create_tenant("t")
        for name in ("one", "two", "three"):
            await catalog.create_bucket("t", name)
        acting = Auditor(WiredCatalog(catalog, wire), SECRET)  # type: ignore[arg-type]
        auditor = Auditor(catalog, SECRET)
        try:
            await _act(acting, what)
        except Death:
            pass  # a new process goes on: what waited in memory is gone
        except HoldfastError:
            auditor.recorder = acting.recorder  # the same process, a second later
        await auditor.seal()
        verdict = await auditor.verify("t")
        assert verdict.whole, (fault, verdict)
        assert verdict.open == 0
        entries = await catalog.audit("t")
        assert [entry.number for entry in entries] == list(
            range(verdict.pruned + 1, verdict.pruned + 1 + len(entries))
        )
        return wire, [(entry.action, entry.bucket or entry.request_id) for entry in entries], verdict.pruned
    finally:
        await catalog.close()


@pytest.mark.parametrize("what", ["seal", "prune"])
def test_a_sealer_may_fail_or_die_anywhere(what: str, tmp_path: Path) -> None:
    async def story() -> None:
        calm, _, _ = await _one(f"sqlite:///{tmp_path}/calm.db", what, None)
        assert {"catalog.audit_open", "catalog.seal_audit"} <= set(calm.labels)
        for call in range(1, len(calm.labels) + 1):
            for kind in Kind:
                for when in (When.BEFORE, When.AFTER):
                    fault = Fault(call, kind, when)
                    url = f"sqlite:///{tmp_path}/{call}-{kind}-{when}.db"
                    wire, told, pruned = await _one(url, what, fault)
                    assert wire.tripped, fault
                    if pruned:
                        assert pruned >= 4, fault  # the tenant's and the buckets' rows, whole segments only
                        continue
                    changes = [name for action, name in told if action == "create-bucket"]
                    assert changes == ["one", "two", "three"], (fault, told)
                    reads = {name for action, name in told if action == "get"}
                    assert reads == set(READS) or (kind is Kind.DEATH and not reads), (fault, told)

    asyncio.run(story())


@pytest.mark.parametrize("number", range(len(TAMPERINGS)), ids=lambda number: TAMPERINGS[number].__name__)
def test_every_way_of_tampering_is_found(number: int, tmp_path: Path) -> None:
    found, said = asyncio.run(trial(number, tmp_path, TAMPERINGS[number]))
    assert found, said


def test_the_harness_fails_when_nothing_is_found(tmp_path: Path) -> None:
    def nothing(ground: Ground) -> None:
        """Leave all as it is."""

    assert asyncio.run(trial(1, tmp_path, nothing)) == (False, "it passed")
