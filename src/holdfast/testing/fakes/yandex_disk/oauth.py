"""Tokens: who may come in, for how long, and what a refresh token gives. Each refresh token is good for one use."""

from __future__ import annotations

import secrets
from typing import Any, Final

from holdfast.core.clock import Clock
from holdfast.testing.fakes.yandex_disk.things import Refused

YEAR: Final = 31_536_000


class Accounts:
    """The tokens of the one account that there is."""

    def __init__(self, clock: Clock, *, lifetime: int = YEAR) -> None:
        self._clock = clock
        self.lifetime = lifetime
        self.client_id, self.client_secret = "fake-client", "fake-client-secret"
        self.access, self.refresh = f"y0_{secrets.token_hex(16)}", f"1:{secrets.token_hex(16)}"
        self.expires = clock.now() + lifetime * 1_000_000
        self.renewals = 0
        self.refusals = 0

    def check(self, header: str | None) -> None:
        """Refuse a request whose Authorization is not `OAuth` and the token that holds."""
        kind, _, token = (header or "").partition(" ")
        if kind != "OAuth" or token != self.access or self._clock.now() >= self.expires:
            raise Refused(401, "UnauthorizedError", "Unauthorized")

    def expire(self) -> None:
        """End the token that holds."""
        self.expires = self._clock.now()

    def renew(self, form: Any) -> dict[str, Any]:
        """Return the answer to a request for tokens: a new pair for the refresh token that holds."""
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            raise Refused(400, "invalid_client")
        if form.get("grant_type") != "refresh_token":
            raise Refused(400, "unsupported_grant_type")
        if form.get("refresh_token") != self.refresh:
            self.refusals += 1
            raise Refused(400, "invalid_grant", "expired_token")
        self.renewals += 1
        self.access, self.refresh = f"y0_{secrets.token_hex(16)}", f"1:{secrets.token_hex(16)}"
        self.expires = self._clock.now() + self.lifetime * 1_000_000
        return {
            "access_token": self.access,
            "refresh_token": self.refresh,
            "expires_in": self.lifetime,
            "token_type": "bearer",
        }
