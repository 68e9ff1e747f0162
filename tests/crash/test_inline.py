"""The same faults where small contents live in the catalog: a put is one call, and nothing was begun before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.driver import drive
from tests.crash.flows import FLOWS, Flow
from tests.crash.test_postgres import PostgresDatabases
from tests.servers_postgres import available_server

pytestmark = pytest.mark.crash

INLINE = 16 << 10  #: above all contents of these flows
BY_NAME = {flow.name: flow for flow in FLOWS}
PLAIN = ("put_empty", "put_idempotent", "overwrite_tagged", "delete", "copy_over", "copy_parts", "sweep")
KEPT = ("overwrite", "delete_version")
CASES = [(BY_NAME[name], "plain") for name in PLAIN] + [(BY_NAME[name], "kept") for name in KEPT]


@pytest.mark.parametrize(("flow", "bucket"), CASES, ids=str)
def test_invariants_hold_wherever_it_fails(flow: Flow, bucket: str, ground: Path) -> None:
    tally = drive(flow, bucket, ground, ("memory",), inline=INLINE)
    assert tally.violations == []
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"
    assert tally.acknowledged < tally.faults


def test_a_small_put_is_one_call(ground: Path) -> None:
    tally = drive(BY_NAME["overwrite"], "plain", ground, ("memory",), inline=INLINE)
    assert [call for call in tally.calls if "commit" in call or "begin" in call or ".put" in call] == [
        "catalog.commit_inline"
    ]


@pytest.fixture
def databases() -> Iterator[PostgresDatabases]:
    made = PostgresDatabases(available_server())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "call"),
    [("put_idempotent", "commit_inline"), ("overwrite", "commit_inline"), ("sweep", "forget")],
)
def test_invariants_hold_on_postgresql(
    name: str, call: str, databases: PostgresDatabases, ground: Path
) -> None:
    tally = drive(
        BY_NAME[name],
        "plain",
        ground,
        ("memory",),
        databases=databases,
        calls=lambda label: label == f"catalog.{call}",
        inline=INLINE,
    )
    assert tally.violations == []
    assert tally.tripped == tally.faults > 0
