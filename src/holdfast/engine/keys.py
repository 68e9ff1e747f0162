"""API keys: `id.secret`, of which the catalog holds only the SHA-256 of the secret; and whoever sends a token."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Protocol

from holdfast.catalog.contract import Actor, Catalog
from holdfast.core.clock import Clock, Environment
from holdfast.core.errors import UnauthenticatedError
from holdfast.core.types import ApiKey, KeySettings, Principal
from holdfast.engine.directory import Directory
from holdfast.engine.jwt import looks_like
from holdfast.engine.principals import TRUST, check_tenant, key_principal

_BLANK: Final = bytes(32)
_REMEMBERED: Final = 4096
_NO_SETTINGS: Final = KeySettings()
_NOBODY: Final = Actor()


class ReadsTokens(Protocol):
    """Turns a signed token into a principal."""

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is, or raise `UnauthenticatedError`."""
        ...


async def create_key(
    catalog: Catalog,
    environment: Environment,
    *,
    tenant: str,
    name: str,
    role: str,
    settings: KeySettings = _NO_SETTINGS,
    expires: int | None = None,
    actor: Actor = _NOBODY,
) -> str:
    """Make a key with 256 random bits and return its token; this is the only time that it can be seen."""
    secret = environment.random.getrandbits(256).to_bytes(32, "big").hex()
    key_id = "hf" + environment.new_id().replace("-", "")[-20:]
    digest = hashlib.sha256(secret.encode()).digest()
    key = ApiKey(key_id, tenant, name, role, digest, await catalog.now(), None, expires, settings)
    await catalog.create_key(key, actor=actor)
    return f"{key_id}.{secret}"


class Authenticator:
    """Turns a token into a principal, whether it is an API key or signed. Unknown ids cost the same as wrong secrets."""

    def __init__(self, catalog: Catalog, clock: Clock, tokens: ReadsTokens | None = None) -> None:
        self._catalog = catalog
        self._clock = clock
        self._tokens = tokens
        self._directory = Directory(catalog, clock)
        self._trusted: dict[bytes, tuple[float, Principal]] = {}

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            UnauthenticatedError: it is unknown, wrong, expired or revoked.
            PermissionDeniedError: its tenant is suspended.
        """
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        trusted = self._trusted.get(fingerprint)
        if trusted is not None and trusted[0] > self._clock.monotonic():
            principal = trusted[1]
            if principal.expires is None or principal.expires > self._clock.now():
                return principal
        principal = await self._look_up(token)
        if len(self._trusted) >= _REMEMBERED:
            self._trusted.clear()
        self._trusted[fingerprint] = (self._clock.monotonic() + TRUST, principal)
        return principal

    async def _look_up(self, token: str) -> Principal:
        if self._tokens is not None and looks_like(token):
            return await self._tokens(token)
        key_id, _, secret = token.partition(".")
        key = await self._catalog.api_key(key_id) if 0 < len(key_id) <= 64 and key_id.isascii() else None
        held = _BLANK if key is None else key.secret_sha256
        given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(held, given) or key is None:
            raise UnauthenticatedError("the token is unknown, wrong or revoked")
        await self._directory.check_key(key, self._clock.now())
        tenant = await self._directory.tenant(key.tenant)
        if tenant is None:
            raise UnauthenticatedError("the token is unknown, wrong or revoked")
        check_tenant(tenant)
        return key_principal(key, tenant)
