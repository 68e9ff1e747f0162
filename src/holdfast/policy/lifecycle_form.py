"""Lifecycle rules and default locks as they travel: JSON members in, checked values out, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.lifecycle import LifecycleRule, Transition
from holdfast.core.names import check_prefix
from holdfast.core.retention import DefaultLock, LockMode
from holdfast.core.sizes import parse_size
from holdfast.policy.lifecycle import day_of

MAX_RULES: Final = 100
MAX_DAYS: Final = 36_500
MAX_KEEP: Final = 1000
_NAME: Final = 128
_TO: Final = 255
_MEMBERS: Final = tuple(field.name for field in fields(LifecycleRule))
_STEP: Final = tuple(field.name for field in fields(Transition))
_EMPTY: Final = LifecycleRule("")


def rules_of(value: object) -> tuple[LifecycleRule, ...]:
    """Return the rules that a list of JSON objects means.

    Raises:
        InvalidRequestError: naming the rule and what is wrong with it.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InvalidRequestError("lifecycle is a list of rules")
    if len(value) > MAX_RULES:
        raise InvalidRequestError(f"{len(value)} lifecycle rules; a bucket has at most {MAX_RULES}")
    rules = tuple(_rule(number, said) for number, said in enumerate(value, 1))
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequestError(f"there are two lifecycle rules called {twice!r}; give each its own name")
    return rules


def rule_members(rule: LifecycleRule) -> dict[str, Any]:
    """Return a rule as it travels: what it does not say is left out."""
    found: dict[str, Any] = {"name": rule.name}
    for name in _MEMBERS[1:]:
        value = getattr(rule, name)
        if value == getattr(_EMPTY, name):
            continue
        if name.endswith("transitions"):
            value = [
                {key: held for key in _STEP if (held := getattr(step, key)) is not None} for step in value
            ]
        found[name] = dict(value) if name == "tags" else list(value) if isinstance(value, tuple) else value
    return found


def lock_of(value: object) -> DefaultLock | None:
    """Return the default lock that `{"mode": …, "days": …}` means; None: none."""
    if value is None or isinstance(value, DefaultLock):
        return value
    if not isinstance(value, Mapping) or set(value) != {"mode", "days"}:
        raise InvalidRequestError(
            'default_lock is {"mode": "governance" or "compliance", "days": N}, or null'
        )
    return DefaultLock(mode_of(value["mode"]), _days("default_lock", "days", value["days"], least=1) or 1)


def lock_members(lock: DefaultLock | None) -> dict[str, Any] | None:
    """Return a default lock as it travels."""
    return None if lock is None else {"mode": lock.mode.value, "days": lock.days}


def moment_of(text: str) -> int:
    """Return the microseconds of a time such as 2027-01-31T00:00:00Z; a day alone is its midnight, UTC.

    Raises:
        InvalidRequestError: it is none, or names no zone.
    """
    try:
        found = datetime.fromisoformat(text if len(text) > len("2027-01-31") else f"{text}T00:00:00+00:00")
        if found.tzinfo is not None:
            return int(found.timestamp()) * 1_000_000
    except (OverflowError, ValueError):
        pass
    raise InvalidRequestError(
        f"a time is written as 2027-01-31, or 2027-01-31T00:00:00Z with its zone; not {text!r:.80}"
    )


def mode_of(text: object) -> LockMode:
    """Return the mode of a lock that `text` names."""
    try:
        return LockMode(str(text))
    except ValueError:
        raise InvalidRequestError(f"a lock's mode is governance or compliance, not {text!r:.80}") from None


# ---------------------------------------------------------------------------------------------------------------------
def _rule(number: int, said: object) -> LifecycleRule:
    if isinstance(said, LifecycleRule):
        said = rule_members(said)
    if not isinstance(said, Mapping):
        raise InvalidRequestError(f"lifecycle rule {number} is not an object with members")
    name = said.get("name", f"rule-{number}")
    if not isinstance(name, str) or not 0 < len(name) <= _NAME or not name.isprintable():
        raise InvalidRequestError(f"lifecycle rule {number}: its name has 1 to {_NAME} printable characters")
    where = f"lifecycle rule {name!r}"
    if unknown := sorted(set(said) - set(_MEMBERS)):
        raise InvalidRequestError(f"{where} has no {unknown[0]!r:.80}; it may have {', '.join(_MEMBERS)}")
    rule = LifecycleRule(
        name,
        _flag(where, "enabled", said.get("enabled", True)),
        _prefix(where, said.get("prefix", "")),
        _tags(where, said.get("tags", {})),
        _size(where, "min_size", said.get("min_size")),
        _size(where, "max_size", said.get("max_size")),
        _types(where, said.get("content_types", ())),
        _days(where, "expire_days", said.get("expire_days"), least=1),
        _date(where, "expire_on", said.get("expire_on")),
        _days(where, "noncurrent_days", said.get("noncurrent_days"), least=1),
        _days(where, "noncurrent_keep", said.get("noncurrent_keep", 0), most=MAX_KEEP) or 0,
        _flag(where, "expired_markers", said.get("expired_markers", False)),
        _days(where, "abort_uploads_days", said.get("abort_uploads_days"), least=1),
        _transitions(where, "transitions", said.get("transitions", ())),
        _transitions(where, "noncurrent_transitions", said.get("noncurrent_transitions", ())),
        _flag(where, "even_if_dearer", said.get("even_if_dearer", False)),
    )
    _check_whole(where, rule)
    return rule


