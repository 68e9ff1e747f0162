"""Rules as they travel: the same members in a file, in JSON and in the catalog. And whether rules can be kept.

Sizes come in as bytes or as text such as `64KB`, and go out as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.sizes import parse_size
from holdfast.policy.placement import ALL, INLINE, MAX_INLINE, Acknowledge, Match, Rule, WhenDown

DEFAULT: Final = "default"  #: the name of the rule that comes last
MAX_RULES: Final = 1000
MAX_PATTERNS: Final = 200
MAX_ALL: Final = 10_000  #: patterns, names and tags of all rules together
MAX_TEXT: Final = 1 << 20  #: their bytes
_MOST: Final = 1 << 62
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,62}")
_MATCH: Final = (
    "tenants",
    "buckets",
    "content_types",
    "keys",
    "min_size",
    "max_size",
    "storage_classes",
    "tags",
)
_RULE: Final = ("name", "match", "stores", "acknowledge", "inline", "when_down", "fallback", "encrypt")


def rule_members(rule: Rule) -> dict[str, Any]:
    """Return `rule` as it travels, all members named."""
    match = rule.match
    return {
        "name": rule.name,
        "match": {
            "tenants": list(match.tenants),
            "buckets": list(match.buckets),
            "content_types": list(match.content_types),
            "keys": list(match.keys),
            "min_size": match.min_size,
            "max_size": match.max_size,
            "storage_classes": list(match.storage_classes),
            "tags": dict(match.tags),
        },
        "stores": list(rule.stores),
        "acknowledge": rule.acknowledge,
        "inline": rule.inline,
        "when_down": rule.when_down.value,
        "fallback": list(rule.fallback),
        "encrypt": rule.encrypt,
    }


def rule_of(members: Mapping[str, Any]) -> Rule:
    """Return the rule that `members` are; what is missing has its default.

    Raises:
        InvalidRequestError: naming the rule, and the member that is unknown or not of its kind.
    """
    name = members.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError("every rule has a name: one text that no other rule has")
    where = f"rule {name!r:.80}"
    _known(where, members, _RULE)
    match = members.get("match") or {}
    if not isinstance(match, Mapping):
        raise InvalidRequestError(f"{where}: match is a table, such as {{ keys = ['*.zip'] }}")
    return Rule(
        name=name,
        stores=_texts(where, "stores", members.get("stores", ())),
        match=_match(where, match),
        acknowledge=_acknowledge(where, members.get("acknowledge", 1)),
        inline=_size(where, "inline", members.get("inline")),
        when_down=_when_down(where, members.get("when_down", WhenDown.REFUSE.value)),
        fallback=_texts(where, "fallback", members.get("fallback", ())),
        encrypt=_switch(where, "encrypt", members.get("encrypt", False)),
    )


def rules_of(listed: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules that a list of members is. See `rule_of`."""
    return tuple(rule_of(members) for members in listed)


def check_rules(rules: Sequence[Rule], stores: Collection[str]) -> tuple[Rule, ...]:
    """Return `rules` in their usual form, if they can all be followed where there are these `stores`.

    Raises:
        InvalidRequestError: naming the first rule that cannot, and why.
    """
    if len(rules) > MAX_RULES:
        raise InvalidRequestError(f"{len(rules)} rules; at most {MAX_RULES} are taken")
    _check_all(rules)
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise InvalidRequestError(f"rule {rule.name!r:.80}: there are two of that name; give one another")
        seen.add(rule.name)
    return tuple(check_rule(rule, stores) for rule in rules)


def _check_all(rules: Sequence[Rule]) -> None:
    words = [word for rule in rules for word in words_of(rule)]
    if len(words) > MAX_ALL:
        raise InvalidRequestError(
            f"the rules have {len(words)} patterns together (tenants, buckets, content_types, keys, storage_classes"
            f" and tags); at most {MAX_ALL} are taken: put what belongs together under a prefix or a tag"
        )
    if (size := sum(len(word.encode("utf-8", "replace")) for word in words)) > MAX_TEXT:
        raise InvalidRequestError(
            f"the patterns of the rules have {size} bytes together; at most {MAX_TEXT} are taken"
        )


def words_of(rule: Rule) -> list[str]:
    """Return all patterns of `rule`, and its tags as one word each."""
    match = rule.match
    named = (match.tenants, match.buckets, match.content_types, match.keys, match.storage_classes)
    return [word for words in named for word in words] + [f"{name}={tag}" for name, tag in match.tags.items()]


