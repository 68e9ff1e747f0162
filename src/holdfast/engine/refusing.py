"""Which rules cannot be followed now as they are written, and what that means for writers: in words for operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from holdfast.core.types import EMPTY
from holdfast.engine.context import Context
from holdfast.engine.targets import trouble_of
from holdfast.policy.placement import Placement, Rule, WhenDown

_NAMED: Final = 5  #: rules that a line names
_LINES: Final = 20


def rule_troubles(context: Context, placement: Placement, silent: Mapping[str, str] = EMPTY) -> list[str]:
    """Return a line for the rules whose acknowledged copies their own stores would not all take now.

    `silent` are stores that did not answer when they were asked: what is to be said after their name.
    """
    found: dict[str, list[str]] = {}
    known: dict[tuple[object, ...], str] = {}
    for rule in map(placement.moved, placement.ordered):
        kind = (rule.stores, rule.acknowledge, rule.when_down, rule.fallback)
        if kind not in known:
            known[kind] = _trouble(context, rule, silent)
        if known[kind]:
            found.setdefault(known[kind], []).append(rule.name)
    lines = [f"{_named(names)}: {trouble}" for trouble, names in found.items()]
    more = len(lines) - _LINES
    return lines if more <= 0 else [*lines[:_LINES], f"and {more} more rules that cannot be followed now"]


def _trouble(context: Context, rule: Rule, silent: Mapping[str, str]) -> str:
    """Return what is wrong with the stores of `rule`, "" while they take what it wants acknowledged."""

    def whys(names: Iterable[str]) -> dict[str, str]:
        return {name: trouble_of(context, name) or silent.get(name, "") for name in names}

    own = whys(rule.stores)
    wanted = rule.needed(len(rule.stores))
    able = sum(not why for why in own.values())
    if able >= wanted:
        return ""
    told = ", ".join(f"store {name} {why}" for name, why in own.items() if why)
    fallback = rule.fallback if rule.when_down is WhenDown.FALLBACK else ()
    others = whys(name for name in fallback if name not in rule.stores)
    spare = [name for name, why in others.items() if not why][: wanted - able]
    if able + len(spare) >= wanted:
        return f"{told}: writers go to the fallback {', '.join(spare)}"
    also = "".join(f", nor the fallback {name}, which {why}" for name, why in others.items() if why)
    return f"{told}{also}: writers are refused"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'rule' if len(names) == 1 else 'rules'} {', '.join(names[:_NAMED])}{more}"
