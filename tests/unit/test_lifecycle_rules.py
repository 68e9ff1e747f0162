"""What is due of a version by the rules of its bucket, when, and which rule wins; and whether a move pays."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.core.lifecycle import LifecycleRule, Transition
from holdfast.core.retention import Keeping, LockMode
from holdfast.policy import lifecycle, worth
from holdfast.policy.lifecycle import DAY, Action, Item, judge, leaves, mismatch, plan, stale_uploads
from holdfast.policy.lifecycle_form import lock_members, lock_of, moment_of, rule_members, rules_of
from holdfast.policy.prices import Price, Tier
from holdfast.policy.worth import Subject, weigh

pytestmark = pytest.mark.unit


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


MADE = at("2026-01-15T10:30")
ITEM = Item("logs/a.txt", 1000, MADE, "text/plain; charset=utf-8", {"kind": "log"})
OLD = replace(ITEM, since=MADE)


def rule(**said: Any) -> LifecycleRule:
    return rules_of([{"name": "r", **said}])[0]


def rules(*said: dict[str, Any]) -> tuple[LifecycleRule, ...]:
    return rules_of([{"name": f"r{number}", **one} for number, one in enumerate(said)])


@pytest.mark.parametrize(
    ("said", "item", "due"),
    [
        ({"expire_days": 3}, ITEM, "2026-01-19T00:00"),  # as S3 has it: the midnight after three whole days
        ({"expire_days": 1}, replace(ITEM, created=at("2026-01-15T00:00")), "2026-01-16T00:00"),
        ({"expire_on": "2026-03-01"}, ITEM, "2026-03-01T00:00"),
        ({"noncurrent_days": 2}, replace(ITEM, since=at("2026-02-01T23:59")), "2026-02-04T00:00"),
        ({"noncurrent_days": 2, "noncurrent_keep": 1}, replace(OLD, newer=1), "2026-01-18T00:00"),
        ({"expired_markers": True}, replace(ITEM, marker=True, hiding=False), "2026-01-15T10:30"),
        ({"noncurrent_days": 2, "noncurrent_keep": 5}, replace(OLD, marker=True), "2026-01-18T00:00"),
        ({"transitions": [{"to": "cold", "days": 0}]}, ITEM, "2026-01-16T00:00"),
        ({"transitions": [{"to": "cold", "on": "2026-05-05"}]}, ITEM, "2026-05-05T00:00"),
        ({"noncurrent_transitions": [{"to": "cold", "days": 1}]}, OLD, "2026-01-17T00:00"),
        (
            {"transitions": [{"to": "cold", "idle_days": 10}]},
            replace(ITEM, read=at("2026-02-01T05:00")),
            "2026-02-12T00:00",
        ),
        ({"transitions": [{"to": "cold", "idle_days": 10}]}, replace(ITEM, read=0), "2026-01-26T00:00"),
    ],
)
def test_when_something_is_due(said: dict[str, Any], item: Item, due: str) -> None:
    (wish,) = plan((rule(**said),), item)
    assert wish.due == at(due)
    before, then = judge((rule(**said),), item, at(due) - 1), judge((rule(**said),), item, at(due))
    assert (before.removal, before.moves) == (None, ())
    wanted = (None, (wish,)) if wish.action is Action.MOVE else (wish, ())
    assert (then.removal, then.moves) == wanted


@pytest.mark.parametrize(
    ("said", "item"),
    [
        ({"expire_days": 3}, OLD),  # of current versions only
        ({"expire_days": 3}, replace(ITEM, marker=True)),
        ({"noncurrent_days": 3}, ITEM),
        ({"noncurrent_days": 3, "noncurrent_keep": 2}, replace(OLD, newer=1)),
        ({"expired_markers": True}, replace(ITEM, marker=True, hiding=True)),
        ({"transitions": [{"to": "cold", "days": 3}]}, OLD),
        ({"transitions": [{"to": "cold", "days": 3}]}, replace(ITEM, marker=True)),
        ({"abort_uploads_days": 1}, ITEM),
    ],
)
def test_what_a_rule_does_not_want(said: dict[str, Any], item: Item) -> None:
    assert plan((rule(**said),), item) == []


def test_nobody_can_say_when_reads_were_not_counted() -> None:
    (wish,) = plan((rule(transitions=[{"to": "cold", "idle_days": 1}]),), ITEM)
    assert wish.due is None
    assert judge((rule(transitions=[{"to": "cold", "idle_days": 1}]),), ITEM, 1 << 62).moves == ()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, ""),
        ({"enabled": False}, "switched off"),
        ({"prefix": "logs/"}, ""),
        ({"prefix": "Logs/"}, "does not start"),
        ({"tags": {"kind": "log"}}, ""),
        ({"tags": {"kind": "log", "x": "y"}}, "tag x"),
        ({"min_size": 1000, "max_size": 1001}, ""),
        ({"min_size": 1001}, "below"),
        ({"max_size": "1000"}, "not below"),
        ({"content_types": ["text/*"]}, ""),
        ({"content_types": ["IMAGE/*", "text/plain"]}, ""),
        ({"content_types": ["image/*"]}, "content type"),
    ],
)
def test_what_a_rule_is_about(said: dict[str, Any], why: str) -> None:
    found = mismatch(rule(expire_days=1, **said), ITEM)
    assert (why in found) if why else not found


MOVE = {"transitions": [{"to": "cold", "days": 1}]}


@pytest.mark.parametrize(
    ("ruled", "winner"),
    [
        (rules(MOVE, {"expire_days": 30}), "r1"),  # removal goes before a move, however long due
        (rules({"expire_days": 30}, {"expire_days": 10}), "r1"),  # the shorter time
        (rules({"expire_days": 10}, {"expire_on": "2026-01-20"}), "r1"),
        (rules({"expire_days": 10}, {"expire_days": 10}), "r0"),
    ],
)
def test_which_removal_wins(ruled: tuple[LifecycleRule, ...], winner: str) -> None:
    verdict = judge(ruled, ITEM, at("2026-12-01T00:00"))
    assert verdict.removal is not None
    assert verdict.removal.rule == winner


@pytest.mark.parametrize(
    ("steps", "now", "to"),
    [
        ([("ia", 30), ("ice", 90)], "2026-03-01T00:00", ["ia"]),
        ([("ia", 30), ("ice", 90)], "2026-06-01T00:00", ["ice", "ia"]),
        ([("ice", 90), ("ia", 30)], "2026-06-01T00:00", ["ice", "ia"]),
        ([("ia", 60), ("ia", 30), ("ice", 45)], "2026-06-01T00:00", ["ice", "ia"]),  # ia at 30 days
        ([("one", 30), ("two", 30)], "2026-06-01T00:00", ["one", "two"]),
    ],
)
def test_which_move_wins(steps: list[tuple[str, int]], now: str, to: list[str]) -> None:
    ruled = (rule(transitions=[{"to": name, "days": days} for name, days in steps]),)
    assert [wish.to for wish in judge(ruled, ITEM, at(now)).moves] == to


def test_what_is_kept_is_told_with_what_is_due() -> None:
    locked = replace(ITEM, keeping=Keeping(False, LockMode.COMPLIANCE, at("2027-01-01T00:00")))
    ruled = rules(MOVE, {"expire_days": 30})
    verdict = judge(ruled, locked, at("2026-12-01T00:00"))
    assert "compliance lock ends at 2027-01-01T00:00:00Z" in verdict.held
    assert [wish.to for wish in verdict.moves] == ["cold"]  # what must stay may stay where it is cheaper
    assert judge(ruled, locked, at("2027-01-01T00:00")).held == ""
    assert "legal hold" in judge(ruled, replace(ITEM, keeping=Keeping(True)), at("2027-01-01T00:00")).held


def test_how_long_a_version_lives() -> None:
    assert leaves(rules(MOVE), ITEM, False) is None
    assert leaves(rules({"expire_days": 3}), ITEM, False) == at("2026-01-19T00:00")
    assert leaves(rules({"expire_days": 3}), ITEM, True) is None  # it stays behind a delete marker
    both = rules({"expire_days": 3}, {"noncurrent_days": 2})
    assert leaves(both, ITEM, True) == at("2026-01-21T00:00")
    assert leaves(both, OLD, True) == at("2026-01-18T00:00")


def test_stale_uploads() -> None:
    ruled = rules({"abort_uploads_days": 7}, {"abort_uploads_days": 3, "prefix": "logs/"}, {"expire_days": 1})
    assert stale_uploads(ruled, "logs/x", MADE) == ("r1", at("2026-01-19T00:00"))
    assert stale_uploads(ruled, "x", MADE) == ("r0", at("2026-01-23T00:00"))
    assert stale_uploads(ruled[2:], "x", MADE) is None


def test_never_before_its_days_are_over() -> None:
    """Whatever the rules: what becomes due is as old as the rule that wants it says, and never more than a day older."""
    chance = random.Random(7)
    for _ in range(3000):
        days, made = chance.randrange(1, 400), MADE + chance.randrange(1000 * DAY)
        item = replace(ITEM, created=made, since=chance.choice([None, made + chance.randrange(9 * DAY)]))
        ruled = rules({"expire_days": days}, {"noncurrent_days": days}, MOVE)
        for wish in plan(ruled, item):
            start = made if item.since is None else item.since
            wanted = 1 if wish.action is Action.MOVE else days
            assert wish.due is not None
            assert 0 <= wish.due - (start + wanted * DAY) < DAY
            assert wish.due % DAY == 0


# -- rules as they travel ---------------------------------------------------------------------------------------------
FULL = {
    "name": "all",
    "enabled": False,
    "prefix": "a/",
    "tags": {"a": "b"},
    "min_size": 1,
    "max_size": 1048576,
    "content_types": ["image/*"],
    "expire_days": 1,
    "noncurrent_days": 2,
    "noncurrent_keep": 3,
    "transitions": [{"to": "cold", "days": 0}, {"to": "label:ice", "on": "2027-01-31"}],
    "noncurrent_transitions": [{"to": "class:GLACIER", "idle_days": 3}],
    "even_if_dearer": True,
}


def test_rules_there_and_back() -> None:
    (made,) = rules_of([FULL])
    assert rule_members(made) == FULL
    assert rules_of([rule_members(made)]) == (made,) == rules_of((made,))
    assert made.transitions[1] == Transition("label:ice", on="2027-01-31")
    assert made.counts_reads is False  # it is switched off
    assert replace(made, enabled=True).counts_reads
    assert rules_of([{"max_size": "1MB", "expire_days": 1}])[0] == LifecycleRule(
        "rule-1", max_size=1 << 20, expire_days=1
    )


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("x", "list of rules"),
        ([1], "not an object"),
        ([{"expire_days": 1}] * 101, "at most 100"),
        ([{"name": "a", "expire_days": 1}] * 2, "two lifecycle rules called 'a'"),
        ([{"name": ""}], "printable"),
        ([{}], "does nothing"),
        ([{"expire": 1}], "no 'expire'"),
        ([{"expire_days": 0}], "expire_days is a whole number from 1"),
        ([{"expire_days": True}], "expire_days"),
        ([{"expire_days": 1, "expire_on": "2027-01-01"}], "not both"),
        ([{"expire_on": "soon"}], "a day as"),
        ([{"noncurrent_keep": 1, "expire_days": 1}], "goes with noncurrent_days"),
        ([{"min_size": 5, "max_size": 5, "expire_days": 1}], "below max_size"),
        ([{"min_size": "big", "expire_days": 1}], "min_size"),
        ([{"tags": {"a": 1}, "expire_days": 1}], "tags"),
        ([{"tags": {"a": "b"}, "expired_markers": True}], "delete markers and uploads"),
        ([{"min_size": 1, "abort_uploads_days": 3}], "delete markers and uploads"),
        ([{"content_types": "image/*", "expire_days": 1}], "content_types"),
        ([{"transitions": [{"days": 1}]}], "a step has `to`"),
        ([{"transitions": [{"to": "cold"}]}], "one of days"),
        ([{"transitions": [{"to": "cold", "days": 1, "idle_days": 1}]}], "one of days"),
        ([{"transitions": [{"to": "lable:cold", "days": 1}]}], "label:NAME"),
        ([{"transitions": [{"to": "label:", "days": 1}]}], "label:NAME"),
        ([{"enabled": "yes", "expire_days": 1}], "true or false"),
        ([{"prefix": 1, "expire_days": 1}], "prefix"),
    ],
)
def test_rules_that_are_none(said: Any, wrong: str) -> None:
    with pytest.raises(InvalidRequestError, match=wrong):
        rules_of(said)


def test_default_locks() -> None:
    lock = lock_of({"mode": "governance", "days": 30})
    assert lock is not None
    assert lock_members(lock) == {"mode": "governance", "days": 30}
    assert lock_of(None) is None
    assert lock_members(None) is None
    for wrong in (
        {"mode": "firm", "days": 1},
        {"mode": "governance"},
        {"mode": "compliance", "days": 0},
        "x",
    ):
        with pytest.raises(InvalidRequestError):
            lock_of(wrong)


def test_moments() -> None:
    assert moment_of("2026-01-15T10:30:00Z") == MADE == moment_of("2026-01-15T11:30:00+01:00")
    assert moment_of("2026-03-01") == at("2026-03-01T00:00")
    for wrong in ("soon", "2026-01-15T10:30:00", "2026-13-01", ""):
        with pytest.raises(InvalidRequestError):
            moment_of(wrong)


# -- whether it pays --------------------------------------------------------------------------------------------------
GB = 10**9


def price(key: str, storage: str, **more: Any) -> Price:
    given = {"write": Decimal(0), "read": Decimal(0), "egress": (Tier(None, Decimal(0)),), **more}
    return Price(key, storage=(Tier(None, Decimal(storage)),), **given)


HOT = price("hot", "0.02")
COLD = price("cold", "0.01", min_size=131_072, min_days=90, write=Decimal("0.01"))


@pytest.mark.parametrize(
    ("subject", "source", "target", "reason"),
    [
        (Subject(GB, 30, 365), HOT, COLD, ""),
        (Subject(4096, 30, 365), HOT, COLD, "minimum size"),
        (Subject(GB, 30, 20), HOT, COLD, "minimum duration"),
        (Subject(GB, 30, 365), HOT, price("dear", "0.03"), "dearer"),
        (Subject(GB, 30, 365), replace(HOT, egress=(Tier(None, Decimal(9)),)), COLD, "egress"),
        (Subject(200_000, 30, 60), HOT, replace(COLD, min_days=0, write=Decimal(1)), "requests"),
        (Subject(GB, 1, 90), replace(HOT, min_days=365), COLD, "early removal"),
        (Subject(GB, 30, 365, Decimal(30)), HOT, replace(COLD, retrieval=Decimal("0.05")), "reads"),
        (
            Subject(4096, 30, 5),
            replace(HOT, egress=(Tier(None, Decimal(9)),)),
            replace(COLD, write=Decimal(1)),
            "requests",
        ),
    ],
)
def test_why_a_move_is_a_loss(subject: Subject, source: Price, target: Price, reason: str) -> None:
    found = weigh(subject, source, target)
    assert found.gain is not None
    assert (found.loss, found.reason) == (bool(reason), reason)
    assert not reason or reason in worth.REASONS


def test_what_a_move_gains_to_the_cent() -> None:
    found = weigh(Subject(1000 * GB, 100, 360), HOT, replace(COLD, retrieval=Decimal("0.02")), near=True)
    assert found.gain == Decimal(1000) * (Decimal("0.02") - Decimal("0.01")) * 12 - Decimal("0.00001")
    kept = weigh(Subject(1000 * GB, 100, 30), HOT, COLD)  # a month of hot against three of cold
    assert kept.gain == Decimal(20) - Decimal(30) - Decimal("0.00001")


def test_an_unknown_price_refuses_nothing() -> None:
    for source, target in (
        (None, COLD),
        (HOT, None),
        (replace(HOT, egress=None), COLD),
        (HOT, replace(COLD, write=None)),
    ):
        found = weigh(Subject(4096, 1, 1), source, target)
        assert (found.gain, found.loss, found.reason) == (None, False, "")


def test_inside_one_provider_no_egress_is_paid() -> None:
    assert worth.near("aws.s3.standard", "aws.s3.glacier_ir", ("eu", "eu"))
    assert not worth.near("aws.s3.standard", "aws.s3.glacier_ir", ("eu", "us"))
    assert not worth.near("aws.s3.standard", "gcs.archive", ("", ""))
    assert not worth.near("local", "free", ("", ""))
    costly = replace(HOT, egress=(Tier(None, Decimal(9)),))
    assert not weigh(Subject(GB, 30, 365), costly, COLD, near=True).loss


def test_days_are_those_of_utc() -> None:
    assert lifecycle.day_of("1970-01-02") == DAY
