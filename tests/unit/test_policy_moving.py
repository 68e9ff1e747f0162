"""Moves and tiers as pure functions: what a plan wants in each phase, and what cannot be followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.core.names import INLINE
from holdfast.core.types import ObjectRef
from holdfast.policy.moving import Move, Phase, apply, behind, besides, check, renamed, store_of, tier_stores
from holdfast.policy.placement import Copy, Facts, Placement, Rule, WhenDown, reading_order

pytestmark = pytest.mark.unit
REF = ObjectRef("t", "b", "k")
NAMES = ("a", "b", "c", "d", "e")


def facts(size: int = 10, tier: str = "") -> Facts:
    return Facts(REF, size, "text/plain", tier=tier)


@pytest.mark.parametrize(
    ("phase", "wanted"),
    [
        (Phase.COPYING, ("a", "b", "x")),
        (Phase.CUTOVER, ("x", "b", "a")),
        (Phase.DONE, ("x", "b")),
        (Phase.BACK, ("a", "b")),
    ],
)
def test_what_each_phase_wants(phase: Phase, wanted: tuple[str, ...]) -> None:
    move = Move("a", "x", phase)
    assert apply(("a", "b"), [move]) == wanted
    assert apply(("b",), [move]) == ("b",)
    placement = Placement(Rule("default", ("a", "b"), acknowledge=2), moves=(move,))
    plan = placement.plan(facts())
    assert (plan.stores, plan.acknowledge) == (wanted, 2)
    assert placement.explain(facts()).plan == plan
    assert ("moved" in placement.explain(facts()).why_elsewhere) == (phase is not Phase.BACK)


def test_a_fallback_is_moved_too_and_never_twice_in_a_plan() -> None:
    rule = Rule("default", ("a",), when_down=WhenDown.FALLBACK, fallback=("b", "x"))
    for phase, stores, spare in (
        (Phase.COPYING, ("a", "x"), ("b",)),
        (Phase.CUTOVER, ("x", "a"), ("b",)),
        (Phase.DONE, ("x",), ("b",)),
        (Phase.BACK, ("a",), ("b", "x")),
    ):
        plan = Placement(rule, moves=(Move("a", "x", phase),)).plan(facts())
        assert (plan.stores, plan.fallback) == (stores, spare)


def test_readers_are_sent_to_the_source_until_the_cutover_and_to_the_target_after() -> None:
    assert behind([Move("a", "x", Phase.COPYING)]) == {"x"}
    assert behind([Move("a", "x", Phase.CUTOVER)]) == {"a"}
    assert behind([Move("a", "x", Phase.DONE), Move("b", "y", Phase.BACK)]) == frozenset()
    near, far = Copy("x", False, False, False, 0, behind=True), Copy("a", False, True, False, 1)
    assert reading_order([near, far]) == [1, 0]
    failing = Copy("a", False, False, True, 0)
    assert reading_order([failing, near]) == [1, 0]


def test_chains_circles_and_nonsense_are_refused() -> None:
    check([Move("a", "x"), Move("b", "x"), Move("c", "d")])
    check([Move("a", "b", Phase.BACK), Move("b", "a")])
    with pytest.raises(ConflictError, match="a chain"):
        check([Move("a", "b"), Move("b", "c")])
    with pytest.raises(ConflictError, match="a circle"):
        check([Move("a", "b", Phase.DONE), Move("b", "a")])
    with pytest.raises(InvalidRequestError, match="itself"):
        check([Move("a", "a")])
    with pytest.raises(InvalidRequestError, match="catalog"):
        check([Move(INLINE, "a")])


def test_a_tier_goes_before_the_rule_and_moves_go_before_both() -> None:
    rule = Rule(
        "default", ("a", "b"), acknowledge=2, when_down=WhenDown.FALLBACK, fallback=("c",), encrypt=True
    )
    placement = Placement(rule)
    plan = placement.plan(facts(tier="cold"))
    assert (plan.stores, plan.acknowledge, plan.fallback, plan.encrypt) == (("cold",), 1, (), True)
    assert placement.plan(facts(tier="*,cold")).stores == ("a", "b", "cold")
    assert "tier" in placement.explain(facts(tier="cold")).why_elsewhere
    moved = Placement(rule, moves=(Move("cold", "deep", Phase.DONE), Move("a", "x", Phase.CUTOVER)))
    assert moved.plan(facts(tier="cold")).stores == ("deep",)
    assert moved.plan(facts(tier="*,cold")).stores == ("x", "b", "a", "deep")


def test_a_small_content_with_a_tier_leaves_the_catalog_and_comes_back() -> None:
    placement = Placement(Rule("default", ("a",)), inline=100)
    assert placement.plan(facts(10)).inline
    assert placement.plan(facts(10, "cold")).stores == ("cold",)
    assert placement.plan(facts(10, "*,cold")).stores == (INLINE, "cold")
    assert placement.explain(facts(10, "*,cold")).plan == placement.plan(facts(10, "*,cold"))


def test_tiers_as_text() -> None:
    assert tier_stores("", ("a",)) == tier_stores("*", ("a",)) == ("a",)
    assert tier_stores("*,a", ("a",)) == ("a",)
    assert besides("") == ""
    assert besides("c") == besides("*,c") == "*,c"
    assert store_of("*,c") == store_of("c") == "c"
    done = [Move("c", "d", Phase.DONE), Move("e", "f", Phase.CUTOVER)]
    assert [renamed(tier, done) for tier in ("c", "*,c", "e", "", "cc")] == ["d", "*,d", "e", "", "cc"]


stores = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)
moves = st.lists(
    st.builds(Move, st.sampled_from(NAMES), st.sampled_from((*NAMES, "x", "y")), st.sampled_from(Phase)),
    max_size=3,
    unique_by=lambda move: move.source,
)


@given(stores, moves, st.integers(1, 4))
def test_whatever_moves_are_allowed_a_plan_can_be_kept(
    named: tuple[str, ...], wanted: list[Move], acknowledge: int
) -> None:
    try:
        check(wanted)
    except (ConflictError, InvalidRequestError):
        return
    rule = Rule("default", named, acknowledge=acknowledge)
    plan = Placement(rule, moves=tuple(wanted)).plan(facts())
    assert plan.stores
    assert len(set(plan.stores)) == len(plan.stores)
    assert 1 <= plan.acknowledge <= len(plan.stores)
    ended = {move.source for move in wanted if move.phase is Phase.DONE}
    assert not ended & set(plan.stores)
    for move in wanted:
        if move.source in named and move.phase in (Phase.COPYING, Phase.CUTOVER):
            assert {move.source, move.target} <= set(plan.stores)
    if not ended:  # nothing is lost of what the rule wants
        assert set(named) <= set(plan.stores)
        assert plan.acknowledge == min(acknowledge, len(named))