def check_rule(rule: Rule, stores: Collection[str]) -> Rule:
    """Return `rule` in its usual form. See `check_rules`."""
    where = f"rule {rule.name!r:.80}"
    if not _NAME.fullmatch(rule.name) or rule.name == DEFAULT:
        raise InvalidRequestError(
            f"{where}: a name has 1 to 63 of A-Z a-z 0-9 . _ - and spaces, begins with a letter or digit,"
            f" and is not {DEFAULT!r}, which is what placement.stores says"
        )
    if not rule.stores:
        raise InvalidRequestError(f"{where}: stores is empty; name one store at least")
    _stores(where, "stores", rule.stores, stores)
    _stores(where, "fallback", rule.fallback, stores)
    if rule.acknowledge != ALL and not 1 <= int(rule.acknowledge) <= len(rule.stores):
        raise InvalidRequestError(
            f"{where}: acknowledge is from 1 to the number of its stores, {len(rule.stores)}, or 'all';"
            f" not {rule.acknowledge}"
        )
    _when_down_check(where, rule)
    if rule.inline is not None and not 0 <= rule.inline <= MAX_INLINE:
        raise InvalidRequestError(f"{where}: inline is from 0 to {MAX_INLINE} bytes, not {rule.inline}")
    if rule.encrypt and rule.inline:
        raise InvalidRequestError(
            f"{where}: what is encrypted never lives in the catalog, so inline is 0 or nothing; not {rule.inline}"
        )
    return replace(rule, match=_checked(where, rule.match))


def _when_down_check(where: str, rule: Rule) -> None:
    if rule.when_down is WhenDown.FALLBACK and not rule.fallback:
        raise InvalidRequestError(f"{where}: when_down is fallback, and fallback names no store")
    if rule.when_down is WhenDown.REFUSE and rule.fallback:
        raise InvalidRequestError(
            f"{where}: fallback is used only with when_down = 'fallback'; say that, or name no fallback"
        )
    if both := [name for name in rule.fallback if name in rule.stores]:
        raise InvalidRequestError(f"{where}: {both[0]} is one of its stores, so it cannot be their fallback")


def _checked(where: str, match: Match) -> Match:
    for name in ("tenants", "buckets", "content_types", "keys", "storage_classes"):
        words = getattr(match, name)
        if len(words) > MAX_PATTERNS:
            raise InvalidRequestError(f"{where}: {name} has {len(words)} entries; at most {MAX_PATTERNS}")
        if not all(words) or any(len(word.encode("utf-8", "replace")) > 1024 for word in words):
            raise InvalidRequestError(f"{where}: each of {name} has 1 to 1,024 bytes")
    if len(match.tags) > MAX_PATTERNS or not all(match.tags):
        raise InvalidRequestError(f"{where}: tags are at most {MAX_PATTERNS} names with a value each")
    least, most = match.min_size, match.max_size
    for name, size in (("min_size", least), ("max_size", most)):
        if size is not None and not 0 <= size <= _MOST:
            raise InvalidRequestError(f"{where}: {name} is a size from 0 on, not {size}")
    if least is not None and most is not None and least >= most:
        raise InvalidRequestError(
            f"{where}: min_size ({least}) is not below max_size ({most}), so nothing would match"
        )
    return replace(match, content_types=tuple(kind.strip().lower() for kind in match.content_types))


def _stores(where: str, member: str, names: Sequence[str], known: Collection[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"{where}: {member} names a store twice")
    for name in names:
        if name == INLINE:
            raise InvalidRequestError(
                f"{where}: {INLINE!r} is no store to name; say inline = SIZE for what shall live in the catalog"
            )
        if name not in known:
            there = ", ".join(sorted(name for name in known if name != INLINE)) or "none"
            raise InvalidRequestError(f"{where}: there is no store {name!r:.80}; there is: {there}")


def _match(where: str, members: Mapping[str, Any]) -> Match:
    _known(f"{where}, match", members, _MATCH)
    tags = members.get("tags") or {}
    if not isinstance(tags, Mapping) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in tags.items()
    ):
        raise InvalidRequestError(f"{where}: match.tags is a table of texts")
    return Match(
        tenants=_texts(where, "match.tenants", members.get("tenants", ())),
        buckets=_texts(where, "match.buckets", members.get("buckets", ())),
        content_types=_texts(where, "match.content_types", members.get("content_types", ())),
        keys=_texts(where, "match.keys", members.get("keys", ())),
        min_size=_size(where, "match.min_size", members.get("min_size")),
        max_size=_size(where, "match.max_size", members.get("max_size")),
        storage_classes=_texts(where, "match.storage_classes", members.get("storage_classes", ())),
        tags=dict(tags),
    )


def _known(where: str, members: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in members if name not in known]:
        raise InvalidRequestError(f"{where}: {unknown[0]!r:.80} is unknown; there are {', '.join(known)}")


def _texts(where: str, member: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise InvalidRequestError(f"{where}: {member} is a list of texts")
    return tuple(value)


def _number(where: str, member: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidRequestError(f"{where}: {member} is a whole number")
    return value


def _acknowledge(where: str, value: Any) -> Acknowledge:
    if value == ALL:
        return "all"
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{where}: acknowledge is a whole number, or 'all'")
    return value


def _switch(where: str, member: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{where}: {member} is true or false")
    return value


def _size(where: str, member: str, value: Any) -> int | None:
    if not isinstance(value, str):
        return _number(where, member, value)
    try:
        return parse_size(value)
    except ValueError as error:
        raise InvalidRequestError(f"{where}: {member}: {error}") from None


def _when_down(where: str, value: Any) -> WhenDown:
    try:
        return WhenDown(value)
    except ValueError:
        kinds = " or ".join(kind.value for kind in WhenDown)
        raise InvalidRequestError(f"{where}: when_down is {kinds}, not {value!r:.80}") from None
