"""Transactions of tenants themselves: who they are, whether they are served, what holds for all that is theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Table, select, tuple_, update

from holdfast.catalog import locking
from holdfast.catalog.auditing import SYSTEM
from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.keys import destroyed
from holdfast.catalog.schema import (
    api_keys,
    artifacts,
    batch_items,
    batches,
    blob_keys,
    buckets,
    executions,
    idempotency,
    job_failures,
    job_parts,
    jobs,
    quotas,
    revoked_tokens,
    schedules,
    secrets,
    tenants,
)
from holdfast.catalog.settings import settings_text, tenant_settings
from holdfast.catalog.statements import (
    Call,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.types import Tenant, TenantSettings, TenantState

_TENANT = tuple(
    tenants.c[name] for name in ("name", "created", "state", "settings", "signing_generation", "delete_after")
)
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
        delete_after=int_param("new_delete_after"),
    )
)
ANY_BUCKET = Statement(
    select(buckets.c.id).where(buckets.c.tenant == text_param("tenant")).limit(constant(1))
)
QUOTAS_REMOVE = Statement(quotas.delete().where(quotas.c.tenant == text_param("tenant")))


def _some_of(table: Table, *key: str) -> Statement:
    """Return the removal of up to `rows` rows of a tenant."""
    some = (
        select(*[table.c[name] for name in key])
        .where(table.c.tenant == text_param("tenant"))
        .order_by(*[table.c[name] for name in key])
        .limit(int_param("rows"))
    )
    columns = tuple_(*[table.c[name] for name in key]) if len(key) > 1 else table.c[key[0]]
    return Statement(
        table.delete()
        .where(table.c.tenant == text_param("tenant"), columns.in_(some))
        .returning(table.c[key[0]])
    )


def _some_of_jobs(table: Table) -> Statement:
    """Return the removal of up to `rows` rows of the jobs of a tenant."""
    some = (
        select(table.c.job_id, table.c.number)
        .join_from(jobs, table, table.c.job_id == jobs.c.id)
        .where(jobs.c.tenant == text_param("tenant"))
        .limit(int_param("rows"))
    )
    here = tuple_(table.c.job_id, table.c.number)
    return Statement(table.delete().where(here.in_(some)).returning(table.c.job_id))


def _some_jobs() -> Statement:
    """Return the removal of up to `rows` jobs of a tenant that have no rows of their own any more."""
    some = (
        select(jobs.c.id)
        .where(
            jobs.c.tenant == text_param("tenant"),
            ~select(job_parts.c.number).where(job_parts.c.job_id == jobs.c.id).exists(),
            ~select(job_failures.c.number).where(job_failures.c.job_id == jobs.c.id).exists(),
        )
        .limit(int_param("rows"))
    )
    return Statement(jobs.delete().where(jobs.c.id.in_(some)).returning(jobs.c.id))


CLEAR = (
    _some_of(schedules, "name"),
    _some_of_jobs(job_parts),
    _some_of_jobs(job_failures),
    _some_jobs(),
    _some_of(api_keys, "id"),
    _some_of(revoked_tokens, "id"),
    _some_of(artifacts, "execution_id", "id"),
    _some_of(executions, "id"),
    _some_of(batches, "id"),
    _some_of(batch_items, "job_id", "number"),
    _some_of(idempotency, "key"),
    _some_of(blob_keys, "store", "blob"),
)
#: The name of a tenant that was removed stays its own, since its audit is kept under it.
GONE = Statement(select(secrets.c.name).where(secrets.c.name == text_param("of_name")))
GONE_ADD = insert_into(secrets, "name", "value", "created", unless_there=True)
REMOVE = Statement(tenants.delete().where(tenants.c.name == text_param("tenant")).returning(tenants.c.name))
_GONE = "tenant-removed:"  #: and its name

#: Says how settings change; given what they are, inside the transaction.
Change = Callable[[TenantSettings], TenantSettings]


def _tenant_of(row: Row) -> Tenant:
    name, created, state, settings, generation, delete_after = row
    return Tenant(name, created, TenantState(state), tenant_settings(settings), generation, delete_after)


def _read(name: str) -> Steps[Tenant]:
    rows = yield ONE(tenant=name)
    if not rows:
        raise NotFoundError("there is no such tenant", name=name)
    return _tenant_of(rows[0])


def was_removed(name: str) -> Transaction[bool]:
    """Whether there was a tenant of that name, whose name is not given again."""

    def steps(_: Attempt) -> Steps[bool]:
        return bool((yield GONE(of_name=_GONE + name)))

    return steps


def create_tenant(
    name: str, created: int, *, settings: TenantSettings = TenantSettings(), actor: Actor = Actor()
) -> Transaction[Tenant]:
    """A new tenant."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        before = yield ONE(tenant=name)
        if before and not (attempt.again and before[0][1] == created):
            raise AlreadyExistsError("there is a tenant of that name", name=name)
        if not before and (yield GONE(of_name=_GONE + name)):
            raise AlreadyExistsError(
                "a tenant of that name was removed, and its audit is kept under it; choose another name",
                name=name,
            )
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
        if state is not None and held.state is TenantState.DELETING:
            raise ConflictError("the tenant is being deleted; restore it first", name=name)
        settings = held.settings if change is None else change(held.settings)
        made = replace(held, state=state or held.state, settings=settings)
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
        made = replace(held, signing_generation=held.signing_generation + 1)
        yield _written(made)
        detail = {"generation": str(made.signing_generation)}
        yield audited((yield NOW(now=now))[0][0], name, "rotate-signing", actor, detail=detail)
        return made

    return steps


