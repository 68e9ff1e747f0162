"""Tenants, keys and revoked tokens as the catalog holds them, each taken on trust for a moment."""

from __future__ import annotations

from typing import Any, Final

from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Clock
from holdfast.core.errors import NotFoundError
from holdfast.core.types import ApiKey, Tenant
from holdfast.engine.principals import TRUST

_REMEMBERED: Final = 8192


class Directory:
    """Answers who is who, each question put to the catalog at most every few seconds (`TRUST`)."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Any]] = {}

    async def tenant(self, name: str) -> Tenant | None:
        """Return a tenant, None when there is none."""
        found: Tenant | None = await self._ask(("tenant", name), self._tenant(name))
        return found

    async def key(self, key_id: str) -> ApiKey | None:
        """Return a key, also one that holds no longer; None when there never was one."""
        found: ApiKey | None = await self._ask(("key", key_id), self._catalog.api_key(key_id))
        return found

    async def revoked(self, token_id: str) -> bool:
        """Return whether a signed token was revoked."""
        found: bool = await self._ask(("token", token_id), self._catalog.token_revoked(token_id))
        return found

    async def _tenant(self, name: str) -> Tenant | None:
        try:
            return await self._catalog.tenant(name)
        except NotFoundError:
            return None

    async def _ask(self, question: tuple[str, str], asking: Any) -> Any:
        known = self._known.get(question)
        now = self._clock.monotonic()
        if known is not None and known[0] > now:
            asking.close()
            return known[1]
        answer = await asking
        if answer is None:
            return None  # names that are not there could be made up without end
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[question] = (now + TRUST, answer)
        return answer
