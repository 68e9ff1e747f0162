"""What becomes of an object as it grows old: rules and facts in, what is due and why out. Pure.

Days count as in S3: an age of N days is reached at the first midnight (UTC) after N whole days. Where several rules want
something of one version:

* removal goes before a move to another store;
* of two removals the one that is due first decides, of two moves to one store likewise;
* of moves to different stores that are due, the one that became due last: so steps (30 days there, 90 days elsewhere)
  may be written in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from holdfast.core.lifecycle import LifecycleRule, Transition
from holdfast.core.retention import FREE, Keeping
from holdfast.core.types import EMPTY
from holdfast.policy.matching import any_like, plain_type

DAY: Final = 86_400_000_000  #: microseconds


class Action(StrEnum):
    """What may become due."""

    EXPIRE = "expire"  #: the current version goes; in a versioned bucket behind a delete marker
    REMOVE = "remove"  #: a noncurrent version, or a delete marker that hides nothing, goes for good
    MOVE = "move"  #: to another store


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of one version. Times are microseconds.

    `since` is when it was replaced, None for the newest of its key; `newer` counts contents of the key between that and
    it. `read` is when it was read last as far as is known, None when nobody counted.
    """

    key: str
    size: int
    created: int
    content_type: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    since: int | None = None
    newer: int = 0
    marker: bool = False  #: it is a delete marker
    hiding: bool = True  #: a delete marker: older versions lie behind it
    read: int | None = None
    keeping: Keeping = FREE


