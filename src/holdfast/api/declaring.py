"""What the catalog shall be like, over REST: the changes told, and the changes made."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.config.declared import declared_of
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.engine.applying import ConfigPlan
from holdfast.engine.wanting import wanted_of
from holdfast.policy.differences import Change, Wanted, shown

Table = dict[str, dict[str, Any]]


class ConfigWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tenants, buckets, stores by name and rules in their order, as under `[apply]` in a file.

    A member that is missing is not spoken of. `prune`: what is not described goes, of the kinds that are spoken of.
    """

    tenants: Table | None = None
    buckets: Table | None = None
    stores: Table | None = None
    rules: list[dict[str, Any]] | None = None
    prune: bool = False


class ConfigOrder(ConfigWish, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The same; with `plan`, only if exactly that plan would be carried out."""

    plan: Annotated[str, Meta(max_length=64)] | None = None


class ConfigEdit(Struct, frozen=True):
    """One member with its value before (null: none) and after; secrets are not shown."""

    member: str
    old: Any
    new: Any


class ConfigChange(Struct, frozen=True):
    """One thing made, changed or removed; `trouble` says why it cannot be, or is empty."""

    action: str
    kind: str
    name: str
    edits: list[ConfigEdit]
    trouble: str


class ConfigChanges(Struct, frozen=True):
    """The changes in their order; `plan` stands for exactly these."""

    plan: str
    changes: list[ConfigChange]


async def plan_config(exchange: Exchange) -> None:
    """Answer with what would have to change; nothing is changed."""
    wish = decode(ConfigWish, await small_body(exchange, MAX_JSON))
    admin = exchange.session.admin
    made = await admin.plan_config(_wanted(exchange, wish), prune=wish.prune)
    await exchange.answer_json(200, encode(_changes(made)))


async def apply_config(exchange: Exchange) -> None:
    """Make the changes and answer with them. A second time there are none."""
    wish = decode(ConfigOrder, await small_body(exchange, MAX_JSON))
    admin = exchange.session.admin
    made = await admin.apply_config(_wanted(exchange, wish), prune=wish.prune, expect=wish.plan)
    await exchange.answer_json(200, encode(_changes(made)))


def change_of(change: Change) -> ConfigChange:
    """Return a change as it may be shown."""
    edits = [ConfigEdit(edit.member, shown(edit.old), shown(edit.new)) for edit in change.edits]
    return ConfigChange(change.action.value, change.kind.value, change.name, edits, change.trouble)


def _wanted(exchange: Exchange, wish: ConfigWish) -> Wanted:
    said = {name: getattr(wish, name) for name in ("tenants", "buckets", "stores", "rules")}
    try:
        found = declared_of({name: value for name, value in said.items() if value is not None})
        return wanted_of(found, exchange.session.principal.tenant)
    except ConfigError as error:
        raise InvalidRequestError(error.message) from error


def _changes(plan: ConfigPlan) -> ConfigChanges:
    return ConfigChanges(plan.id, [change_of(change) for change in plan.changes])
