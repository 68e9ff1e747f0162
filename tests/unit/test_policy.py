"""Decisions as tables."""

from __future__ import annotations

import pytest

from holdfast.core.types import ObjectRef, Principal
from holdfast.policy.access import ROLES, decide
from holdfast.policy.placement import Copy, Facts, Placement, reading_order

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [
        ("admin", "create_bucket", True),
        ("admin", "put", True),
        ("writer", "put", True),
        ("writer", "delete_bucket", False),
        ("reader", "get", True),
        ("reader", "delete", False),
        ("nobody", "get", False),
        ("", "list", False),
    ],
)
def test_roles(role: str, verb: str, allowed: bool) -> None:
    decision = decide(Principal("p", "t", role), verb)
    assert decision.allowed is allowed
    assert verb in decision.reason


def test_every_verb_is_someones() -> None:
    assert ROLES["reader"] < ROLES["writer"] < ROLES["admin"]


def test_a_plan_never_asks_for_more_copies_than_it_names() -> None:
    facts = Facts(ObjectRef("t", "b", "k"), None, "text/plain")
    assert Placement.everything(("a", "b"), 5).plan(facts).acknowledge == 2
    assert Placement.everything(("a", "b"), 1).plan(facts).stores == ("a", "b")


def test_reading_order() -> None:
    copies = [
        Copy("suspect", True, False, False, 0),
        Copy("failing", False, False, True, 1),
        Copy("far", False, True, False, 2),
        Copy("second", False, False, False, 4),
        Copy("first", False, False, False, 3),
    ]
    assert [copies[i].store for i in reading_order(copies)] == [
        "first",
        "second",
        "far",
        "failing",
        "suspect",
    ]