@dataclass(frozen=True, slots=True)
class Planned:
    """What a rule wants of a version, and when; `due` None: nobody can say yet. `why` tells how that comes."""

    rule: str
    action: Action
    due: int | None
    why: str
    to: str = ""  #: of a move, as the rule spells it
    even_if_dearer: bool = False
    keep: int = 0  #: so many newer noncurrent contents must be there


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a version now: `removal`; or if none is due or possible `moves`, the best one first.

    `held` says what keeps a version that is to be removed. Behind a delete marker it is kept all the same.
    """

    removal: Planned | None = None
    moves: tuple[Planned, ...] = ()
    held: str = ""


def mismatch(rule: LifecycleRule, item: Item) -> str:
    """Return why `rule` is not about `item`; "" when it is."""
    if not rule.enabled:
        return "the rule is switched off"
    if not item.key.startswith(rule.prefix):
        return f"the key does not start with {rule.prefix}"
    if item.marker:
        return "it is a delete marker, which has no tags, size or type" if _asks_content(rule) else ""
    for name, value in rule.tags.items():
        if item.tags.get(name) != value:
            return f"the tag {name} is not {value}"
    if rule.min_size is not None and item.size < rule.min_size:
        return f"the size of {item.size} bytes is below {rule.min_size}"
    if rule.max_size is not None and item.size >= rule.max_size:
        return f"the size of {item.size} bytes is not below {rule.max_size}"
    if rule.content_types and not any_like(rule.content_types, plain_type(item.content_type)):
        return f"the content type {item.content_type} is not one of {', '.join(rule.content_types)}"
    return ""


def plan(rules: Sequence[LifecycleRule], item: Item) -> list[Planned]:
    """Return all that the rules want of a version, also what is due later, in the order of the rules."""
    return [wish for rule in rules if not mismatch(rule, item) for wish in _wishes(rule, item)]


def judge(rules: Sequence[LifecycleRule], item: Item, now: int) -> Verdict:
    """Return what is due now."""
    due = [wish for wish in plan(rules, item) if wish.due is not None and wish.due <= now]
    removals = [wish for wish in due if wish.action is not Action.MOVE]
    moves = _steps([wish for wish in due if wish.action is Action.MOVE])
    if removals:
        first = min(removals, key=lambda wish: wish.due or 0)
        return Verdict(first, moves, item.keeping.why(now))
    return Verdict(moves=moves)


def leaves(rules: Sequence[LifecycleRule], item: Item, versioning: bool) -> int | None:
    """Return when the rules remove the bytes of a version for good; None: never, as far as they say."""
    goes = [wish for wish in plan(rules, item) if wish.action is not Action.MOVE and wish.due is not None]
    if not goes:
        return None
    first = min(goes, key=lambda wish: wish.due or 0)
    if first.action is Action.REMOVE or not versioning:
        return first.due
    later = Item(item.key, item.size, item.created, item.content_type, item.tags, since=first.due)
    ends = [
        wish.due
        for rule in rules
        if not rule.noncurrent_keep and not mismatch(rule, later)
        for wish in _removed_later(rule, later)
        if wish.due is not None
    ]
    return min(ends, default=None)


def stale_uploads(rules: Sequence[LifecycleRule], key: str, opened: int) -> tuple[str, int] | None:
    """Return the rule that gives up an upload of that key first, and when; None: no rule does."""
    found = [
        (_after(opened, rule.abort_uploads_days), rule.name)
        for rule in rules
        if rule.enabled and rule.abort_uploads_days is not None and key.startswith(rule.prefix)
    ]
    if not found:
        return None
    due, name = min(found)
    return name, due


def day_of(text: str) -> int:
    """Return the midnight (UTC) with which a day such as 2027-01-31 begins; `ValueError` when it is none."""
    found = date.fromisoformat(text)
    return int(datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp()) * 1_000_000


# -- what one rule wants -----------------------------------------------------------------------------------------------
def _wishes(rule: LifecycleRule, item: Item) -> Iterator[Planned]:
    if item.since is not None:
        yield from _removed_later(rule, item)
        if not item.marker:
            yield from _moves(rule, rule.noncurrent_transitions, item, item.since, "since it was replaced")
    elif item.marker:
        if rule.expired_markers and not item.hiding:
            yield Planned(rule.name, Action.REMOVE, item.created, "a delete marker that hides nothing")
    else:
        yield from _expired(rule, item)
        yield from _moves(rule, rule.transitions, item, item.created, "since it was made")


def _expired(rule: LifecycleRule, item: Item) -> Iterator[Planned]:
    if rule.expire_days is not None:
        due = _after(item.created, rule.expire_days)
        yield Planned(rule.name, Action.EXPIRE, due, f"{rule.expire_days} days since it was made")
    if rule.expire_on is not None:
        yield Planned(rule.name, Action.EXPIRE, day_of(rule.expire_on), f"from {rule.expire_on} on")


def _removed_later(rule: LifecycleRule, item: Item) -> Iterator[Planned]:
    if rule.noncurrent_days is None or item.since is None:
        return
    if item.newer < rule.noncurrent_keep and not item.marker:
        return  # among the newest that stay
    due = _after(item.since, rule.noncurrent_days)
    why = f"{rule.noncurrent_days} days since it was replaced"
    if rule.noncurrent_keep:
        why += f", and {rule.noncurrent_keep} newer ones are kept"
    keep = 0 if item.marker else rule.noncurrent_keep
    yield Planned(rule.name, Action.REMOVE, due, why, keep=keep)


def _moves(
    rule: LifecycleRule, steps: Sequence[Transition], item: Item, start: int, whence: str
) -> Iterator[Planned]:
    for step in steps:
        if step.days is not None:
            due, why = _after(start, step.days), f"{step.days} days {whence}"
        elif step.on is not None:
            due, why = day_of(step.on), f"from {step.on} on"
        else:
            days = step.idle_days or 0
            read = None if item.read is None else max(item.read, start)
            due_or_none = None if read is None else _after(read, days)
            yield _move(rule, step, due_or_none, f"{days} days without a read, as far as reads were counted")
            continue
        yield _move(rule, step, due, why)


def _move(rule: LifecycleRule, step: Transition, due: int | None, why: str) -> Planned:
    return Planned(rule.name, Action.MOVE, due, why, step.to, rule.even_if_dearer)


def _steps(due: Sequence[Planned]) -> tuple[Planned, ...]:
    """Return those moves that are due, one for each place, the last step first."""
    first: dict[str, Planned] = {}
    for wish in due:
        held = first.get(wish.to)
        if held is None or (wish.due or 0) < (held.due or 0):
            first[wish.to] = wish
    return tuple(
        sorted(first.values(), key=lambda wish: -(wish.due or 0))
    )  # stable: then as they are written


def _after(start: int, days: int) -> int:
    """Return the first midnight at or after `days` whole days from `start`."""
    return -(-(start + days * DAY) // DAY) * DAY


def _asks_content(rule: LifecycleRule) -> bool:
    return bool(rule.tags or rule.content_types or rule.min_size is not None or rule.max_size is not None)
