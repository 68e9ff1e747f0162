"""Placement rules looked after: what is in force, and other ones in the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.catalog.contract import Actor
from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import KeptRules
from holdfast.engine.context import Context
from holdfast.engine.placing import kept_form, rules_kept
from holdfast.policy.placement import MAX_INLINE, Placement, Rule
from holdfast.policy.rule_form import check_rules

Change = Callable[[tuple[Rule, ...]], Sequence[Rule]]


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """`rules` decide, in the order in which they are asked by scope, and `default` where none of them matches.

    `of_file`: they are those of this process's file; then `kept`, those of the catalog, have no effect here.
    `generation` counts the changes of the catalog's. `inline` is the service's own threshold, bytes.
    """

    rules: tuple[Rule, ...]
    default: Rule
    inline: int
    of_file: bool
    kept: tuple[Rule, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A placement that is only supposed: what is None is as it is. `stores` do not exist yet, by name with a price key."""

    rules: tuple[Rule, ...] | None = None
    default: Rule | None = None
    inline: int | None = None
    stores: Mapping[str, str] | None = None


async def in_force(context: Context) -> RulesInForce:
    """Return the rules as they are now."""
    return _in_force(context, await context.placing.look())


def _in_force(context: Context, kept: KeptRules) -> RulesInForce:
    now = context.placing.current
    return RulesInForce(
        now.rules, now.default, now.inline, context.placing.of_file, rules_kept(kept), kept.generation
    )


async def change(context: Context, make: Change, *, expected: int | None, actor: Actor) -> RulesInForce:
    """Replace the rules of the catalog by what `make` makes of them, in one transaction, and go by them at once.

    Raises:
        InvalidRequestError: a rule cannot be followed; nothing was changed.
        ConflictError: they are not in the generation that was expected, or this process goes by its file.
    """
    context.placing.check_ours()
    await context.stores.refresh(at_once=True)

    def made(held: KeptRules) -> tuple[tuple[str, str], ...]:
        return kept_form(check_rules(make(rules_kept(held)), context.stores))

    kept = await context.catalog.change_rules(made, expected=expected, actor=actor)
    await context.placing.learn(kept)
    return _in_force(context, kept)


async def supposed(context: Context, wanted: Wanted) -> Placement:
    """Return the placement in force with what is wanted in place of its own.

    Raises:
        InvalidRequestError: a rule could not be followed, also if the stores were there that are only supposed.
    """
    await context.stores.refresh(at_once=True)
    now = await context.placing.fresh()
    known = (*context.stores, *(wanted.stores or ()))
    default = now.default if wanted.default is None else replace(wanted.default, name=now.default.name)
    if wanted.default is not None:
        check_rules([replace(default, name="the default")], known)
    if wanted.inline is not None and not 0 <= wanted.inline <= MAX_INLINE:
        raise InvalidRequestError(f"inline is from 0 to {MAX_INLINE} bytes, not {wanted.inline}")
    rules = now.rules if wanted.rules is None else check_rules(wanted.rules, known)
    placement = Placement(default, rules, now.inline if wanted.inline is None else wanted.inline)
    await asyncio.to_thread(placement.prepare)
    return placement
