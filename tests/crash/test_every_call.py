"""Every flow, failed and killed before and after each of its calls to catalog and stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.driver import drive
from tests.crash.flows import FLOWS, Flow

pytestmark = pytest.mark.crash

STORES = {"memory": ("memory",), "local": ("local",), "two copies": ("memory", "local")}


@pytest.mark.parametrize("stores", STORES.values(), ids=STORES.keys())
@pytest.mark.parametrize("bucket", ["plain", "kept"])
@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_invariants_hold_wherever_it_fails(
    flow: Flow, bucket: str, stores: tuple[str, ...], ground: Path
) -> None:
    tally = drive(flow, bucket, ground, stores)
    assert tally.violations == []
    assert tally.calls, "the flow called nothing"
    assert tally.tripped >= tally.faults * 0.9, f"only {tally.tripped} of {tally.faults} faults happened"
    assert tally.acknowledged < tally.faults
