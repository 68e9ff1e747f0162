"""Transactions of API keys and revoked tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select, update

from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.rows import text_of
from holdfast.catalog.schema import api_keys, audit, revoked_tokens
from holdfast.catalog.settings import key_settings, settings_text
from holdfast.catalog.statements import Row, Statement, catalog_now, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from holdfast.core.types import ApiKey

_KEY = tuple(
    api_keys.c[name]
    for name in (
        *("id", "tenant", "name", "role", "secret_sha256", "created", "revoked"),
        *("expires", "settings"),
    )
)
KEY_ADD = insert_into(api_keys, *[column.name for column in _KEY])
KEY = Statement(select(*_KEY).where(api_keys.c.id == text_param("of_key")))
KEYS = Statement(select(*_KEY).order_by(api_keys.c.tenant, api_keys.c.id))
KEYS_OF_TENANT = Statement(
    select(*_KEY).where(api_keys.c.tenant == text_param("tenant")).order_by(api_keys.c.id)
)
KEY_REVOKE = Statement(
    update(api_keys).where(api_keys.c.id == text_param("of_key")).values(revoked=int_param("at"))
)

TOKEN_REVOKE = insert_into(revoked_tokens, "id", "tenant", "expires", unless_there=True)
TOKEN = Statement(select(revoked_tokens.c.id).where(revoked_tokens.c.id == text_param("of_token")))
NOTED = Statement(
    select(audit.c.id).where(
        audit.c.tenant == text_param("tenant"),
        audit.c.at == int_param("noted"),
        audit.c.action == text_param("of_action"),
        audit.c.detail == text_param("of_detail"),
    )
)
TOKENS_FORGET = Statement(revoked_tokens.delete().where(revoked_tokens.c.expires < catalog_now()))


def _key_of(row: Row) -> ApiKey:
    id_, tenant, name, role, secret, created, revoked, expires, settings = row
    return ApiKey(id_, tenant, name, role, bytes(secret), created, revoked, expires, key_settings(settings))


def create_key(key: ApiKey, *, actor: Actor) -> Transaction[None]:
    """A new key."""

    def steps(attempt: Attempt) -> Steps[None]:
        before = yield KEY(of_key=key.id)
        if before and not (attempt.again and _key_of(before[0]) == key):
            raise AlreadyExistsError("there is a key with that id", name=key.id)
        if before:
            return
        settings = settings_text(key.settings)
        yield KEY_ADD(
            id=key.id,
            tenant=key.tenant,
            name=key.name,
            role=key.role,
            secret_sha256=key.secret_sha256,
            created=key.created,
            revoked=key.revoked,
            expires=key.expires,
            settings=settings,
        )
        detail = {"id": key.id, "name": key.name, "role": key.role, "settings": settings}
        yield audited(key.created, key.tenant, "create-key", actor, detail=detail)

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


def revoke_key(key_id: str, tenant: str | None, *, actor: Actor, now: int | None) -> Transaction[ApiKey]:
    """A key, of `tenant` if that is given, that holds no longer; the time of the first revocation stays."""

    def steps(attempt: Attempt) -> Steps[ApiKey]:
        rows = yield KEY(of_key=key_id)
        if not rows or tenant not in (None, rows[0][1]):
            raise NotFoundError("there is no such key", name=key_id)
        key = _key_of(rows[0])
        if key.revoked is not None:
            return key
        at = (yield NOW(now=now))[0][0]
        yield KEY_REVOKE(of_key=key_id, at=at)
        yield audited(at, key.tenant, "revoke-key", actor, detail={"id": key.id, "name": key.name})
        return replace(key, revoked=at)

    return steps


def revoke_token(
    token_id: str, tenant: str, expires: int, *, actor: Actor, now: int | None, action: str = "revoke-token"
) -> Transaction[None]:
    """A signed token that holds no longer, remembered until it would have expired anyway; audited as `action`."""

    def steps(attempt: Attempt) -> Steps[None]:
        if (yield TOKEN(of_token=token_id)):
            return
        yield TOKEN_REVOKE(id=token_id, tenant=tenant, expires=expires)
        at = (yield NOW(now=now))[0][0]
        yield audited(at, tenant, action, actor, detail={"id": token_id})

    return steps


def note(
    tenant: str, action: str, detail: Mapping[str, str], *, actor: Actor, now: int | None
) -> Transaction[None]:
    """A line of the audit for what changed nothing in the catalog; `detail` tells it from all others."""

    def steps(attempt: Attempt) -> Steps[None]:
        if "at" in attempt.seen and (
            yield NOTED(tenant=tenant, noted=attempt.seen["at"], of_action=action, of_detail=text_of(detail))
        ):
            return
        at = attempt.seen["at"] = (yield NOW(now=now))[0][0]
        yield audited(at, tenant, action, actor, detail=detail)

    return steps


def token_revoked(token_id: str) -> Transaction[bool]:
    """Whether that token was revoked."""

    def steps(attempt: Attempt) -> Steps[bool]:
        return bool((yield TOKEN(of_token=token_id)))

    return steps


def forget_tokens(now: int | None) -> Transaction[None]:
    """Revocations dropped of tokens that have expired since."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield TOKENS_FORGET(now=now)

    return steps