def delete_tenant(name: str, grace: int, *, actor: Actor, now: int | None) -> Transaction[Tenant]:
    """A tenant that is refused everything, and removed `grace` microseconds from now; asked again, from then."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        held = yield from _read(name)
        at = (yield NOW(now=now))[0][0]
        if held.delete_after is not None and held.delete_after <= at:
            raise _too_late(name)
        if attempt.again and "due" in attempt.seen and held.delete_after == attempt.seen["due"]:
            return held
        due = attempt.seen["due"] = at + grace
        if why := (yield from locking.kept(name, "", due)(attempt)):
            raise ConflictError(f"{why}; a tenant is not deleted before", name=name)
        settings = held.settings
        if held.state is not TenantState.DELETING:
            settings = replace(settings, suspended=held.state is TenantState.SUSPENDED)
        made = replace(held, state=TenantState.DELETING, settings=settings, delete_after=due)
        yield _written(made)
        yield audited(at, name, "delete-tenant", actor, detail={"delete_after": str(due)})
        yield audited(at, SYSTEM, "delete-tenant", actor, detail={"tenant": name, "delete_after": str(due)})
        return made

    return steps


def restore_tenant(name: str, *, actor: Actor, now: int | None) -> Transaction[Tenant]:
    """A tenant that was to be deleted as it was before: served, or suspended. Until its time is over."""

    def steps(attempt: Attempt) -> Steps[Tenant]:
        held = yield from _read(name)
        if held.state is not TenantState.DELETING:
            return held
        at = (yield NOW(now=now))[0][0]
        if held.delete_after is None or held.delete_after <= at:
            raise _too_late(name)
        state = TenantState.SUSPENDED if held.settings.suspended else TenantState.ACTIVE
        made = replace(held, state=state, settings=replace(held.settings, suspended=False), delete_after=None)
        yield _written(made)
        yield audited(at, name, "restore-tenant", actor, detail={"state": state.value})
        yield audited(at, SYSTEM, "restore-tenant", actor, detail={"tenant": name})
        return made

    return steps


def remove_tenant(name: str, *, actor: Actor, now: int | None) -> Transaction[bool]:
    """The row of a tenant that is due and has nothing left, removed; False when it has buckets again, or is not due."""

    def steps(attempt: Attempt) -> Steps[bool]:
        rows = yield ONE(tenant=name)
        at = (yield NOW(now=now))[0][0]
        if not rows:
            return True
        held = _tenant_of(rows[0])
        if held.state is not TenantState.DELETING or held.delete_after is None or held.delete_after > at:
            return False
        if (yield ANY_BUCKET(tenant=name)):
            return False
        if not (yield from _cleared(name, 1)):
            return False
        yield QUOTAS_REMOVE(tenant=name)
        yield from destroyed(name)
        yield GONE_ADD(name=_GONE + name, value=b"", created=at)
        yield REMOVE(tenant=name)
        yield audited(at, name, "remove-tenant", actor)
        yield audited(at, SYSTEM, "remove-tenant", actor, detail={"tenant": name})
        return True

    return steps


def clear(name: str, limit: int) -> Transaction[bool]:
    """A page of what a tenant has beside buckets, removed: keys, tokens, runs, jobs, remembered requests; whether all is gone."""

    def steps(attempt: Attempt) -> Steps[bool]:
        return (yield from _cleared(name, limit))

    return steps


def _cleared(name: str, limit: int) -> Steps[bool]:
    left = 0
    for statement in CLEAR:
        left += len((yield statement(tenant=name, rows=limit)))
    return not left


def _too_late(name: str) -> ConflictError:
    return ConflictError("the tenant's time is over and it is being removed", name=name)


def _written(tenant: Tenant) -> Call:
    return CHANGE(
        tenant=tenant.name,
        new_state=tenant.state.value,
        new_settings=settings_text(tenant.settings),
        new_generation=tenant.signing_generation,
        new_delete_after=tenant.delete_after,
    )
