"""Placement: one answer for every object, the same as the plain definition gives, with a reason that reproduces it."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import ObjectRef
from holdfast.policy.placement import (
    INLINE,
    LOOK,
    MAX_INLINE,
    Facts,
    Match,
    Placement,
    Plan,
    Rule,
    WhenDown,
    mismatch,
)
from holdfast.policy.rule_form import check_rules, rule_members, rule_of, rules_of

pytestmark = pytest.mark.unit

STORES = ("a", "b", "c")
_words = st.sampled_from(
    ["x", "xy", "acme", "a*", "*", "?", "a?me", "x[y]", "*.zip", "v/*", "*e*", "ab*yz", ""]
)
_names = st.sampled_from(["x", "xy", "acme", "ab-yz", "v", "x[y]"])
_types = st.sampled_from(["image/png", "image/*", "text/plain", "*/*", "?ext/plain"])
_keys = st.sampled_from(["v/1.zip", "x", "xy", "v/", "ab/c/yz", "é.zip", "x[y]", ".zip", "a\nb.zip"])
_sizes = st.one_of(st.none(), st.integers(0, 12), st.just(MAX_INLINE - 1), st.just(MAX_INLINE))
_tags = st.dictionaries(st.sampled_from("pq"), st.sampled_from("12"), max_size=2)


def several(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=2).map(tuple)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    match = Match(
        tenants=draw(several(_words)),
        buckets=draw(several(_words)),
        content_types=draw(several(_types)),
        keys=draw(several(_words)),
        min_size=draw(_sizes),
        max_size=draw(_sizes),
        storage_classes=draw(several(st.sampled_from(["", "COLD", "HOT"]))),
        tags=draw(_tags),
    )
    return Rule(
        name=draw(st.text(string.ascii_lowercase, min_size=1, max_size=3)),
        stores=draw(st.lists(st.sampled_from(STORES), min_size=1, max_size=3, unique=True).map(tuple)),
        match=match,
        acknowledge=draw(st.integers(1, 4)),
        inline=draw(_sizes),
        when_down=draw(st.sampled_from(WhenDown)),
        fallback=draw(several(st.sampled_from("de"))),
    )


placements = st.builds(
    lambda some, inline: Placement(Rule("default", ("a",)), tuple(some), inline),
    st.lists(rules(), max_size=8),
    st.integers(0, 12),
)
facts = st.builds(
    lambda tenant, bucket, key, size, kind, cold, tags, inline, apart: Facts(
        ObjectRef(tenant, bucket, key), size, kind, cold, tags, inline, apart
    ),
    _names,
    _names,
    _keys,
    _sizes,
    st.sampled_from(["image/png", "Image/PNG; q=1", "text/plain", "a/b", ""]),
    st.sampled_from(["", "COLD"]),
    _tags,
    st.one_of(st.none(), st.integers(0, 12)),
    st.booleans(),
)


def by_definition(placement: Placement, known: Facts) -> Plan:
    """The plain definition: sorted by scope, the first that does not mismatch, the default last."""
    scope = [
        [rule for rule in placement.rules if rule.match.tenants],
        [rule for rule in placement.rules if not rule.match.tenants and rule.match.content_types],
        [rule for rule in placement.rules if not rule.match.tenants and not rule.match.content_types],
    ]
    rule = next(
        rule
        for rule in (*scope[0], *scope[1], *scope[2], placement.default)
        if mismatch(rule.match, known) == ""
    )
    threshold = next(each for each in (rule.inline, known.inline, placement.inline) if each is not None)
    if known.size is not None and known.size < min(threshold, MAX_INLINE) and not known.apart:
        return Plan((INLINE,), 1, rule.name)
    fallback = rule.fallback if rule.when_down is WhenDown.FALLBACK else ()
    return Plan(rule.stores, min(rule.acknowledge, len(rule.stores)), rule.name, fallback)


@settings(max_examples=100, deadline=None)
@given(placements, st.lists(facts, min_size=1, max_size=4))
def test_every_object_has_the_one_plan_of_the_definition(placement: Placement, many: list[Facts]) -> None:
    for known in many:  # several, so that what is remembered of one is used for the next
        plan = placement.plan(known)
        assert plan == by_definition(placement, known)
        assert plan == placement.plan(known)


@settings(max_examples=60, deadline=None)
@given(placements, facts)
def test_the_reason_reproduces_the_plan(placement: Placement, known: Facts) -> None:
    told = placement.explain(known)
    assert told.plan == placement.plan(known)
    *before, last = told.asked
    assert (last.matched, last.reason, last.rule) == (True, "", told.plan.rule)
    assert [verdict.rule for verdict in told.asked] == [
        rule.name for rule in placement.ordered[: len(told.asked)]
    ]
    for verdict, rule in zip(before, placement.ordered, strict=False):
        assert not verdict.matched
        assert verdict.reason == mismatch(rule.match, known) != ""
    assert ("is below" in told.why_inline) == told.plan.inline


@settings(max_examples=40, deadline=None)
@given(st.lists(rules(), max_size=5, unique_by=lambda rule: rule.name))
def test_rules_travel_and_come_back_the_same(some: list[Rule]) -> None:
    assert rules_of([rule_members(rule) for rule in some]) == tuple(some)


def test_company_before_content_type_before_global() -> None:
    company = Rule("company", ("a",), Match(tenants=("acme",)))
    kind = Rule("kind", ("b",), Match(content_types=("image/*",)))
    rest = Rule("rest", ("c",), Match(keys=("*",)))
    placement = Placement(Rule("default", ("a",)), (rest, kind, company))
    image = Facts(ObjectRef("acme", "b", "k.png"), 1, "image/png")
    assert placement.plan(image).rule == "company"
    assert placement.plan(replace(image, ref=ObjectRef("other", "b", "k.png"))).rule == "kind"
    assert placement.plan(Facts(ObjectRef("other", "b", "k"), 1, "text/plain")).rule == "rest"


def test_a_writer_looks_no_further_than_it_may() -> None:
    huge = Rule("huge", ("a",), Match(min_size=1 << 40))
    assert Placement(Rule("default", ("a",)), (huge,), 10).thresholds == LOOK
    assert Placement(Rule("default", ("a",), inline=70), (), 10).thresholds == 70


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stores": []}, "stores is empty"),
        ({"stores": ["z"]}, "no store 'z'; there is: a, b, c"),
        ({"stores": ["a", "a"]}, "names a store twice"),
        ({"stores": ["catalog"]}, "inline = SIZE"),
        ({"fallback": ["catalog"], "when_down": "fallback"}, "inline = SIZE"),
        ({"acknowledge": 2}, "acknowledge is from 1 to the number of its stores, 1"),
        ({"acknowledge": 0}, "acknowledge is from 1"),
        ({"when_down": "fallback"}, "fallback names no store"),
        ({"fallback": ["b"]}, "only with when_down"),
        ({"when_down": "fallback", "fallback": ["a"]}, "cannot be their fallback"),
        ({"when_down": "panic"}, "when_down is refuse or fallback"),
        ({"inline": -1}, "inline is from 0"),
        ({"inline": "5MB"}, "inline is from 0 to 4194304 bytes, not 5242880"),
        ({"inline": "much"}, "inline: 'much' is not a size"),
        ({"match": {"min_size": -1}}, "min_size is a size from 0"),
        ({"match": {"min_size": "2KB", "max_size": 2048}}, "min_size (2048) is not below max_size (2048)"),
        ({"match": {"size": 3}}, "'size' is unknown"),
        ({"match": {"keys": [""]}}, "each of keys"),
        ({"match": {"tags": {"a": 1}}}, "tags is a table of texts"),
        ({"match": {"tenants": [1]}}, "match.tenants is a list of texts"),
        ({"shops": 1}, "'shops' is unknown"),
        ({"name": "default"}, "is not 'default'"),
        ({"name": "a/b"}, "a name has 1 to 63"),
        ({"acknowledge": True}, "acknowledge is a whole number"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_named(change: dict[str, Any], said: str) -> None:
    members = {"name": "r1", "stores": ["a"], **change}
    with pytest.raises(InvalidRequestError) as caught:
        check_rules([rule_of(members)], STORES)
    assert said in caught.value.message
    assert repr(members["name"]) in caught.value.message


def test_all_rules_together_have_so_many_patterns_and_no_more() -> None:
    def of(count: int, word: str) -> list[Rule]:
        keys = [f"{word}{number}*" for number in range(count)]
        parts = [tuple(keys[at : at + 200]) for at in range(0, count, 200)]
        return [Rule(f"r{number}", ("a",), Match(keys=part)) for number, part in enumerate(parts)]

    assert len(check_rules(of(10_000, "k"), STORES)) == 50
    with pytest.raises(InvalidRequestError, match=r"10001 patterns together .* at most 10000"):
        check_rules(of(10_001, "k"), STORES)
    with pytest.raises(InvalidRequestError, match="bytes together; at most 1048576"):
        check_rules(of(2_000, "k" * 600), STORES)


def test_names_are_given_once() -> None:
    with pytest.raises(InvalidRequestError, match="two of that name"):
        check_rules([Rule("r", ("a",)), Rule("r", ("b",))], STORES)
    with pytest.raises(InvalidRequestError, match="every rule has a name"):
        rule_of({"stores": ["a"]})


def test_rules_are_kept_in_their_usual_form() -> None:
    (kept,) = check_rules(
        [rule_of({"name": "r", "stores": "a", "match": {"content_types": [" Image/* "]}})], STORES
    )
    assert kept.match.content_types == ("image/*",)
    assert kept.stores == ("a",)
