"""From what the catalog holds of a key and its tenant to a principal, or to the reason why there is none."""

from __future__ import annotations

from typing import Final

from holdfast.core.errors import PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import ApiKey, IpRules, Principal, Tenant, TenantState
from holdfast.policy.access import ANONYMOUS
from holdfast.policy.addresses import NO_RULES, admits

#: Seconds that an answer about a key, a token or a tenant is taken on trust. Two of them may follow each other, so
#: what is revoked or suspended is seen after twice this time at most.
TRUST: Final = 2.5


def key_principal(key: ApiKey, tenant: Tenant) -> Principal:
    """Return who acts with `key`."""
    return Principal(
        id=key.id,
        tenant=key.tenant,
        role=key.role,
        name=key.name,
        scopes=key.settings.scopes,
        ip=address_rules(tenant, key.settings.ip),
        rate=key.settings.rate,
        tenant_rate=tenant.settings.rate,
        expires=key.expires,
        credentials=(f"key:{key.id}",),
    )


def anonymous(tenant: Tenant) -> Principal:
    """Return who asks something of `tenant` without any credential."""
    return Principal(
        id=ANONYMOUS,
        tenant=tenant.name,
        role=ANONYMOUS,
        ip=address_rules(tenant, NO_RULES),
        tenant_rate=tenant.settings.rate,
    )


def address_rules(tenant: Tenant, own: IpRules) -> tuple[IpRules, ...]:
    """Return the rules that an address must pass, of the tenant and then of the credential; () when there are none."""
    rules = (tenant.settings.ip, own)
    return () if rules == (NO_RULES, NO_RULES) else rules


def check_key(key: ApiKey, now: int) -> None:
    """Return when `key` holds; raise `UnauthenticatedError` when it was revoked or has expired."""
    if key.revoked is not None:
        raise UnauthenticatedError("the token is unknown, wrong or revoked")
    if key.expires is not None and key.expires <= now:
        raise UnauthenticatedError("the token has expired")


def may_pass(principal: Principal, address: str) -> bool:
    """Return whether the address rules of the principal's tenant and credential let `address` pass."""
    return all(admits(rules, address) for rules in principal.ip)


def check_tenant(tenant: Tenant) -> None:
    """Return when `tenant` is served; raise `PermissionDeniedError` when it is suspended or being deleted."""
    if tenant.state is TenantState.DELETING:
        raise PermissionDeniedError(
            f"tenant {tenant.name} is being deleted; ask whoever operates this service"
        )
    if tenant.state is not TenantState.ACTIVE:
        raise PermissionDeniedError(f"tenant {tenant.name} is suspended; ask whoever operates this service")
