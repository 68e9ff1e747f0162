"""The same faults where each blob has a record beside it that says what it is: none without the other, in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.driver import drive
from tests.crash.flows import FLOWS, Flow

pytestmark = pytest.mark.crash

BY_NAME = {flow.name: flow for flow in FLOWS}
NAMES = ("overwrite", "copy_parts", "part_replace", "append", "sweep")


@pytest.mark.parametrize("flow", [BY_NAME[name] for name in NAMES], ids=str)
def test_invariants_hold_wherever_it_fails(flow: Flow, ground: Path) -> None:
    tally = drive(flow, "plain", ground, ("memory",), describing=True)
    assert tally.violations == []
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"
    assert tally.acknowledged < tally.faults
    if flow.name == "overwrite":
        assert tally.calls.count("memory.put") == 2, "a record and a blob"
        assert tally.calls.index("catalog.begin") < tally.calls.index("memory.put")
