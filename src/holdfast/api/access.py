"""Tenants, keys and tokens over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import UnsetType

from holdfast.api.access_models import (
    Hierarchy,
    Keys,
    NewKey,
    NewTenant,
    NewToken,
    TenantChange,
    Tenants,
    TokenName,
    bytes_of,
    hierarchy_info,
    key_info,
    quota_of,
    rate_of,
    rules_of,
    seconds_of,
    tenant_info,
    token_info,
    who,
)
from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import KeySettings, TenantState, Threshold
from holdfast.engine.administration import GRACE
from holdfast.policy.scopes import parse_scopes

T = TypeVar("T")
R = TypeVar("R")


async def whoami(exchange: Exchange) -> None:
    """Answer with who asks, and what that credential is bound to."""
    await exchange.answer_json(200, encode(who(exchange.session.admin.whoami())))


# -- keys -------------------------------------------------------------------------------------------------------------
async def create_key(exchange: Exchange) -> None:
    """Make an API key that allows no more than the credential that asks. Its token is shown only in this answer."""
    wish = await _said(exchange, NewKey)
    settings = KeySettings(parse_scopes(wish.scopes), rules_of(wish.ip), rate_of(wish.rate))
    key, token = await exchange.session.admin.create_key(
        wish.name,
        wish.role,
        settings=settings,
        seconds=None if wish.expires_in is None else seconds_of(wish.expires_in),
        tenant=wish.tenant,
    )
    await exchange.answer_json(201, encode(key_info(key, token)))


async def list_keys(exchange: Exchange) -> None:
    """Answer with the keys of the tenant, those that were revoked too; never with a secret."""
    found = await exchange.session.admin.keys(tenant=exchange.query.get("tenant"))
    await exchange.answer_json(200, encode(Keys([key_info(key) for key in found])))


async def revoke_key(exchange: Exchange, key_id: str) -> None:
    """End a key, and with it all tokens and signed URLs that were made with it, within 5 seconds."""
    revoked = await exchange.session.admin.revoke_key(key_id, tenant=exchange.query.get("tenant"))
    await exchange.answer_json(200, encode(key_info(revoked)))


# -- tokens -----------------------------------------------------------------------------------------------------------
async def create_token(exchange: Exchange) -> None:
    """Sign a token that allows no more than the credential that asks, holds no longer, and ends with it."""
    wish = await _said(exchange, NewToken)
    minted = await exchange.session.admin.create_token(
        name=wish.name,
        role=wish.role,
        scopes=parse_scopes(wish.scopes),
        seconds=seconds_of(wish.expires_in),
    )
    await exchange.answer_json(201, encode(token_info(minted)))


async def revoke_token(exchange: Exchange) -> None:
    """End a signed token before its time, within 5 seconds: any of the tenant for admins, else only one's own."""
    wish = await _said(exchange, TokenName)
    if wish.id is None:
        await exchange.session.admin.give_back()
    else:
        issuer, colon, jti = wish.id.partition(":")
        if not colon or not issuer or not jti:
            raise InvalidRequestError(
                "the id of a token is ISSUER:JTI; its maker was told, and the audit knows"
            )
        await exchange.session.admin.revoke_token(issuer, jti, tenant=wish.tenant)
    await exchange.answer(204, ())


# -- tenants ----------------------------------------------------------------------------------------------------------
async def create_tenant(exchange: Exchange) -> None:
    """Make a tenant. It has no key yet; an operator makes the first."""
    wish = await _said(exchange, NewTenant)
    made = await exchange.session.admin.create_tenant(
        wish.name,
        quota=quota_of(wish.quota),
        ip=rules_of(wish.ip),
        rate=rate_of(wish.rate),
        inline=bytes_of(wish.inline),
    )
    await exchange.answer_json(201, encode(tenant_info(made)))


async def list_tenants(exchange: Exchange) -> None:
    """Answer with all tenants."""
    found = await exchange.session.admin.tenants()
    await exchange.answer_json(200, encode(Tenants([tenant_info(tenant) for tenant in found])))


async def show_tenant(exchange: Exchange, tenant: str) -> None:
    """Answer with one tenant, how much of its quota it uses, and what is in each of its buckets."""
    found, use = await exchange.session.admin.tenant(tenant)
    buckets = await exchange.session.admin.tenant_buckets(tenant)
    await exchange.answer_json(200, encode(tenant_info(found, use, buckets)))


async def update_tenant(exchange: Exchange, tenant: str) -> None:
    """Change limits, address rules, rate or state. A suspended tenant is refused everything within 5 seconds."""
    wish = await _said(exchange, TenantChange)
    made = await exchange.session.admin.update_tenant(
        tenant,
        quota=_given(wish.quota, quota_of),
        ip=_given(wish.ip, rules_of),
        rate=_given(wish.rate, rate_of),
        state=_given(wish.state, TenantState),
        inline=_given(wish.inline, lambda said: Threshold(bytes_of(said))),
    )
    await exchange.answer_json(200, encode(tenant_info(made)))


async def delete_tenant(exchange: Exchange, tenant: str) -> None:
    """Refuse everything to a tenant within 5 seconds, and remove it with all that it has when the grace is over; 202."""
    grace = exchange.query.get("grace")
    admin = exchange.session.admin
    made = await admin.delete_tenant(tenant, grace=GRACE if grace is None else seconds_of(grace))
    await exchange.answer_json(202, encode(tenant_info(made)))


async def restore_tenant(exchange: Exchange, tenant: str) -> None:
    """Undo the deletion of a tenant whose grace is not over: it is served, or suspended, as before."""
    await exchange.answer_json(200, encode(tenant_info(await exchange.session.admin.restore_tenant(tenant))))


async def provision(exchange: Exchange, tenant: str) -> None:
    """Make a tenant's hierarchy, as far as it is missing; any number of times. An admin may do this at home."""
    wish = decode(Hierarchy, await small_body(exchange, MAX_JSON) or b"{}")
    made = await exchange.session.admin.provision(
        wish.content_types, wish.categories, wish.subfolders, tenant=tenant
    )
    await exchange.answer_json(200, encode(hierarchy_info(made)))


async def rotate_signing(exchange: Exchange, tenant: str) -> None:
    """Make every URL worthless that was signed for the tenant so far. An admin may do this at home."""
    await exchange.answer_json(200, encode(tenant_info(await exchange.session.admin.rotate_signing(tenant))))


async def _said(exchange: Exchange, kind: type[T]) -> T:
    return decode(kind, await small_body(exchange, MAX_JSON))


def _given(value: T | UnsetType, read: Callable[[T], R]) -> R | None:
    return None if isinstance(value, UnsetType) else read(value)
