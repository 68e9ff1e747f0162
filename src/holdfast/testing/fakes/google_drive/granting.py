"""The token endpoint: refresh tokens of users, signed claims of service accounts."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from holdfast.testing.fakes.google_drive.answers import answer
from holdfast.testing.fakes.google_drive.state import HOUR, Access, State

_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPES: Final = ("https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/drive.file")


class Granting:
    """Gives access tokens and forgets them when they end."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._keys: dict[str, RSAKey] = {}
        self._delegated: dict[str, set[str]] = {}
        self.granted = 0  #: tokens given so far

    def add_consent(self, email: str, *, client_id: str, client_secret: str) -> str:
        """Return a refresh token of a user for a client."""
        token = f"1//{self._state.new_id(40)}"
        self._state.refresh_tokens[token] = (client_id, client_secret, email)
        return token

    def add_service_account(self, email: str, *, acts_for: tuple[str, ...] = ()) -> dict[str, str]:
        """Add a service account, and return its key file; `acts_for` are users that it may be."""
        self._state.add_person(email, service=True)
        key = RSAKey.generate_key(2048)
        self._keys[email] = key
        self._delegated[email] = set(acts_for)
        return {
            "type": "service_account",
            "client_email": email,
            "private_key_id": "1",
            "private_key": key.as_pem(private=True).decode(),
        }

    def access(self, email: str) -> str:
        """Return a new access token of somebody."""
        token = f"ya29.{self._state.new_id(40)}"
        life = int(self._state.token_life * 1e6)
        self._state.tokens[token] = Access(email, self._state.now() + life)
        self.granted += 1
        return token

    def who(self, token: str) -> str | None:
        """Return whose token it is; None when it has ended or never was."""
        found = self._state.tokens.get(token)
        return found.person if found is not None and self._state.now() < found.expires else None

    async def grant(self, request: web.Request) -> web.Response:
        """Answer the token endpoint."""
        form = await request.post()
        given = {name: str(value) for name, value in form.items()}
        email = None
        if given.get("grant_type") == "refresh_token":
            client_id, secret, holder = self._state.refresh_tokens.get(
                given.get("refresh_token", ""), ("", "", "")
            )
            if holder and (client_id, secret) != (given.get("client_id"), given.get("client_secret")):
                return answer({"error": "invalid_client", "error_description": "Unauthorized"}, 401)
            email = holder or None
        elif given.get("grant_type") == _BEARER:
            email = self._claimed(given.get("assertion", ""), str(request.url))
        else:
            return answer({"error": "unsupported_grant_type"}, 400)
        if email is None:
            return answer({"error": "invalid_grant", "error_description": "Bad Request"}, 400)
        return answer(
            {
                "access_token": self.access(email),
                "expires_in": int(self._state.token_life),
                "token_type": "Bearer",
            }
        )

    def _claimed(self, assertion: str, url: str) -> str | None:
        """Return who a signed claim is; None when anything about it is wrong."""
        try:
            issuer = str(json.loads(_middle(assertion))["iss"])
            claims: dict[str, Any] = dict(
                jwt.decode(assertion, self._keys[issuer], algorithms=["RS256"]).claims
            )
        except (JoseError, KeyError, ValueError, TypeError):
            return None
        now = self._state.now() // 1_000_000
        begun, ends = int(claims.get("iat", 0)), int(claims.get("exp", 0))
        fresh = begun <= now + 300 and now < ends <= begun + HOUR
        if not fresh or claims.get("aud") != url or claims.get("scope") not in _SCOPES:
            return None
        subject = claims.get("sub")
        if subject is None:
            return issuer
        return str(subject) if subject in self._delegated[issuer] else None


def _middle(assertion: str) -> bytes:
    import base64

    part = assertion.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
