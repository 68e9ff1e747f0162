"""Browser sessions: a token is given once and becomes a cookie, which only requests from our own pages may use."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from holdfast.api.authentication import TokenReader
from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.api.routing import Route
from holdfast.catalog.contract import Actor
from holdfast.core.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.types import Principal
from holdfast.engine.context import Context
from holdfast.engine.directory import Directory
from holdfast.engine.principals import check_tenant, key_principal

PAGE: Final = b"x-holdfast-page"  #: sent by our own pages; other origins cannot send it
_NAME: Final = "holdfast_session"
_SECURE: Final = "__Host-holdfast_session"
_SECOND: Final = 1_000_000
_LONGEST: Final = 3800  #: characters of a cookie's value that browsers keep
_MAC: Final = 43


class NewSession(Struct, frozen=True, forbid_unknown_fields=True):
    """A browser session to be opened."""

    token: Annotated[str, Meta(min_length=1, max_length=8192)]


class SessionInfo(Struct, frozen=True, kw_only=True):
    """A browser session: whose it is, and until when."""

    principal: str
    name: str
    tenant: str
    role: str
    expires_at: str


class _Kept(Struct, frozen=True, array_like=True):
    """What a cookie says: the id of an API key, or a signed token, and when the session ends."""

    kind: str
    value: str
    expires: int
    tenant: str = ""
    principal: str = ""
    id: str = ""  #: under which it is ended


class BrowserSessions:
    """Opens, reads and closes sessions. Only that one was closed is kept: a cookie ends by itself, and with its credential."""

    def __init__(
        self, context: Context, directory: Directory, read: TokenReader, *, lifetime: float, public_url: str
    ) -> None:
        self._context = context
        self._directory = directory
        self._read = read
        self._lifetime = int(lifetime * _SECOND)
        self._own = urlsplit(public_url).netloc.encode()
        self._key = context.secret.derive("session")

    # -- handlers -----------------------------------------------------------------------------------------------
    async def open(self, exchange: Exchange) -> None:
        """Open a session with a token; the cookie is for requests from pages of this service only."""
        self._refuse_foreign(exchange)
        wish = decode(NewSession, await small_body(exchange, MAX_JSON))
        principal = await self._read(wish.token.strip())
        now = self._context.environment.clock.now()
        ends = min(now + self._lifetime, principal.expires or now + self._lifetime)
        made = self._context.environment.new_id()
        kept = _Kept(*_credential(principal, wish.token.strip()), ends, principal.tenant, principal.id, made)
        value = self._sealed(kept)
        if len(value) > _LONGEST:
            raise InvalidRequestError("the token is too long for a cookie; use it as a bearer token")
        told = SessionInfo(
            principal=principal.id,
            name=principal.name,
            tenant=principal.tenant,
            role=principal.role,
            expires_at=iso(ends),
        )
        actor = Actor(principal.id, exchange.request_id, exchange.address)
        await self._context.catalog.note(principal.tenant, "open_session", {"id": made}, actor=actor)
        cookie = _cookie(exchange, value, (ends - now) // _SECOND)
        await exchange.answer_json(201, encode(told), [cookie])

    async def close(self, exchange: Exchange) -> None:
        """Close the session of this browser: its cookie is taken away, and holds nowhere any longer within 5 seconds."""
        self._refuse_foreign(exchange)
        kept = self._opened(_given(exchange) or "")
        if kept is not None and kept.id:
            await self._context.catalog.revoke_token(
                _name_of(kept),
                tenant=kept.tenant,
                expires=kept.expires,
                action="close_session",
                actor=Actor(kept.principal, exchange.request_id, exchange.address),
            )
            self._directory.learn_revoked(_name_of(kept))
        await exchange.answer(204, [_cookie(exchange, "", 0)])

    # -- reading a credential -----------------------------------------------------------------------------------
    async def __call__(self, exchange: Exchange, route: Route | None) -> Principal | None:
        """Return whose session this is; None without a cookie, and for requests that did not come from our pages."""
        value = _given(exchange)
        if value is None or not self._is_own(exchange):
            return None
        kept = self._opened(value)
        if kept is None or kept.expires <= self._context.environment.clock.now():
            raise UnauthenticatedError("the session is over; open a new one")
        if kept.id and await self._directory.revoked(_name_of(kept)):
            raise UnauthenticatedError("the session was closed; open a new one")
        if kept.kind == "token":
            return await self._read(kept.value)
        key = await self._directory.key(kept.value)
        tenant = None if key is None else await self._directory.tenant(key.tenant)
        if key is None or tenant is None:
            raise UnauthenticatedError("the session is over; open a new one")
        await self._directory.check_key(key, await self._context.catalog.now())
        check_tenant(tenant)
        return key_principal(key, tenant)

    # -----------------------------------------------------------------------------------------------------------
    def _sealed(self, kept: _Kept) -> str:
        body = urlsafe_b64encode(msgspec.json.encode(kept)).rstrip(b"=").decode()
        return f"{body}.{self._mac(body)}"

    def _opened(self, value: str) -> _Kept | None:
        body, _, mac = value.rpartition(".")
        if len(mac) != _MAC or not hmac.compare_digest(self._mac(body).encode(), mac.encode()):
            return None
        return msgspec.json.decode(urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=_Kept)

    def _mac(self, body: str) -> str:
        made = hmac.digest(self._key, body.encode(), hashlib.sha256)
        return urlsafe_b64encode(made).rstrip(b"=").decode()

    def _refuse_foreign(self, exchange: Exchange) -> None:
        if not self._is_own(exchange):
            raise PermissionDeniedError("sessions are opened and closed by the pages of this service only")
        kind = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if exchange.method == "POST" and kind != b"application/json":
            raise HttpRefusalError(415, "send the token as application/json")

    def _is_own(self, exchange: Exchange) -> bool:
        """Tell whether a page of ours made the request.

        Browsers say so in `Sec-Fetch-Site` where the connection is safe, else in `Origin`. Where neither is sent (a
        GET over plain HTTP), a header of ours tells: no other origin can send one without asking first.
        """
        headers = exchange.headers
        origin = headers.get(b"origin")
        if origin is not None and not self._names_us(origin.partition(b"://")[2], headers):
            return False
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            return site == b"same-origin"
        return origin is not None or PAGE in headers

    def _names_us(self, host: bytes, headers: Mapping[bytes, bytes]) -> bool:
        return bool(host) and host in (headers.get(b"host"), self._own)


def _credential(principal: Principal, token: str) -> tuple[str, str]:
    """Return what the cookie keeps: of an API key only its id, else the signed token itself."""
    if len(principal.credentials) == 1 and principal.credentials[0].startswith("key:"):
        return "key", principal.credentials[0].removeprefix("key:")
    return "token", token


def _name_of(kept: _Kept) -> str:
    """Return under which name a session is remembered as closed; no token is called so."""
    return f"session:{kept.tenant}/{kept.id}"


def _given(exchange: Exchange) -> str | None:
    raw = exchange.headers.get(b"cookie")
    if raw is None:
        return None
    wanted = _SECURE if exchange.scheme == "https" else _NAME
    for pair in raw.decode("latin-1").replace(",", ";").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value if value.isascii() else ""
    return None


def _cookie(exchange: Exchange, value: str, age: int) -> tuple[bytes, bytes]:
    safe = exchange.scheme == "https"
    name = _SECURE if safe else _NAME
    text = f"{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{'; Secure' if safe else ''}"
    return b"set-cookie", text.encode()
