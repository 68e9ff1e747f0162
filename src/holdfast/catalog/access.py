"""Transactions of API keys and the audit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update

from holdfast.catalog.rows import mapping_of
from holdfast.catalog.schema import api_keys, audit
from holdfast.catalog.statements import Row, Statement, catalog_now, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from holdfast.core.types import ApiKey, AuditEntry

_KEY = tuple(
    api_keys.c[name] for name in ("id", "tenant", "name", "role", "secret_sha256", "created", "revoked")
)
KEY_ADD = insert_into(api_keys, *[column.name for column in _KEY])
KEY = Statement(select(*_KEY).where(api_keys.c.id == text_param("of_key")))
KEYS = Statement(select(*_KEY).order_by(api_keys.c.tenant, api_keys.c.id))
KEYS_OF_TENANT = Statement(
    select(*_KEY).where(api_keys.c.tenant == text_param("tenant")).order_by(api_keys.c.id)
)
KEY_REVOKE = Statement(
    update(api_keys)
    .where(api_keys.c.id == text_param("of_key"))
    .values(revoked=func.coalesce(api_keys.c.revoked, catalog_now()))
    .returning(api_keys.c.id)
)

AUDIT_PAGE = Statement(
    select(
        *[
            audit.c[name]
            for name in (
                "at",
                "tenant",
                "principal",
                "action",
                "bucket",
                "key",
                "version_id",
                "request_id",
                "detail",
                "id",
            )
        ]
    )
    .where(audit.c.tenant == text_param("tenant"), audit.c.id > int_param("after"))
    .order_by(audit.c.id)
    .limit(int_param("rows"))
)


def _key_of(row: Row) -> ApiKey:
    id_, tenant, name, role, secret, created, revoked = row
    return ApiKey(id_, tenant, name, role, bytes(secret), created, revoked)


def create_key(key: ApiKey) -> Transaction[None]:
    """A new key."""

    def steps(attempt: Attempt) -> Steps[None]:
        before = yield KEY(of_key=key.id)
        if before and not (attempt.again and _key_of(before[0]) == key):
            raise AlreadyExistsError("there is a key with that id", name=key.id)
        if not before:
            yield KEY_ADD(
                id=key.id,
                tenant=key.tenant,
                name=key.name,
                role=key.role,
                secret_sha256=key.secret_sha256,
                created=key.created,
                revoked=key.revoked,
            )

    return steps


def api_key(key_id: str) -> Transaction[ApiKey | None]:
    """One key, or None."""

    def steps(attempt: Attempt) -> Steps[ApiKey | None]:
        rows = yield KEY(of_key=key_id)
        return _key_of(rows[0]) if rows else None

    return steps


def all_keys(tenant: str | None) -> Transaction[Sequence[ApiKey]]:
    """Keys of a tenant, or of all."""

    def steps(attempt: Attempt) -> Steps[Sequence[ApiKey]]:
        rows = yield (KEYS() if tenant is None else KEYS_OF_TENANT(tenant=tenant))
        return [_key_of(row) for row in rows]

    return steps


def revoke_key(key_id: str, now: int | None) -> Transaction[None]:
    """A key that holds no longer; the time of the first revocation stays."""

    def steps(attempt: Attempt) -> Steps[None]:
        if not (yield KEY_REVOKE(of_key=key_id, now=now)):
            raise NotFoundError("there is no such key", name=key_id)

    return steps


def _entry_of(row: Row) -> AuditEntry:
    at, tenant, principal, action, bucket, key, version_id, request_id, detail, number = row
    return AuditEntry(
        at, tenant, principal, action, bucket, key, version_id, request_id, mapping_of(detail), number
    )


def audit_page(tenant: str, after: int, limit: int) -> Transaction[Sequence[AuditEntry]]:
    """Lines of the audit with a number greater than `after`."""

    def steps(attempt: Attempt) -> Steps[Sequence[AuditEntry]]:
        rows = yield AUDIT_PAGE(tenant=tenant, after=after, rows=limit)
        return [_entry_of(row) for row in rows]

    return steps
