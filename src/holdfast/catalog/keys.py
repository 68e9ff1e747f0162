"""Transactions of the keys of tenants and of encrypted blobs.

Whoever wraps the key of a blob shares the lock of its tenant's keys, whoever changes these holds it alone. So no key of a
blob comes to be wrapped by a generation that was retired or destroyed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import LargeBinary, and_, bindparam, func, or_, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from holdfast.catalog import generations, locking
from holdfast.catalog.auditing import SYSTEM
from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import blob_keys as blobs
from holdfast.catalog.schema import tenant_keys as tenants
from holdfast.catalog.statements import (
    Call,
    Many,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Lock, Steps, Transaction, bucket_lock
from holdfast.core.errors import ConflictError
from holdfast.core.keyring import LostKeyError
from holdfast.core.records import KeptKey, TenantKey, TenantKeyState

GENERATION: Final = "keys"  #: counts the changes of tenants' keys
_TENANT: Final = ("tenant", "generation", "root_key_id", "wrapped", "state", "created")
_BLOB: Final = ("store", "blob", "tenant", "generation", "format", "wrapped")


def _bytes_param(name: str) -> ColumnElement[bytes]:
    return bindparam(name, type_=LargeBinary())


_TENANT_COLUMNS = [tenants.c[name] for name in _TENANT]
_BLOB_COLUMNS = [blobs.c[name] for name in _BLOB]
_DESTROYED: Final = constant(TenantKeyState.DESTROYED.value)
_ACTIVE: Final = constant(TenantKeyState.ACTIVE.value)
_OF_TENANT = tenants.c.tenant == text_param("of_tenant")
_ONE_TENANT = and_(_OF_TENANT, tenants.c.generation == int_param("of_generation"))
_ONE_BLOB = and_(blobs.c.store == text_param("of_store"), blobs.c.blob == text_param("of_blob"))

TENANTS_ALL = Statement(select(*_TENANT_COLUMNS).order_by(tenants.c.tenant, tenants.c.generation))
TENANT_ALL = Statement(select(*_TENANT_COLUMNS).where(_OF_TENANT).order_by(tenants.c.generation))
TENANT_ADD = insert_into(tenants, *_TENANT)
TENANT_ADD_UNLESS = insert_into(tenants, *_TENANT, unless_there=True)
TENANT_RETIRE = Statement(
    update(tenants)
    .where(_OF_TENANT, tenants.c.state == _ACTIVE)
    .values(state=constant(TenantKeyState.RETIRED.value))
)
TENANT_REWRAP = Statement(
    update(tenants)
    .where(_ONE_TENANT)
    .values(root_key_id=text_param("new_root"), wrapped=_bytes_param("new_wrapped"))
)
TENANT_DESTROY = Statement(
    update(tenants)
    .where(_ONE_TENANT)
    .values(root_key_id=constant(""), wrapped=_bytes_param("nothing"), state=_DESTROYED)
)
#: the newest generation that keys of a tenant's blobs name
NAMED = Statement(select(func.max(blobs.c.generation)).where(blobs.c.tenant == text_param("of_tenant")))
USABLE = Statement(select(tenants.c.generation).where(_ONE_TENANT, tenants.c.state == _ACTIVE))

BLOB_PUT = upsert_into(blobs, *_BLOB, unique=("store", "blob"))
BLOB_ONE = Statement(select(*_BLOB_COLUMNS).where(_ONE_BLOB))
BLOB_DROP = Statement(blobs.delete().where(_ONE_BLOB))
BLOB_REWRAP = Statement(
    update(blobs)
    .where(
        _ONE_BLOB, blobs.c.generation == int_param("of_generation"), blobs.c.wrapped == _bytes_param("old")
    )
    .values(generation=int_param("new_generation"), wrapped=_bytes_param("new_wrapped"))
)
BLOB_PAGE = Statement(
    select(*_BLOB_COLUMNS)
    .where(
        blobs.c.tenant == text_param("of_tenant"),
        blobs.c.generation < int_param("below"),
        or_(
            blobs.c.store > text_param("after_store"),
            and_(blobs.c.store == text_param("after_store"), blobs.c.blob > text_param("after_blob")),
        ),
    )
    .order_by(blobs.c.store, blobs.c.blob)
    .limit(int_param("rows"))
)
_SOME = select(blobs.c.store, blobs.c.blob).where(blobs.c.tenant == text_param("of_tenant"))
BLOBS_DROP = Statement(
    blobs.delete()
    .where(tuple_(blobs.c.store, blobs.c.blob).in_(_SOME.limit(int_param("rows"))))
    .returning(blobs.c.blob)
)
COUNT = Statement(
    select(blobs.c.tenant, blobs.c.generation, func.count()).group_by(blobs.c.tenant, blobs.c.generation)
)


def lock_of(tenant: str, *, shared: bool = True) -> Lock:
    """Return the lock of a tenant's keys."""
    return bucket_lock(tenant, "\x1fkeys", shared=shared)


