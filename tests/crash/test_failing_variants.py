"""The judges are judged: with a rule of the engine broken on purpose, the same checks must find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.driver import drive
from tests.crash.flows import FLOWS
from torture.failing_variants import VARIANTS

pytestmark = pytest.mark.crash

FLOW = {flow.name: flow for flow in FLOWS}


@pytest.mark.parametrize("name", ["commit-first", "delete-old-first", "delete-on-error"])
def test_a_broken_order_is_found(name: str, ground: Path) -> None:
    tally = drive(FLOW["overwrite"], "plain", ground, ("local",), variant=VARIANTS[name].applied)
    assert tally.violations, f"{VARIANTS[name].breaks}, and nothing was found"


def test_deleting_after_a_lost_answer_loses_committed_bytes(ground: Path) -> None:
    """The very case: the commit took effect, its answer was lost, and the handler deleted "its" bytes."""
    variant = VARIANTS["delete-on-error"].applied
    tally = drive(
        FLOW["put"],
        "plain",
        ground,
        ("local",),
        variant=variant,
        calls=lambda label: label == "catalog.commit_put",
    )
    assert any("error after" in violation for violation in tally.violations)


def test_without_a_fault_a_variant_is_not_suspected(ground: Path) -> None:
    """What convicts is the fault, not the variant's mere presence."""
    tally = drive(
        FLOW["overwrite"],
        "plain",
        ground,
        ("local",),
        variant=VARIANTS["commit-first"].applied,
        calls=lambda label: False,
    )
    assert tally.violations == []
    assert tally.faults == 0
