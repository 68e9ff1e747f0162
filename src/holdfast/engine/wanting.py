"""What a file wants of the catalog, in the form in which it can be compared with what the catalog holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.config.declared import Declared
from holdfast.config.settings import DECLARED
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.policy import lifecycle_form
from holdfast.policy.differences import Kind, Wanted
from holdfast.policy.rule_form import rule_members, rule_of


def wanted_of(declared: Declared, home: str) -> Wanted:
    """Return all that is described; buckets without a tenant are of `home`.

    Raises:
        ConfigError: two things have one name, or a rule is none, of placement or of a bucket.
    """
    things: dict[tuple[Kind, str], Mapping[str, Any]] = {}
    for name, tenant in declared.tenants.items():
        things[Kind.TENANT, name] = tenant.members
    for label, bucket in declared.buckets.items():
        full = f"{bucket.tenant or home}/{bucket.name or label}"
        if (Kind.BUCKET, full) in things:
            raise ConfigError(f"{DECLARED}.buckets.{label}: the bucket {full} is described twice")
        things[Kind.BUCKET, full] = _bucket(label, bucket.members)
    for name, store in declared.stores.items():
        things[Kind.STORE, name] = {**store.members, "settings": store.settings}
    for said in declared.rules:
        rule = _rule(said)
        name = str(rule.pop("name"))
        if (Kind.RULE, name) in things:
            raise ConfigError(
                f"{DECLARED}.rules: there are two rules called {name!r}; give each its own name"
            )
        things[Kind.RULE, name] = rule
    return Wanted(things, frozenset(kind for kind in Kind if f"{kind.value}s" in declared.model_fields_set))


def _bucket(label: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a bucket with its rules in their usual form, so that they can be compared."""
    members = dict(said)
    try:
        if "lifecycle" in members:
            rules = lifecycle_form.rules_of(members["lifecycle"])
            members["lifecycle"] = [lifecycle_form.rule_members(rule) for rule in rules]
        if "default_lock" in members:
            wish = members["default_lock"]
            lock = lifecycle_form.lock_of(None if wish == "none" else wish)
            members["default_lock"] = lifecycle_form.lock_members(lock)
    except InvalidRequestError as error:
        raise ConfigError(f"{DECLARED}.buckets.{label}: {error.message}") from None
    return members


def _rule(said: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return rule_members(rule_of(said))
    except InvalidRequestError as error:
        raise ConfigError(f"{DECLARED}.rules: {error.message}") from None
