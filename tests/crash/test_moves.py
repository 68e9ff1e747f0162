"""The same faults while a store is moved to another, and while versions are given tiers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from holdfast.core.body import Body
from holdfast.core.types import ReplicaState
from holdfast.engine import replicas
from holdfast.jobs.kinds import Kind
from holdfast.jobs.moving import Migrate
from holdfast.jobs.tiering import Recall, Tier
from holdfast.policy.placement import Rule
from tests.crash.driver import drive
from tests.crash.flows import KEY, Flow, Here, body_of, put_old
from tests.crash.tripwire import WiredCatalog
from tests.engine.alone import run_alone

pytestmark = pytest.mark.crash

STORES: Final = ("home", "spare")
AT_HOME: Final = Rule("at-home", ("home",))
WITHIN: Final = {"tenant": "default"}


async def stores_of(here: Here) -> set[str]:
    rows = await here.engine.catalog.replicas()
    return {row.store for row in rows if row.state is ReplicaState.LIVE}


async def some(here: Here) -> None:
    await put_old(here)
    await here.session.put(here.bucket, f"{KEY}2", body_of(8, 3000))
    upload = await here.session.create_upload(here.bucket, "parts")
    parts = [
        await here.session.put_part(here.bucket, "parts", upload.id, number, Body.of_bytes(b"x" * 2000))
        for number in (1, 2)
    ]
    await here.session.complete_upload(
        here.bucket, "parts", upload.id, [(part.number, part.etag) for part in parts]
    )


async def done(here: Here, kind: Kind, spec: dict[str, object], store: str) -> None:
    """Run a job; undisturbed, everything is in `store` then."""
    await run_alone(here.engine, kind, spec, most_rounds=15)
    if not isinstance(here.engine.catalog, WiredCatalog):
        assert await stores_of(here) == {store}


async def migrate(here: Here) -> None:
    await done(here, Migrate(), {"source": "home", "target": "spare", "keep": 0}, "spare")


async def tier(here: Here) -> None:
    await done(here, Tier(), {"store": "spare", **WITHIN}, "spare")


async def tiered(here: Here) -> None:
    await some(here)
    await tier(here)


async def recall(here: Here) -> None:
    await done(here, Recall(), WITHIN, "home")


async def migrate_folders(here: Here) -> None:
    await done(here, Migrate(), {"source": "local-home", "target": "local-spare", "keep": 0}, "local-spare")


MIGRATE = Flow("migrate", some, migrate)
TIER = Flow("tier", put_old, tier)
RECALL = Flow("recall", tiered, recall)
#: What is done, in which bucket, and which calls fail.
CASES: Final = (
    (MIGRATE, "kept", "adopt"),
    (MIGRATE, "plain", "change_moves"),
    (MIGRATE, "plain", "spare.put"),
    (TIER, "kept", "set_tiers"),
    (RECALL, "plain", "set_tiers"),
)


@pytest.mark.parametrize(
    ("flow", "bucket", "calls"), CASES, ids=lambda value: getattr(value, "name", str(value))
)
def test_invariants_hold_wherever_it_fails(flow: Flow, bucket: str, calls: str, ground: Path) -> None:
    tally = drive(flow, bucket, ground, STORES, rule=AT_HOME, calls=lambda label: calls in label)
    assert tally.violations == []
    assert tally.calls
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"


@pytest.mark.parametrize("describing", [False, True])
def test_invariants_hold_where_a_store_copies_by_itself(
    describing: bool, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "_WORTH", 1)
    folders = ("local-home", "local-spare")
    tally = drive(
        Flow("migrate folders", put_old, migrate_folders),
        "kept",
        ground,
        folders,
        rule=Rule("at-home", folders[:1]),
        calls=lambda label: label == "local-spare.copy_from",
        describing=describing,
    )
    assert tally.violations == []
    assert (tally.faults, tally.tripped) == (4, 4)
