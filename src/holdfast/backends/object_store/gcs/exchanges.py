"""How a token comes about: one function for each kind of credential, which asks once more when that may help."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from holdfast.backends._http import Http, read_bounded, retry_after, seconds, sendable
from holdfast.core.clock import Clock
from holdfast.core.errors import (
    ConfigError,
    DeadlineError,
    HoldfastError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"  #: what an account needs that signs by its own key
CLOUD_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"  #: what federation and links need
_SECOND: Final = 1_000_000
_TRIES: Final = 3
_NEAR: Final = 1.0  #: seconds within which a machine of Google's reaches its metadata server
_LIMIT: Final = 1 << 20
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and its end in microseconds since the epoch."""

    value: str = field(repr=False)
    expires: int | None = None


Fetch = Callable[[], Awaitable[Token]]


class Exchange:
    """Asks those who give tokens."""

    def __init__(self, http: Http, clock: Clock) -> None:
        self.http, self.clock = http, clock
        self._on_google = False  # the metadata server has answered once

    async def signed(self, email: str, key_id: str, key: RSAPrivateKey, uri: str) -> Token:
        """Return the token of a service account that proves itself by its key."""
        now = self.clock.now() // _SECOND
        claims = {"iss": email, "scope": SCOPE, "aud": uri, "iat": now, "exp": now + 3600}
        head = {"alg": "RS256", "typ": "JWT", "kid": key_id}
        text = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        proof = _b64(key.sign(text.encode(), PKCS1v15(), hashes.SHA256()))
        return self._token(
            await self.ask("POST", uri, form={"grant_type": _JWT_BEARER, "assertion": f"{text}.{proof}"})
        )

    async def refreshed(self, client: str, secret: str, refresh: str, uri: str) -> Token:
        """Return the token of a person who once agreed."""
        form = {
            "grant_type": "refresh_token",
            "client_id": client,
            "client_secret": secret,
            "refresh_token": refresh,
        }
        return self._token(await self.ask("POST", uri, form=form))

    async def of_machine(self, host: str, *, meant: bool = True) -> Token:
        """Return the token of the account that this machine runs as.

        Unless that is what was `meant`, it is first seen, and soon, whether this is a machine of Google's at all.

        Raises:
            UnauthenticatedError: it was not meant, and is none.
        """
        if not meant and not self._on_google:
            await self._look_for(host)
        url = f"{host}/computeMetadata/v1/instance/service-accounts/default/token"
        try:
            return self._token(await self.ask("GET", url, headers={"Metadata-Flavor": "Google"}))
        except UnavailableError as error:
            raise UnavailableError(
                "no credential is set and the metadata server does not answer; "
                "outside Google Cloud set credentials_file",
                operation="token",
                store=self.http.store,
            ) from error

    async def _look_for(self, host: str) -> None:
        try:
            async with self.http.exchange(
                "token", "", "GET", f"{host}/", headers={"Metadata-Flavor": "Google"}, within=_NEAR
            ):
                self._on_google = True
        except (UnavailableError, DeadlineError) as error:
            raise UnauthenticatedError(
                "no credentials found: give credentials_file, or run inside Google Cloud"
                " (credentials = 'metadata' waits longer for its metadata server)",
                operation="token",
                store=self.http.store,
            ) from error

    async def federated(self, document: Mapping[str, Any], subject: str, impersonate: str) -> Token:
        """Return the token that Google gives for the identity `subject` of somebody else (RFC 8693)."""
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": document["audience"],
            "scope": CLOUD_SCOPE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": subject,
            "subject_token_type": document["subject_token_type"],
        }
        token = self._token(await self.ask("POST", str(document["token_url"]), form=form))
        if not impersonate:
            return token
        body = {"scope": [CLOUD_SCOPE], "lifetime": "3600s"}
        headers = {"Authorization": f"Bearer {token.value}"}
        found = await self.ask("POST", impersonate, document=body, headers=headers)
        try:
            ends = datetime.fromisoformat(str(found["expireTime"]).replace("Z", "+00:00"))
            return Token(_sound(found["accessToken"]), int(ends.timestamp() * _SECOND))
        except (KeyError, ValueError, OverflowError):
            raise self._strange() from None

    async def ask(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object that is answered.

        Raises:
            UnauthenticatedError: the credential is refused. UnavailableError, RateLimitedError: after three tries.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once(method, url, form, document, headers or {})
            except HoldfastError as error:
                if not error.retryable or tries >= _TRIES:
                    raise
                wait = error.retry_after
                await self.clock.sleep(min(10.0, 0.2 * 2**tries if wait is None else wait))

    async def text(self, url: str, headers: Mapping[str, str]) -> str:
        """Return what a URL answers, which is a secret."""
        async with self.http.exchange("token", "", "GET", url, headers=headers) as response:
            content = await read_bounded(response, _LIMIT)
            if response.status != 200:
                raise self._refused(response.status, content, None)
            return content.decode(errors="replace")

    async def _once(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        document: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> dict[str, Any]:
        sent = {**headers, "Accept-Encoding": "identity"}
        data = b""
        if form is not None:
            sent["Content-Type"], data = "application/x-www-form-urlencoded", urlencode(form).encode()
        elif document is not None:
            sent["Content-Type"], data = "application/json", json.dumps(document).encode()
        async with self.http.exchange("token", "", method, url, headers=sent, data=data or None) as response:
            content = await read_bounded(response, _LIMIT)
            if response.status != 200:
                wait = retry_after(response.headers, self.clock.now())
                raise self._refused(response.status, content, wait)
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._strange()
        return found

    def _token(self, answer: Mapping[str, Any]) -> Token:
        try:
            lasts = seconds(float(answer["expires_in"]))
            return Token(_sound(answer["access_token"]), self.clock.now() + int(lasts * _SECOND))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._strange() from None

    def _refused(self, status: int, content: bytes, wait: float | None) -> HoldfastError:
        about: dict[str, Any] = {"operation": "token", "store": self.http.store, "retry_after": wait}
        if status == 429:
            return RateLimitedError("too many tokens were asked for", **about)
        if status >= 500:
            return UnavailableError(f"no token could be had ({status})", **about)
        code = _word(content)
        return UnauthenticatedError(
            f"the credential is refused ({status}{' ' + code if code else ''}); "
            "its key may be deleted, its account disabled, or this machine's clock wrong",
            **about,
        )

    def _strange(self) -> UnavailableError:
        return UnavailableError("the answer holds no token", operation="token", store=self.http.store)


def subject_reader(exchange: Exchange, source: Mapping[str, Any], store: str) -> Callable[[], Awaitable[str]]:
    """Return what reads the identity that is exchanged: from a file, which others renew, or from a URL.

    Raises:
        ConfigError: it comes from neither.
    """
    form = source.get("format") or {}
    field_name = form.get("subject_token_field_name") if form.get("type") == "json" else None
    if "file" in source:
        path = Path(str(source["file"]))

        async def read() -> str:
            try:
                return _subject(path.read_text(), field_name, store)
            except OSError as error:
                raise UnauthenticatedError(
                    f"the file of the federated identity cannot be read: {error.strerror}", store=store
                ) from error

        return read
    if "url" in source:
        url, headers = str(source["url"]), dict(source.get("headers") or {})

        async def ask() -> str:
            return _subject(await exchange.text(url, headers), field_name, store)

        return ask
    raise ConfigError(
        "federated identities are taken from a file or a URL, not from a program or from AWS",
        operation="open",
        store=store,
    )


def _subject(text: str, field_name: str | None, store: str) -> str:
    if not field_name:
        return text.strip()
    try:
        return str(json.loads(text)[field_name])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnauthenticatedError(
            "the federated identity is not where its format says", operation="token", store=store
        ) from None


def _sound(value: object) -> str:
    """Return a token; `ValueError` for one that no header can carry."""
    if not sendable(text := str(value)):
        raise ValueError("not a token")
    return text


def _word(content: bytes) -> str:
    """Return the error code of a token endpoint, one plain word, "" when there is none."""
    try:
        code = json.loads(content).get("error")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return code if isinstance(code, str) and code.isidentifier() and len(code) <= 40 else ""


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
