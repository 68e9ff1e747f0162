"""The same faults while a store is down, and while versions are brought home from where they were accepted instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from holdfast.core.backend import StoreState
from holdfast.core.types import ReplicaState
from holdfast.jobs.reconcile import pay
from holdfast.policy.placement import Rule, WhenDown
from tests.crash.driver import Tally, drive
from tests.crash.flows import KEY, Flow, Here, body_of, nothing, put_new, put_old, put_stream
from tests.crash.test_postgres import PostgresDatabases
from tests.crash.tripwire import WiredCatalog
from tests.servers_postgres import available_server

pytestmark = pytest.mark.crash

STORES = ("home", "spare")
FALLBACK = Rule("media", ("home",), when_down=WhenDown.FALLBACK, fallback=("spare",))
MIRRORED = Rule("mirrored", STORES)


async def put_while_closed(here: Here) -> None:
    here.engine.stores["home"].state = StoreState.DOWN
    await put_new(here)


async def put_away(here: Here) -> None:
    await put_old(here)
    await put_while_closed(here)


async def upload_away(here: Here) -> None:
    here.engine.stores["home"].state = StoreState.DOWN
    upload = await here.session.create_upload(here.bucket, KEY)
    parts = [
        await here.session.put_part(here.bucket, KEY, upload.id, number, body_of(number, 2000))
        for number in (1, 2)
    ]
    await here.session.complete_upload(
        here.bucket, KEY, upload.id, [(part.number, part.etag) for part in parts]
    )


async def come_home(here: Here) -> None:
    """Undisturbed, everything is where it belongs then."""
    catalog = here.engine.catalog
    await pay(here.engine, hurry=True)
    if isinstance(catalog, WiredCatalog):
        return
    assert not await catalog.debts()
    wanted = set(here.engine.context.placement.default.stores)
    located = await catalog.resolve((await here.session.head(here.bucket, KEY))[0].ref)
    live = [(copy.segment_id, copy.store) for copy in located.replicas if copy.state is ReplicaState.LIVE]
    assert sorted(live) == sorted((segment.id, store) for segment in located.segments for store in wanted)


ALL: Final = ""
FAILS_OVER = Flow("put_fails_over", nothing, put_new, repeatable=False)
CLOSED = Flow("put_while_closed", put_old, put_while_closed, repeatable=False)
STREAM = Flow("stream_fails_over", put_old, put_stream, repeatable=False)
HOME = Flow("come_home", put_away, come_home)
PARTS_HOME = Flow("parts_come_home", upload_away, come_home)
MIRROR = Flow("mirror", put_old, come_home)
#: What is done, in which bucket, by which rule, and which calls fail.
CASES = (
    (FAILS_OVER, "plain", FALLBACK, ALL),
    (CLOSED, "kept", FALLBACK, "commit_put"),
    (STREAM, "plain", FALLBACK, ".put"),
    (HOME, "plain", FALLBACK, ALL),
    (PARTS_HOME, "kept", FALLBACK, "adopt"),
    (PARTS_HOME, "plain", FALLBACK, ".put"),
    (MIRROR, "kept", MIRRORED, "adopt"),
)


def check(tally: Tally) -> None:
    assert tally.violations == []
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"


@pytest.mark.parametrize(
    ("flow", "bucket", "rule", "calls"), CASES, ids=lambda value: getattr(value, "name", str(value))
)
def test_invariants_hold_wherever_it_fails(
    flow: Flow, bucket: str, rule: Rule, calls: str, ground: Path
) -> None:
    check(drive(flow, bucket, ground, STORES, rule=rule, calls=lambda label: calls in label))


def test_a_put_that_falls_back_is_acknowledged(ground: Path) -> None:
    tally = drive(FAILS_OVER, "plain", ground, STORES, rule=FALLBACK, calls=lambda label: label == "home.put")
    check(tally)
    assert tally.acknowledged == 3  # an error before, while and after the bytes went; death is death


@pytest.fixture
def databases() -> Iterator[PostgresDatabases]:
    made = PostgresDatabases(available_server())
    yield made
    made.close()


def test_invariants_hold_on_postgresql(databases: PostgresDatabases, ground: Path) -> None:
    tally = drive(
        HOME,
        "plain",
        ground,
        STORES,
        rule=FALLBACK,
        databases=databases,
        calls=lambda label: label == "catalog.adopt",
    )
    check(tally)
    assert tally.faults == 4