def tenant_keys(tenant: str | None) -> Transaction[Sequence[TenantKey]]:
    """Generations of a tenant's key, or of all."""

    def steps(attempt: Attempt) -> Steps[Sequence[TenantKey]]:
        rows = yield (TENANTS_ALL() if tenant is None else TENANT_ALL(of_tenant=tenant))
        return [_tenant_key(row) for row in rows]

    return steps


def add_tenant_key(key: TenantKey, *, actor: Actor, now: int | None) -> Transaction[TenantKey]:
    """The next generation of a tenant's key, active; the one before only opens then."""

    def steps(attempt: Attempt) -> Steps[TenantKey]:
        held = [_tenant_key(row) for row in (yield TENANT_ALL(of_tenant=key.tenant))]
        active = next((one for one in held if one.state is TenantKeyState.ACTIVE), None)
        if active is not None and active.generation >= key.generation:
            return active
        made = replace(key, generation=max((one.generation for one in held), default=0) + 1)
        if made.generation != key.generation:  # it is wrapped for another number
            return replace(key, state=TenantKeyState.DESTROYED)
        if (
            (yield NAMED(of_tenant=key.tenant))[0][0] or 0
        ) >= made.generation:  # that number is another key's
            raise LostKeyError(
                f"keys of blobs of tenant {key.tenant} are wrapped by a key of the tenant that is not in the catalog;"
                " bring it back before a new one is made: holdfast encryption restore",
                name=key.tenant,
            )
        at = (yield NOW(now=now))[0][0]
        made = replace(made, created=at, state=TenantKeyState.ACTIVE)
        yield TENANT_RETIRE(of_tenant=key.tenant)
        yield _added(TENANT_ADD, made)
        yield generations.bumped(GENERATION)
        detail = {"generation": str(made.generation), "root_key": made.root_key_id}
        yield audited(at, key.tenant, "make-tenant-key", actor, detail=detail)
        return made

    return steps


def restore_tenant_keys(keys: Sequence[TenantKey], *, actor: Actor, now: int | None) -> Transaction[int]:
    """Generations added as they were kept elsewhere; none when the number of one has come to be another's."""

    def steps(attempt: Attempt) -> Steps[int]:
        count = there = 0
        for key in keys:
            held = [_tenant_key(row) for row in (yield TENANT_ALL(of_tenant=key.tenant))]
            taken = next((one for one in held if one.generation == key.generation), None)
            if taken is not None and taken.wrapped != key.wrapped:
                raise ConflictError("keys of tenants were changed meanwhile; ask again", name=key.tenant)
            if taken is not None:
                there += 1
                continue
            active = key.state is TenantKeyState.ACTIVE
            if active and any(one.state is TenantKeyState.ACTIVE for one in held):
                key = replace(key, state=TenantKeyState.RETIRED)
            yield _added(TENANT_ADD_UNLESS, key)
            count += 1
        if count:
            yield generations.bumped(GENERATION)
            at = (yield NOW(now=now))[0][0]
            yield audited(at, SYSTEM, "restore-tenant-keys", actor, detail={"count": str(count)})
        return count + (there if attempt.again else 0)

    return steps


def rewrap_tenant_key(old: TenantKey, new: TenantKey, *, actor: Actor, now: int | None) -> Transaction[bool]:
    """A key of a tenant wrapped by another root key."""

    def steps(attempt: Attempt) -> Steps[bool]:
        held = [_tenant_key(row) for row in (yield TENANT_ALL(of_tenant=old.tenant))]
        found = next((one for one in held if one.generation == old.generation), None)
        if found is None or found.state is TenantKeyState.DESTROYED or found.wrapped != old.wrapped:
            return attempt.again and found is not None and found.wrapped == new.wrapped
        yield TENANT_REWRAP(
            of_tenant=old.tenant,
            of_generation=old.generation,
            new_root=new.root_key_id,
            new_wrapped=new.wrapped,
        )
        at = (yield NOW(now=now))[0][0]
        detail = {"generation": str(old.generation), "from": old.root_key_id, "root_key": new.root_key_id}
        yield audited(at, old.tenant, "rewrap-tenant-key", actor, detail=detail)
        yield audited(at, SYSTEM, "rewrap-tenant-key", actor, detail={"tenant": old.tenant, **detail})
        return True

    return steps


