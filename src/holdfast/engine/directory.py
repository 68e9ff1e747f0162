"""Tenants, keys and revoked tokens as the catalog holds them, each taken on trust for a moment."""

from __future__ import annotations

from typing import Any, Final

from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Clock
from holdfast.core.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import ApiKey, Principal, Tenant
from holdfast.engine.principals import TRUST, check_key, check_tenant

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

    async def check_key(self, key: ApiKey, now: int) -> None:
        """Return when `key` holds, and all that it was made with; raise `UnauthenticatedError` otherwise."""
        check_key(key, now)
        for credential in key.settings.by:
            kind, _, name = credential.partition(":")
            if kind == "key":
                maker = await self.key(name)
                gone = maker is None or maker.revoked is not None
            else:
                gone = await self.revoked(credential)
            if gone:
                raise UnauthenticatedError("the key that this credential was made with was revoked")

    async def given_up(self, principal_id: str) -> bool:
        """Return whether that is a key that was revoked, or one whose maker was."""
        key = await self.key(principal_id)
        return key is not None and await self._given_up(key)

    async def check_still(self, principal: Principal) -> None:
        """Return when what `principal` came with still holds: for work that goes on for long.

        That it has expired since does not matter: what was begun in time is ended.

        Raises:
            PermissionDeniedError: a credential that it rests on was revoked, or its tenant is suspended.
        """
        tenant = await self.tenant(principal.tenant)
        if tenant is not None:
            check_tenant(tenant)
        for credential in principal.credentials:
            kind, _, name = credential.partition(":")
            if kind == "key":
                key = await self.key(name)
                gone = key is None or await self._given_up(key)
            else:
                gone = await self.revoked(credential)
            if gone:
                raise PermissionDeniedError("the credential that this was begun with was revoked")

    async def _given_up(self, key: ApiKey) -> bool:
        try:
            await self.check_key(key, now=0)  # so that none has expired
        except UnauthenticatedError:
            return True
        return False

    def learn_revoked(self, token_id: str) -> None:
        """Take note that a token was revoked just now, instead of asking in a few seconds."""
        self._known[("token", token_id)] = (self._clock.monotonic() + TRUST, True)

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
