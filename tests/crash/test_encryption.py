"""The same faults where every blob is encrypted: none is ever without its key, and no key outlives its blob and a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.policy.placement import Rule
from tests.crash.driver import drive
from tests.crash.flows import FLOWS, Flow

pytestmark = pytest.mark.crash

RULE = Rule("default", ("memory",), encrypt=True)
BY_NAME = {flow.name: flow for flow in FLOWS}
NAMES = ("overwrite", "part_replace", "sweep")


@pytest.mark.parametrize("flow", [BY_NAME[name] for name in NAMES], ids=str)
def test_invariants_hold_wherever_it_fails(flow: Flow, ground: Path) -> None:
    tally = drive(flow, "plain", ground, ("memory",), rule=RULE)
    assert tally.violations == []
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"
    assert tally.acknowledged < tally.faults


@pytest.mark.parametrize("name", ["put_stream", "copy_over"])
def test_invariants_hold_when_keys_or_bytes_fail(name: str, ground: Path) -> None:
    tally = drive(
        BY_NAME[name],
        "plain",
        ground,
        ("memory",),
        rule=RULE,
        calls=lambda label: label.endswith(("_key", "_keys", ".put")),
    )
    assert tally.violations == []
    assert tally.tripped == tally.faults > 0


def test_the_key_is_kept_before_the_first_byte_moves(ground: Path) -> None:
    flow = BY_NAME["overwrite"]
    calls = drive(flow, "plain", ground, ("memory",), rule=RULE, calls=lambda label: False).calls
    order = [call for call in calls if call.endswith((".begin", ".add_blob_key", ".put", ".commit_put"))]
    assert order == ["catalog.begin", "catalog.add_blob_key", "memory.put", "catalog.commit_put"]