def destroy_tenant_keys(
    tenant: str, wanted: Sequence[int] | None, *, actor: Actor, now: int | None
) -> Transaction[int]:
    """Generations overwritten with nothing."""

    def steps(attempt: Attempt) -> Steps[int]:
        if wanted is None:  # what nobody may remove, nobody may make unreadable either
            at = (yield NOW(now=now))[0][0]
            if why := (yield from locking.kept(tenant, "", at)(attempt)):
                raise ConflictError(f"{why}; the tenant's keys are not destroyed before", name=tenant)
        going = yield from destroyed(tenant, wanted)
        if going:
            at = (yield NOW(now=now))[0][0]
            numbers = ",".join(str(number) for number in going)
            yield audited(at, tenant, "destroy-tenant-keys", actor, detail={"generations": numbers})
            told = {"tenant": tenant, "generations": numbers}
            yield audited(at, SYSTEM, "destroy-tenant-keys", actor, detail=told)
        return len(going)

    return steps


def destroyed(tenant: str, wanted: Sequence[int] | None = None) -> Steps[list[int]]:
    """Overwrite generations, inside another transaction, and return their numbers."""
    held = [_tenant_key(row) for row in (yield TENANT_ALL(of_tenant=tenant))]
    going = [
        one.generation
        for one in held
        if one.state is not TenantKeyState.DESTROYED and (wanted is None or one.generation in wanted)
    ]
    for number in going:
        yield TENANT_DESTROY(of_tenant=tenant, of_generation=number, nothing=b"")
    if going:
        yield generations.bumped(GENERATION)
    return going


def add_blob_key(key: KeptKey) -> Transaction[bool]:
    """The key of a blob kept, if its generation is active. For whoever shares `lock_of`."""

    def steps(attempt: Attempt) -> Steps[bool]:
        if not (yield USABLE(of_tenant=key.tenant, of_generation=key.generation)):
            return False
        yield BLOB_PUT(
            store=key.store,
            blob=key.blob,
            tenant=key.tenant,
            generation=key.generation,
            format=key.format,
            wrapped=key.wrapped,
        )
        return True

    return steps


def blob_key(store: str, blob: str) -> Transaction[KeptKey | None]:
    """The key of a blob."""

    def steps(attempt: Attempt) -> Steps[KeptKey | None]:
        rows = yield BLOB_ONE(of_store=store, of_blob=blob)
        return _kept(rows[0]) if rows else None

    return steps


def drop_blob_key(store: str, blob: str) -> Transaction[None]:
    """The key of a blob, no longer kept."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield BLOB_DROP(of_store=store, of_blob=blob)

    return steps


def drop_blob_keys(tenant: str, limit: int) -> Transaction[bool]:
    """A page of the keys of a tenant's blobs, no longer kept; whether none was left."""

    def steps(attempt: Attempt) -> Steps[bool]:
        return not (yield BLOBS_DROP(of_tenant=tenant, rows=limit))

    return steps


def blob_keys(tenant: str, below: int, after: tuple[str, str], limit: int) -> Transaction[Sequence[KeptKey]]:
    """A page of keys wrapped by older generations."""

    def steps(attempt: Attempt) -> Steps[Sequence[KeptKey]]:
        rows = yield BLOB_PAGE(
            of_tenant=tenant, below=below, after_store=after[0], after_blob=after[1], rows=limit
        )
        return [_kept(row) for row in rows]

    return steps


def rewrap_blob_keys(changes: Sequence[tuple[KeptKey, KeptKey]]) -> Transaction[bool]:
    """Keys of one tenant's blobs wrapped by its active generation. For whoever shares `lock_of`."""

    def steps(attempt: Attempt) -> Steps[bool]:
        first = changes[0][1]
        if not (yield USABLE(of_tenant=first.tenant, of_generation=first.generation)):
            return False
        yield Many(
            BLOB_REWRAP,
            [
                {
                    "of_store": old.store,
                    "of_blob": old.blob,
                    "of_generation": old.generation,
                    "old": old.wrapped,
                    "new_generation": new.generation,
                    "new_wrapped": new.wrapped,
                }
                for old, new in changes
            ],
        )
        return True

    return steps


def count_blob_keys() -> Transaction[Mapping[tuple[str, int], int]]:
    """How many keys of blobs each generation wraps."""

    def steps(attempt: Attempt) -> Steps[Mapping[tuple[str, int], int]]:
        return {(tenant, generation): count for tenant, generation, count in (yield COUNT())}

    return steps


def _added(statement: Statement, key: TenantKey) -> Call:
    return statement(
        tenant=key.tenant,
        generation=key.generation,
        root_key_id=key.root_key_id,
        wrapped=key.wrapped,
        state=key.state.value,
        created=key.created,
    )


def _tenant_key(row: Row) -> TenantKey:
    tenant, generation, root, wrapped, state, created = row
    return TenantKey(tenant, generation, root, bytes(wrapped), created, TenantKeyState(state))


def _kept(row: Row) -> KeptKey:
    store, blob, tenant, generation, form, wrapped = row
    return KeptKey(store, blob, tenant, generation, form, bytes(wrapped))
