"""Access tokens: fetched for a user or a service account, renewed ahead of their end."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from holdfast.backends._http import Http, parse_json, read_bounded, retry_after, seconds
from holdfast.backends.google_drive.errors import Where, failure
from holdfast.backends.google_drive.settings import GoogleDriveSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, RateLimitedError, UnauthenticatedError, UnavailableError
from holdfast.core.renewing import Renewing

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HOUR: Final = 3600
_MOST: Final = 64 << 10
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its end in microseconds; None when nobody told it. Never shown."""

    value: str = field(repr=False)
    expires: int | None = None


Tokens = Renewing[Token]


class _Answer(msgspec.Struct):
    access_token: str = ""
    expires_in: float = _HOUR
    error: str = ""


class _Key(msgspec.Struct):
    """What is needed of a service account's key file."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    type: str = ""


def tokens(store: str, settings: GoogleDriveSettings, http: Http, environment: Environment) -> Tokens:
    """Return where the store's tokens come from.

    Raises:
        ConfigError: the service account's key is none.
    """
    fetch: Callable[[], Awaitable[Token]]
    if settings.kind == "token":
        fetch = _Given(store, settings.token.get_secret_value())
    elif settings.kind == "user":
        form = {
            "grant_type": "refresh_token",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
            "refresh_token": settings.refresh_token.get_secret_value(),
        }
        fetch = _Exchange(store, settings, lambda now: form, http, environment)
    else:
        signed = _Signed(store, settings)
        fetch = _Exchange(store, settings, signed, http, environment)
    return Renewing(fetch, clock=environment.clock)


class _Given:
    """A token that somebody fetched: it cannot be renewed."""

    def __init__(self, store: str, value: str) -> None:
        self._store, self._value, self._asked = store, value, False

    async def __call__(self) -> Token:
        if self._asked:
            raise failure(
                UnauthenticatedError,
                "Google does not accept the access token: it ends after about an hour and nothing renews it; give a"
                " refresh_token or a service_account instead",
                Where("authorise", self._store),
            )
        self._asked = True
        return Token(self._value)


class _Exchange:
    """Asks the token URL."""

    def __init__(
        self,
        store: str,
        settings: GoogleDriveSettings,
        form: Callable[[int], dict[str, str]],
        http: Http,
        environment: Environment,
    ) -> None:
        self._where = Where("authorise", store)
        self._url, self._within = settings.token_url, 2 * (settings.read_timeout + settings.connect_timeout)
        self._form, self._http, self._environment = form, http, environment

    async def __call__(self) -> Token:
        now = self._environment.clock.now()
        data = urlencode(self._form(now)).encode()
        where = self._where
        async with self._http.exchange(
            where.operation, "", "POST", self._url, headers=_FORM, data=data, within=self._within
        ) as response:
            status, wait = response.status, retry_after(response.headers, now)
            body = await read_bounded(response, _MOST)
        try:
            answer: _Answer = parse_json(body, _Answer)
        except ValueError:
            answer = _Answer()
        if status == 200 and answer.access_token:
            return Token(answer.access_token, now + int(seconds(answer.expires_in) * 1_000_000))
        if status == 429 or answer.error in ("rate_limit_exceeded", "slow_down"):
            error = failure(RateLimitedError, f"Google asks to come back later ({status})", where)
            error.retry_after = wait
            raise error
        if status in (400, 401, 403):
            raise failure(UnauthenticatedError, _refused(answer.error, status), where)
        raise failure(UnavailableError, f"Google gives no access token now ({status})", where)


class _Signed:
    """Makes the form of a service account: a claim signed with its key."""

    def __init__(self, store: str, settings: GoogleDriveSettings) -> None:
        from joserfc.errors import JoseError
        from joserfc.jwk import RSAKey

        try:
            self._account = msgspec.json.decode(settings.service_account.get_secret_value(), type=_Key)
            if self._account.type not in ("", "service_account"):
                raise ValueError
            self._key = RSAKey.import_key(self._account.private_key)
        except (msgspec.DecodeError, JoseError, ValueError, TypeError):
            raise failure(
                ConfigError,
                "service_account is not the JSON key of a service account (client_email and an RSA private_key)",
                Where("open", store),
            ) from None
        self._settings = settings

    def __call__(self, now: int) -> dict[str, str]:
        from joserfc import jwt

        seconds = now // 1_000_000
        claims: dict[str, Any] = {
            "iss": self._account.client_email,
            "scope": self._settings.scope,
            "aud": self._settings.token_url,
            "iat": seconds,
            "exp": seconds + _HOUR,
        }
        if self._settings.subject:
            claims["sub"] = self._settings.subject
        header = {"alg": "RS256", "typ": "JWT"}
        if self._account.private_key_id:
            header["kid"] = self._account.private_key_id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a key of Google's may be shorter than the library likes
            return {"grant_type": _GRANT, "assertion": jwt.encode(header, claims, self._key)}


def _refused(error: str, status: int) -> str:
    if error == "invalid_grant":
        return (
            "the consent has ended: it was withdrawn, lay unused for months, or belongs to an app that is still in"
            " testing (seven days); give it anew and set refresh_token. A service account: look at its key, its"
            " subject and this machine's clock"
        )
    if error in ("invalid_client", "unauthorized_client"):
        return "Google does not know the client, or not for this use; correct client_id, client_secret or subject"
    return f"Google gives no access token for these credentials ({status})"