def _check_whole(where: str, rule: LifecycleRule) -> None:
    """Refuse what each member allows and all together do not."""
    acts = (rule.expire_days, rule.expire_on, rule.noncurrent_days, rule.abort_uploads_days)
    moves = (*rule.transitions, *rule.noncurrent_transitions)
    if not moves and not rule.expired_markers and all(act is None for act in acts):
        raise InvalidRequestError(
            f"{where} does nothing; give it expire_days, expire_on, noncurrent_days, expired_markers,"
            " abort_uploads_days, transitions or noncurrent_transitions"
        )
    if rule.expire_days is not None and rule.expire_on is not None:
        raise InvalidRequestError(f"{where}: name expire_days or expire_on, not both")
    if rule.noncurrent_keep and rule.noncurrent_days is None:
        raise InvalidRequestError(f"{where}: noncurrent_keep goes with noncurrent_days")
    if rule.min_size is not None and rule.max_size is not None and rule.min_size >= rule.max_size:
        raise InvalidRequestError(f"{where}: min_size is below max_size")
    narrow = rule.tags or rule.content_types or rule.min_size is not None or rule.max_size is not None
    if narrow and (rule.expired_markers or rule.abort_uploads_days is not None):
        raise InvalidRequestError(
            f"{where}: delete markers and uploads have no tags, size or type; put expired_markers and"
            " abort_uploads_days into a rule with a prefix only"
        )


def _transitions(where: str, name: str, value: object) -> tuple[Transition, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidRequestError(f'{where}: {name} is a list as [{{"to": "cold", "days": 30}}]')
    return tuple(_transition(f"{where}, {name}", said) for said in value)


def _transition(where: str, said: object) -> Transition:
    if not isinstance(said, Mapping) or set(said) - set(_STEP) or "to" not in said:
        raise InvalidRequestError(f"{where}: a step has `to`, and one of days, on and idle_days")
    to = said["to"]
    kind, colon, rest = to.partition(":") if isinstance(to, str) else ("", "", "")
    if (
        not isinstance(to, str)
        or not 0 < len(to) <= _TO
        or (colon and (kind not in ("label", "class") or not rest))
    ):
        raise InvalidRequestError(f"{where}: `to` is the name of a store, or label:NAME, or class:NAME")
    step = Transition(
        to,
        _days(where, "days", said.get("days")),
        _date(where, "on", said.get("on")),
        _days(where, "idle_days", said.get("idle_days"), least=1),
    )
    if sum(one is not None for one in (step.days, step.on, step.idle_days)) != 1:
        raise InvalidRequestError(f"{where}: a step has one of days, on and idle_days")
    return step


def _prefix(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{where}: prefix is text")
    check_prefix(value)
    return value


def _tags(where: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise InvalidRequestError(f"{where}: tags are names with texts")
    return dict(sorted(value.items()))


def _types(where: str, value: object) -> tuple[str, ...]:
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(one, str) for one in value)
    ):
        raise InvalidRequestError(f'{where}: content_types is a list as ["image/*"]')
    return tuple(one.strip().lower() for one in value)


def _size(where: str, name: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidRequestError(f"{where}: {name}: {error}") from None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidRequestError(f"{where}: {name} is a size, as 1048576 or 1MB")
    return size


def _days(where: str, name: str, value: object, *, least: int = 0, most: int = MAX_DAYS) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(f"{where}: {name} is a whole number from {least} to {most}")
    return value


def _date(where: str, name: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        day_of(str(value))
    except ValueError:
        raise InvalidRequestError(f"{where}: {name} is a day as 2027-01-31") from None
    return str(value)


def _flag(where: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{where}: {name} is true or false")
    return value
