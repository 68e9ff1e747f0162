"""The keys of encrypted blobs over HTTP: shown, rotated, destroyed. For operators; no key is ever in an answer."""

from __future__ import annotations

from msgspec import Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.core.errors import InvalidRequestError


class TenantKeyInfo(Struct, frozen=True, kw_only=True):
    """A generation of a tenant's key: active, retired (it only opens) or destroyed. `opens`: its root key is there."""

    tenant: str
    generation: int
    state: str
    root_key: str
    opens: bool
    blobs: int
    created: str


class EncryptionStatus(Struct, frozen=True, kw_only=True):
    """The ids of the root keys, the first of which wraps, and all keys of tenants."""

    root_keys: list[str]
    keys: list[TenantKeyInfo]


class RotateWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be rotated: the key of a `tenant`, or with `root` what wraps the keys of all tenants.

    `drop`: destroy older keys of the tenant that wrap nothing any more.
    """

    tenant: Name | None = None
    root: bool = False
    drop: bool = False


class RotateAnswer(Struct, frozen=True, kw_only=True):
    """How many keys were wrapped anew, and why others were not. `generation` is the one that wraps now."""

    tenant: str | None
    generation: int | None
    rewrapped: int
    dropped: int
    troubles: list[str]


class ShredWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose key is to be destroyed; `confirm` says the same name once more."""

    tenant: Name
    confirm: Name


class ShredAnswer(Struct, frozen=True, kw_only=True):
    """How many generations were destroyed."""

    tenant: str
    destroyed: int


async def show(exchange: Exchange) -> None:
    """Answer what keys there are, and how many blobs each is for."""
    found = await exchange.session.admin.encryption.status()
    keys = [
        TenantKeyInfo(
            tenant=one.key.tenant,
            generation=one.key.generation,
            state=one.key.state.value,
            root_key=one.key.root_key_id,
            opens=one.opens,
            blobs=one.blobs,
            created=iso(one.key.created),
        )
        for one in found.generations
    ]
    await exchange.answer_json(200, encode(EncryptionStatus(root_keys=list(found.root_keys), keys=keys)))


async def rotate(exchange: Exchange) -> None:
    """Rotate the key of a tenant, or root keys, while reads and writes go on. No byte of a blob moves."""
    wish = decode(RotateWish, await small_body(exchange, MAX_JSON) or b"{}")
    desk = exchange.session.admin.encryption
    desk.allow()
    if wish.root == (wish.tenant is not None) or (wish.root and wish.drop):
        raise InvalidRequestError("say what to rotate: tenant (with drop or not), or root")
    if wish.tenant is None:
        done, dropped = await desk.rotate_root(), 0
    else:
        done, dropped = await desk.rotate(wish.tenant, drop=wish.drop)
    answer = RotateAnswer(
        tenant=wish.tenant,
        generation=done.generation or None,
        rewrapped=done.rewrapped,
        dropped=dropped,
        troubles=list(done.troubles),
    )
    await exchange.answer_json(200, encode(answer))


async def shred(exchange: Exchange) -> None:
    """Destroy the key of a tenant: what is encrypted for it can be read by nobody any more. It cannot be undone."""
    wish = decode(ShredWish, await small_body(exchange, MAX_JSON))
    desk = exchange.session.admin.encryption
    desk.allow()
    if wish.tenant != wish.confirm:
        raise InvalidRequestError(
            "confirm is not the name of the tenant; say it twice, since nothing can undo it"
        )
    count = await desk.shred(wish.tenant)
    await exchange.answer_json(200, encode(ShredAnswer(tenant=wish.tenant, destroyed=count)))
