"""Bringing the catalog to what a file wants of it: first the changes, then the changes made, one verb after the other.

A plan names its changes exactly, and has a fingerprint of them. Applying plans anew: when the catalog has changed so that
other changes would be made, nothing is done. Each change is a verb of a session or its administration, which asks for
permission and is audited; one that finds something else than was planned is refused. The first failure ends it, and the
error says what was done. Applying again goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from holdfast.core.errors import ConflictError, HoldfastError, InvalidRequestError, UnavailableError
from holdfast.core.names import INLINE
from holdfast.core.types import BucketSettings, IpRules, Quota, Rate, TenantState, Threshold, Usage
from holdfast.engine import applying_stores, buckets
from holdfast.engine.standing import Desk, Standing, standing, tenant_members, things_of
from holdfast.policy import differences as differing
from holdfast.policy.buckets import changed, settings_members
from holdfast.policy.differences import Action, Change, Kind, Members, Wanted
from holdfast.policy.placement import Rule
from holdfast.policy.rule_form import check_rule, rule_of

_QUOTA: Final = ("max_bytes", "max_objects")
_IP: Final = ("ip_allow", "ip_deny")
_RATE: Final = ("requests", "bytes_in", "bytes_out")
_FOLDERS: Final = ("categories", "subfolders")


@dataclass(frozen=True, slots=True)
class ConfigPlan:
    """The changes in the order in which they are made; `id` stands for exactly these."""

    changes: tuple[Change, ...]
    id: str

    @property
    def troubles(self) -> list[str]:
        """Why some of them cannot be made."""
        return [f"{told(change)}: {change.trouble}" for change in self.changes if change.trouble]


async def plan(desk: Desk, wanted: Wanted, *, prune: bool = False) -> ConfigPlan:
    """Return what would have to change. With `prune` also what is not wanted goes, of the kinds that are spoken of.

    Raises:
        ConfigError, InvalidRequestError: what is wanted makes no sense.
    """
    return (await _planned(desk, wanted, prune))[0]


async def apply(desk: Desk, wanted: Wanted, *, prune: bool = False, expect: str | None = None) -> ConfigPlan:
    """Make the changes and return them.

    Args:
        expect: `id` of the plan that was agreed to; any other plan is not carried out.

    Raises:
        ConflictError: the catalog has changed since, or some change cannot be made; nothing was done.
        HoldfastError: a change failed; the message says which, and what was done before.
    """
    made, now = await _planned(desk, wanted, prune)
    if expect is not None and made.id != expect:
        raise ConflictError("the catalog has changed since this was planned; nothing was done: plan it again")
    if made.troubles:
        raise ConflictError(f"nothing was done, as not all can be: {'; '.join(made.troubles)}")
    await _all(desk, wanted, now, made.changes)
    await _hierarchies(desk, wanted, made.changes)
    return made


async def _all(desk: Desk, wanted: Wanted, now: Standing, changes: Sequence[Change]) -> None:
    """Make the changes in their order; those of the rules all at once, so that nobody goes by half of them."""
    gone = {change.name for change in changes if (change.kind, change.action) == (Kind.RULE, Action.REMOVE)}
    ruled = False
    for place, change in enumerate(changes):
        try:
            if change.kind is not Kind.RULE:
                await _carry_out(desk, wanted, now, change)
            elif not ruled:
                await _rules(desk, wanted, now, gone)
                ruled = True
        except HoldfastError as error:
            before = f": {', '.join(told(one) for one in changes[:place])}" if place else ""
            raise type(error)(
                f"{told(change)} failed: {error.message} ({place} of {len(changes)} changes were made before"
                f" it{before}; apply again to go on)",
                operation=error.operation,
                store=error.store,
                name=error.name,
            ) from error


def told(change: Change) -> str:
    """Return a change in a few words."""
    return f"{change.action} {change.kind} {change.name}"


async def _planned(desk: Desk, wanted: Wanted, prune: bool) -> tuple[ConfigPlan, Standing]:
    now = await standing(desk, wanted)
    things = dict(things_of(wanted, desk.context))
    held = dict(now.things)
    common = [name for name in wanted.named(Kind.RULE) if name in now.rules]
    if [name for name in now.rules if name in common] != common:
        for order, known in ((common, things), ([name for name in now.rules if name in common], held)):
            for place, name in enumerate(order, 1):
                known[Kind.RULE, name] = {**known[Kind.RULE, name], "position": place}
    for kind, name in things:
        if kind is Kind.TENANT and "categories" in things[kind, name]:
            things[kind, name] = _with_categories(things[kind, name], held.get((kind, name), {}))
    removable = await _removable(desk, now) if prune else {}
    changes = [
        replace(change, trouble=_trouble(desk, wanted, now, change))
        if change.action is not Action.REMOVE
        else change
        for change in differing.differences(things, held, removable=removable)
    ]
    return ConfigPlan(tuple(changes), differing.fingerprint(changes)), now


def _with_categories(wanted: Members, held: Members) -> Members:
    """Return what is wanted of a tenant: categories are added to those that there are, and never go."""
    return {**wanted, "categories": list(dict.fromkeys((*held.get("categories", ()), *wanted["categories"])))}


async def _removable(desk: Desk, now: Standing) -> dict[tuple[Kind, str], str]:
    """Return what may go, each with why it cannot, or ""."""
    found: dict[tuple[Kind, str], str] = {}
    first = min(now.tenants.values(), key=lambda tenant: (tenant.created, tenant.name)).name
    for kind, name in now.things:
        if kind is Kind.TENANT and name in (first, desk.home):
            continue
        if kind is Kind.TENANT:
            held = len(await desk.admin.tenant_buckets(name))
            found[kind, name] = f"it has {held} buckets; remove them first" if held else ""
        else:
            found[kind, name] = _holds(now.usage[name]) if kind is Kind.BUCKET else ""
    return found


def _holds(used: Usage) -> str:
    if used.versions or used.upload_bytes:
        return f"it is not empty: it holds {used.versions} versions and {used.upload_bytes} bytes of open uploads"
    return ""


def _trouble(desk: Desk, wanted: Wanted, now: Standing, change: Change) -> str:
    """Return why a change cannot be made, as far as that can be told beforehand."""
    if change.kind is Kind.TENANT:
        if change.action is Action.CREATE and change.name in now.tenants:
            return "it is about to be removed; restore it first"
        if change.action is Action.CREATE and change.name in now.gone:
            return "a tenant of that name was removed, and its audit is kept under it; choose another name"
        folders = any(edit.member in _FOLDERS for edit in change.edits)
        if folders and not wanted.things[change.kind, change.name].get("categories"):
            return "subfolders lie below categories; describe these too"
        return (
            "categories are folders in its buckets; describe these too"
            if folders and not _buckets_of(wanted, change.name)
            else ""
        )
    if change.kind is Kind.BUCKET and change.action is Action.CREATE:
        tenant = change.name.partition("/")[0]
        known = tenant in now.tenants or (Kind.TENANT, tenant) in wanted.things
        return "" if known else f"there is no tenant {tenant}; describe it too"
    if change.kind is Kind.STORE:
        return applying_stores.trouble(desk.context, wanted, now, change.name)
    if change.kind is Kind.RULE:
        return _rule_trouble(desk, wanted, now, change)
    return ""


def _rule_trouble(desk: Desk, wanted: Wanted, now: Standing, change: Change) -> str:
    if desk.context.placing.of_file:
        return "this process has placement rules in its file, which take the place of those in the catalog"
    rule = rule_of({"name": change.name, **wanted.things[Kind.RULE, change.name]})
    try:
        check_rule(rule, {*desk.context.stores.own, *now.stores, *wanted.named(Kind.STORE)} - {INLINE})
    except InvalidRequestError as error:
        return error.message
    return ""


async def _carry_out(desk: Desk, wanted: Wanted, now: Standing, change: Change) -> None:
    """Make one change."""
    if change.kind is Kind.BUCKET:
        await _bucket(desk, change)
    elif change.kind is Kind.TENANT:
        await _tenant(desk, change)
    elif change.kind is Kind.STORE:
        await applying_stores.carry_out(desk.admin.connections, wanted, now, change)


async def _rules(desk: Desk, wanted: Wanted, now: Standing, gone: Collection[str]) -> None:
    """Replace the rules by what they are to be, unless somebody else has changed them since."""
    made = {
        name: rule_of({"name": name, **wanted.things[Kind.RULE, name]}) for name in wanted.named(Kind.RULE)
    }
    order = [name for name in differing.merged_order(now.rules, list(made)) if name not in gone]

    def change(held: tuple[Rule, ...]) -> Sequence[Rule]:
        kept = {rule.name: rule for rule in held} | made
        return [kept[name] for name in order]

    await desk.admin.change_rules(change, expected=now.generation)


async def _bucket(desk: Desk, change: Change) -> None:
    tenant, _, name = change.name.partition("/")
    context, actor = desk.context, desk.actor
    if change.action is Action.REMOVE:
        await buckets.remove(context, tenant, name, force=False, actor=actor)
        return
    given = {edit.member: edit.new for edit in change.edits}
    versioning = given.pop("versioning", None)
    if change.action is Action.CREATE:
        settings = changed(buckets.defaults(context), given)
        await buckets.create(
            context, tenant, name, versioning=bool(versioning), settings=settings, actor=actor
        )
        return
    old = {edit.member: edit.old for edit in change.edits if edit.member != "versioning"}

    def made(held: BucketSettings) -> BucketSettings:
        as_planned(old, {**settings_members(held), "inline": held.inline})
        return changed(held, given)

    await buckets.update(context, tenant, name, versioning=versioning, change=made, actor=actor)


async def _tenant(desk: Desk, change: Change) -> None:
    name, admin = change.name, desk.admin
    if change.action is Action.REMOVE:
        await admin.delete_tenant(name)
        return
    given = {edit.member: edit.new for edit in change.edits}
    if change.action is Action.CREATE:
        await admin.create_tenant(name)
    tenant, use = await admin.tenant(name)
    held = tenant_members(tenant, use)
    if change.action is Action.CHANGE:
        as_planned({edit.member: edit.old for edit in change.edits}, held)
    if not given:
        return
    whole = held | given
    await admin.update_tenant(
        name,
        quota=Quota(*(whole[member] for member in _QUOTA)) if given.keys() & set(_QUOTA) else None,
        ip=IpRules(*(tuple(whole[member]) for member in _IP)) if given.keys() & set(_IP) else None,
        rate=Rate(*(whole[member] for member in _RATE)) if given.keys() & set(_RATE) else None,
        state=TenantState(given["state"]) if "state" in given else None,
        inline=Threshold(given["inline"]) if "inline" in given else None,
    )


async def _hierarchies(desk: Desk, wanted: Wanted, changes: Sequence[Change]) -> None:
    """Make the folders of tenants that are described with categories, where they or their buckets are new."""
    for name in wanted.named(Kind.TENANT):
        said = wanted.things[Kind.TENANT, name]
        made = [one for one in changes if one.kind is Kind.BUCKET and one.action is Action.CREATE]
        new = any(one.name.startswith(f"{name}/") for one in made) or any(
            edit.member in _FOLDERS
            for one in changes
            if (one.kind, one.name) == (Kind.TENANT, name)
            for edit in one.edits
        )
        if not new or not said.get("categories"):
            continue
        known = (await desk.admin.tenant(name))[0].settings.categories
        categories = list(dict.fromkeys((*known, *said["categories"])))
        found = await desk.admin.provision(
            _buckets_of(wanted, name), categories, said.get("subfolders"), tenant=name
        )
        if not found.whole:
            trouble = "; ".join(
                f"{store}: {one.trouble}" for store, one in found.stores.items() if one.trouble
            )
            raise UnavailableError(
                f"folders of tenant {name} are missing in some stores ({trouble}); later: holdfast tenant provision {name}"
            )


def _buckets_of(wanted: Wanted, tenant: str) -> list[str]:
    """Return the buckets of a tenant that are described."""
    full = wanted.named(Kind.BUCKET)
    return [name.partition("/")[2] for name in full if name.startswith(f"{tenant}/")]


def as_planned(old: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raise `ConflictError` when something is no longer what it was when the change was planned."""
    for member, value in old.items():
        if held.get(member) != value:
            raise ConflictError(f"{member} was changed by somebody else meanwhile; plan it again")
