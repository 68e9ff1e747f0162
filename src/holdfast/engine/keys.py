"""API keys: `id.secret`, of which the catalog holds only the SHA-256 of the secret."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Clock, Environment
from holdfast.core.errors import UnauthenticatedError
from holdfast.core.types import ApiKey, Principal

_BLANK: Final = bytes(32)
_TRUST: Final = 5.0  #: seconds that an accepted key is taken on trust, so revoking takes at most that long
_REMEMBERED: Final = 4096


async def create_key(catalog: Catalog, environment: Environment, *, tenant: str, name: str, role: str) -> str:
    """Make a key with 256 random bits and return its token; this is the only time that it can be seen."""
    secret = environment.random.getrandbits(256).to_bytes(32, "big").hex()
    key_id = "hf" + environment.new_id().replace("-", "")[-20:]
    digest = hashlib.sha256(secret.encode()).digest()
    await catalog.create_key(ApiKey(key_id, tenant, name, role, digest, await catalog.now()))
    return f"{key_id}.{secret}"


class Authenticator:
    """Turns a token into a principal. Unknown ids cost the same work as wrong secrets."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._trusted: dict[bytes, tuple[float, Principal]] = {}

    async def __call__(self, token: str) -> Principal:
        """Return whose token it is, or raise `UnauthenticatedError`."""
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        trusted = self._trusted.get(fingerprint)
        if trusted is not None and trusted[0] > self._clock.monotonic():
            return trusted[1]
        principal = await self._look_up(token)
        if len(self._trusted) >= _REMEMBERED:
            self._trusted.clear()
        self._trusted[fingerprint] = (self._clock.monotonic() + _TRUST, principal)
        return principal

    async def _look_up(self, token: str) -> Principal:
        key_id, _, secret = token.partition(".")
        key = await self._catalog.api_key(key_id) if 0 < len(key_id) <= 64 and key_id.isascii() else None
        held = _BLANK if key is None else key.secret_sha256
        given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(held, given) or key is None or key.revoked is not None:
            raise UnauthenticatedError("the token is unknown, wrong or revoked")
        return Principal(id=key.id, tenant=key.tenant, role=key.role, name=key.name)
