"""The keys of encrypted blobs as one principal may look after them: shown, rotated, destroyed, kept elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConfigError, InvalidRequestError, NotFoundError
from holdfast.core.names import check_tenant
from holdfast.core.parsing import parse_json
from holdfast.core.records import TenantKey, TenantKeyState
from holdfast.engine.context import Context
from holdfast.engine.keyring import CatalogKeyRing, Generation, Rotated
from holdfast.engine.permits import Permit

_FORMAT: Final = "holdfast tenant keys 1"


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """`root_keys` by their ids, the first wraps; and every generation of every tenant's key."""

    root_keys: tuple[str, ...]
    generations: Sequence[Generation]


class Encryption:
    """Verbs on keys of tenants. `Administration.encryption` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, actor: Actor) -> None:
        self._context, self._permit, self._actor = context, permit, actor

    def allow(self) -> None:
        """Return when this principal may look after keys; `PermissionDeniedError` else."""
        self._permit.allow("operate")

    async def status(self) -> KeyStatus:
        """Return what keys there are, and what each wraps."""
        ring = self._ring()
        return KeyStatus(ring.root_keys, await ring.status())

    async def rotate(self, tenant: str, *, drop: bool = False) -> tuple[Rotated, int]:
        """Begin the next generation of a tenant's key and wrap its blobs' keys by it; no byte of a blob moves.

        With `drop`, retired generations that wrap nothing any more are destroyed; returned is how many.

        Raises:
            NotFoundError: there is no such tenant. LockedError: a root key is missing.
        """
        ring = self._ring()
        await self._context.catalog.tenant(check_tenant(tenant))
        done = await ring.rotate(tenant, actor=self._actor)
        return done, await ring.drop_retired(tenant, actor=self._actor) if drop else 0

    async def rotate_root(self) -> Rotated:
        """Wrap the keys of all tenants by the first root key, so that the others can be taken away.

        Raises:
            LockedError: one is wrapped by a key that is not among ours.
        """
        return await self._ring().rotate_root(actor=self._actor)

    async def shred(self, tenant: str) -> int:
        """Destroy the key of a tenant for good; return how many generations it had. What is encrypted for it is lost.

        Raises:
            NotFoundError: it has no key.
        """
        done = await self._ring().shred(check_tenant(tenant), actor=self._actor)
        if not done:
            raise NotFoundError(
                "the tenant has no key, so nothing that is encrypted for it can be read", name=tenant
            )
        return done

    async def export(self) -> str:
        """Return all keys of tenants, wrapped as they are, as JSON: to be kept apart from the catalog."""
        keys = await self._ring().export()
        return json.dumps({"format": _FORMAT, "keys": [_said(key) for key in keys]}, indent=1) + "\n"

    async def restore(self, text: str) -> int:
        """Add the keys of an export that the catalog has not; return how many. One that was destroyed stays so.

        Raises:
            InvalidRequestError: it is no export. LockedError: a root key is missing, or it was altered.
        """
        return await self._ring().restore(_exported(text), actor=self._actor)

    def _ring(self) -> CatalogKeyRing:
        self.allow()
        ring = self._context.keys
        if ring is None:
            raise ConfigError("this engine was opened without keys, so nothing is encrypted here")
        return ring


def _said(key: TenantKey) -> dict[str, Any]:
    return {
        "tenant": key.tenant,
        "generation": key.generation,
        "root_key": key.root_key_id,
        "wrapped": base64.b64encode(key.wrapped).decode(),
        "state": key.state.value,
        "created": key.created,
    }


def _exported(text: str) -> list[TenantKey]:
    try:
        said = parse_json(text)
        if said["format"] != _FORMAT:
            raise ValueError
        return [
            TenantKey(
                check_tenant(key["tenant"]),
                int(key["generation"]),
                str(key["root_key"]),
                base64.b64decode(key["wrapped"], validate=True),
                int(key["created"]),
                TenantKeyState(key["state"]),
            )
            for key in said["keys"]
        ]
    except (ValueError, KeyError, TypeError, OverflowError):
        raise InvalidRequestError(
            "this is no export of tenants' keys; one is written by: holdfast encryption export"
        ) from None
