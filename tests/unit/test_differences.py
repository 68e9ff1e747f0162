"""What would have to change, and that it is the same whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.differences import (
    HIDDEN,
    Action,
    Kind,
    Secret,
    differences,
    fingerprint,
    merged_order,
    shown,
)

pytestmark = pytest.mark.unit

_names = st.sampled_from("abcdef")
_things = st.dictionaries(
    st.tuples(st.sampled_from(list(Kind)), _names),
    st.dictionaries(
        st.sampled_from("xyz"), st.one_of(st.integers(0, 3), st.lists(st.integers(0, 2), max_size=2))
    ),
    max_size=8,
)


@given(_things, _things)
def test_once_made_nothing_is_left_to_change(wanted: Any, held: Any) -> None:
    made = dict(held)
    for change in differences(wanted, held, removable=dict.fromkeys(held, "")):
        place = (change.kind, change.name)
        if change.action is Action.REMOVE:
            del made[place]
        else:
            made[place] = {**made.get(place, {}), **{edit.member: edit.new for edit in change.edits}}
    assert differences(wanted, made, removable=dict.fromkeys(made, "")) == []
    assert set(made) == set(wanted)


@given(_things, _things)
def test_without_leave_nothing_goes_and_what_is_not_named_stays(wanted: Any, held: Any) -> None:
    for change in differences(wanted, held, removable={}):
        assert change.action is not Action.REMOVE
        assert {edit.member for edit in change.edits} <= set(wanted[change.kind, change.name])
        for edit in change.edits:
            assert edit.old == held.get((change.kind, change.name), {}).get(edit.member)


def test_what_others_need_is_made_first_and_removed_last() -> None:
    wanted: Any = {
        (Kind.BUCKET, "a/b"): {},
        (Kind.RULE, "r"): {},
        (Kind.TENANT, "a"): {},
        (Kind.STORE, "s"): {},
    }
    assert [change.kind for change in differences(wanted, {}, removable={})] == list(Kind)
    gone = differences({}, wanted, removable=dict.fromkeys(wanted, "no"))
    assert [change.kind for change in gone] == list(reversed(Kind))
    assert {change.trouble for change in gone} == {"no"}


def test_lists_are_compared_whatever_holds_them() -> None:
    place = (Kind.BUCKET, "a/b")
    assert differences({place: {"x": ["1", "2"]}}, {place: {"x": ("1", "2")}}, removable={}) == []


def test_secrets_count_and_are_not_shown() -> None:
    place = (Kind.STORE, "s")
    one, two = Secret("f1"), Secret("f2")
    assert (
        differences({place: {"settings.key": one}}, {place: {"settings.key": Secret("f1")}}, removable={})
        == []
    )
    changes = differences({place: {"settings.key": two}}, {place: {"settings.key": one}}, removable={})
    assert [(shown(edit.old), shown(edit.new)) for edit in changes[0].edits] == [(HIDDEN, HIDDEN)]
    other = differences({place: {"settings.key": one}}, {place: {"settings.key": two}}, removable={})
    assert fingerprint(changes) != fingerprint(other)


@given(st.lists(_names, unique=True), st.lists(_names, unique=True))
def test_the_order_of_rules(held: list[str], wanted: list[str]) -> None:
    merged = merged_order(held, wanted)
    assert sorted(merged) == sorted({*held, *wanted})
    assert [name for name in merged if name in wanted] == wanted
    rest = [name for name in held if name not in wanted]
    assert [name for name in merged if name in rest] == rest
    assert merged_order(merged, wanted) == merged


def test_a_rule_that_nobody_described_keeps_its_place() -> None:
    assert merged_order(["by-hand", "a", "b"], ["b", "new", "a"]) == ["by-hand", "b", "new", "a"]
    assert merged_order(["a", "by-hand"], ["new", "a"]) == ["new", "a", "by-hand"]
