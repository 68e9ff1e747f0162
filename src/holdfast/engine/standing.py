"""What the catalog holds now, in the form in which it can be compared with what a file wants of it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.records import Connection
from holdfast.core.types import Bucket, QuotaUse, Tenant, TenantState, Usage
from holdfast.engine.context import Context
from holdfast.engine.placing import rules_kept
from holdfast.engine.stores import DriverField
from holdfast.policy.buckets import settings_members
from holdfast.policy.differences import Kind, Secret, Things, Wanted
from holdfast.policy.rule_form import rule_members

if TYPE_CHECKING:
    from holdfast.engine.administration import Administration

_LABEL: Final = "secrets in a plan"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where changes are planned and made, by whoever may operate the service."""

    context: Context
    admin: Administration
    actor: Actor
    home: str  #: the tenant of who asks


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is: `things` of the kinds and tenants that were asked about, and what is needed beside them."""

    things: dict[tuple[Kind, str], Mapping[str, Any]]
    tenants: Mapping[str, Tenant]
    usage: Mapping[str, Usage]  #: of buckets, by TENANT/BUCKET
    stores: Mapping[str, Connection]
    rules: tuple[str, ...] = ()  #: names in their order
    generation: int = 0  #: of the rules
    gone: frozenset[str] = frozenset()  #: wanted names that tenants had who were removed


async def standing(desk: Desk, wanted: Wanted) -> Standing:
    """Return what the catalog holds of the kinds that `wanted` speaks of, and of the tenants that it names."""
    things: dict[tuple[Kind, str], Mapping[str, Any]] = {}
    tenants = {tenant.name: tenant for tenant in await desk.admin.tenants()}
    unknown = [name for name in wanted.named(Kind.TENANT) if name not in tenants]
    gone = frozenset([name for name in unknown if await desk.context.catalog.tenant_was_removed(name)])
    if Kind.TENANT in wanted.said:
        for name, tenant in tenants.items():
            if tenant.state is not TenantState.DELETING:
                things[Kind.TENANT, name] = tenant_members(tenant, (await desk.admin.tenant(name))[1])
    usage: dict[str, Usage] = {}
    if Kind.BUCKET in wanted.said:
        for name in sorted({full.partition("/")[0] for full in wanted.named(Kind.BUCKET)} & tenants.keys()):
            for bucket, used in await desk.admin.tenant_buckets(name):
                things[Kind.BUCKET, f"{name}/{bucket.name}"] = bucket_members(bucket)
                usage[f"{name}/{bucket.name}"] = used
    stores = {one.name: one for one in (await desk.context.catalog.stores())[1]}
    if Kind.STORE in wanted.said:
        things |= {(Kind.STORE, name): store_members(desk.context, one) for name, one in stores.items()}
    if Kind.RULE not in wanted.said:
        return Standing(things, tenants, usage, stores, gone=gone)
    kept = await desk.context.placing.look()
    rules = rules_kept(kept)
    for rule in rules:
        members = rule_members(rule)
        things[Kind.RULE, rule.name] = _flat({name: members[name] for name in members if name != "name"})
    return Standing(things, tenants, usage, stores, tuple(rule.name for rule in rules), kept.generation, gone)


def tenant_members(tenant: Tenant, use: QuotaUse) -> dict[str, Any]:
    """Return a tenant as files describe it."""
    settings = tenant.settings
    return {
        "state": tenant.state.value,
        "max_bytes": use.quota.max_bytes,
        "max_objects": use.quota.max_objects,
        "ip_allow": list(settings.ip.allow),
        "ip_deny": list(settings.ip.deny),
        "requests": settings.rate.requests,
        "bytes_in": settings.rate.bytes_in,
        "bytes_out": settings.rate.bytes_out,
        "inline": settings.inline,
        "categories": list(settings.categories),
        "subfolders": list(settings.subfolders),
    }


def bucket_members(bucket: Bucket) -> dict[str, Any]:
    """Return a bucket as files describe it."""
    return {
        "versioning": bucket.versioning,
        **settings_members(bucket.settings),
        "inline": bucket.settings.inline,
    }


def store_members(context: Context, held: Connection) -> dict[str, Any]:
    """Return a store as files describe it, its settings one by one, defaults filled in, secrets as what stands for them."""
    drivers = context.stores.drivers
    known = {field.name: field for field in drivers.fields(held.driver)} if drivers else {}
    values = values_of(context, held)
    settings = {name: values.get(name, field.default) for name, field in known.items()} | values
    secret = {name for name, field in known.items() if field.secret}
    return {
        "driver": held.driver,
        "layout": held.layout.value,
        "state": held.state.value,
        "labels": sorted(held.labels),
        "region": held.region,
        "price": held.price,
        "attempts": held.attempts,
        "max_in_flight": held.max_in_flight,
        "encrypt": held.encrypt,
        "cache": held.cache,
        "cache_bytes": held.cache_bytes,
        "describe": held.describe,
        "active": held.serves,
        **{f"settings.{name}": guarded(context, value, name in secret) for name, value in settings.items()},
    }


def values_of(context: Context, held: Connection) -> dict[str, Any]:
    """Return the settings of a store with the secret ones; without these where they cannot be opened any more."""
    try:
        return context.stores.values_of(held)
    except ConfigError:
        return dict(held.settings)


def guarded(context: Context, value: Any, secret: bool) -> Any:
    """Return `value`, or what stands for it where it is secret: nobody without the service's own secret can guess it."""
    if not secret or value in (None, ""):
        return value
    told = json.dumps(value, sort_keys=True, default=str).encode()
    return Secret(hmac.digest(context.secret.derive(_LABEL), told, "sha256").hex()[:32])


def things_of(wanted: Wanted, context: Context) -> Things:
    """Return what is wanted, with the settings of stores one by one and their secrets guarded.

    Raises:
        InvalidRequestError: a store has no such driver, or its driver no such setting.
    """
    found: dict[tuple[Kind, str], Mapping[str, Any]] = {}
    for (kind, name), members in wanted.things.items():
        if kind is Kind.STORE:
            members = _store(context, name, members)
        elif kind is Kind.RULE:
            members = _flat(members)
        found[kind, name] = members
    return found


def _flat(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a rule, what it matches one by one."""
    match = {f"match.{name}": value for name, value in rule["match"].items()}
    return {**match, **{name: value for name, value in rule.items() if name != "match"}}


def _store(context: Context, name: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
    known = {field.name: field for field in _fields(context, name, members["driver"])}
    settings: Mapping[str, Any] = members["settings"]
    if unknown := sorted(settings.keys() - known.keys()):
        raise InvalidRequestError(
            f"apply.stores.{name}.{unknown[0]:.80} is unknown: the driver {members['driver']} has"
            f" {', '.join(sorted(known))}"
        )
    plain = {member: value for member, value in members.items() if member != "settings"}
    if "labels" in plain:
        plain["labels"] = sorted(plain["labels"])
    own = {f"settings.{one}": guarded(context, settings[one], known[one].secret) for one in settings}
    return plain | own


def _fields(context: Context, name: str, driver: str) -> Sequence[DriverField]:
    if context.stores.drivers is None:
        raise InvalidRequestError("this engine was opened without drivers, so stores cannot be described")
    try:
        return context.stores.drivers.fields(driver)
    except ConfigError as error:
        raise InvalidRequestError(f"apply.stores.{name}: {error.message}") from error
