"""Transactions of tenants themselves: who they are, whether they are served, what holds for all that is theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select, update

from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import tenants
from holdfast.catalog.settings import settings_text, tenant_settings
from holdfast.catalog.statements import Call, Row, Statement, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from holdfast.core.types import Tenant, TenantSettings, TenantState

_TENANT = tuple(tenants.c[name] for name in ("name", "created", "state", "settings", "signing_generation"))
ADD = insert_into(tenants, "name", "created", "settings", unless_there=True)
ONE = Statement(select(*_TENANT).where(tenants.c.name == text_param("tenant")))
ALL = Statement(select(*_TENANT).order_by(tenants.c.name))
CHANGE = Statement(
    update(tenants)
    .where(tenants.c.name == text_param("tenant"))
    .values(
        state=text_param("new_state"),
        settings=text_param("new_settings"),
        signing_generation=int_param("new_generation"),
    )
)

#: Says how settings change; given what they are, inside the transaction.
Change = Callable[[TenantSettings], TenantSettings]


def _tenant_of(row: Row) -> Tenant:
    name, created, state, settings, generation = row
    return Tenant(name, created, TenantState(state), tenant_settings(settings), generation)


def _read(name: str) -> Steps[Tenant]:
    rows = yield ONE(tenant=name)
    if not rows:
        raise NotFoundError("there is no such tenant", name=name)
    return _tenant_of(rows[0])


def create_tenant(
    name: str, created: int, *, settings: TenantSettings = TenantSettings(), actor: Actor = Actor()
) -> Transaction[Tenant]:
    """A new tenant."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        before = yield ONE(tenant=name)
        if before and not (attempt.again and before[0][1] == created):
            raise AlreadyExistsError("there is a tenant of that name", name=name)
        if not before:
            yield ADD(name=name, created=created, settings=settings_text(settings))
            yield audited(created, name, "create-tenant", actor)
        return Tenant(name, created, settings=settings)

    return steps


def tenant(name: str) -> Transaction[Tenant]:
    """One tenant."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        return (yield from _read(name))

    return steps


def all_tenants() -> Transaction[Sequence[Tenant]]:
    """Every tenant, by name."""

    def steps(attempt: Attempt) -> Steps[Sequence[Tenant]]:
        rows = yield ALL()
        return [_tenant_of(row) for row in rows]

    return steps


def update_tenant(
    name: str, *, state: TenantState | None, change: Change | None, actor: Actor, now: int | None
) -> Transaction[Tenant]:
    """A tenant changed; nothing is written, and nothing audited, where it is so already."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        held = yield from _read(name)
        settings = held.settings if change is None else change(held.settings)
        made = Tenant(name, held.created, state or held.state, settings, held.signing_generation)
        if made == held:
            return held
        yield _written(made)
        detail = {"state": str(made.state), "settings": settings_text(settings)}
        yield audited((yield NOW(now=now))[0][0], name, "update-tenant", actor, detail=detail)
        return made

    return steps


def rotate_signing(name: str, *, actor: Actor, now: int | None) -> Transaction[Tenant]:
    """The next signing generation: URLs signed under earlier ones hold no longer."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        held = yield from _read(name)
        if (
            attempt.again
            and attempt.seen.get("generation", held.signing_generation) < held.signing_generation
        ):
            return held
        attempt.seen["generation"] = held.signing_generation
        made = Tenant(name, held.created, held.state, held.settings, held.signing_generation + 1)
        yield _written(made)
        detail = {"generation": str(made.signing_generation)}
        yield audited((yield NOW(now=now))[0][0], name, "rotate-signing", actor, detail=detail)
        return made

    return steps


def _written(tenant: Tenant) -> Call:
    return CHANGE(
        tenant=tenant.name,
        new_state=tenant.state.value,
        new_settings=settings_text(tenant.settings),
        new_generation=tenant.signing_generation,
    )
