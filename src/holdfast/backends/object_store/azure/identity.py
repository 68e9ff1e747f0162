"""Tokens of an identity: an application's secret, a workload's federated token, or the machine's own identity."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.backends._http import Http, read_bounded, retry_after, seconds, sendable
from holdfast.backends.object_store.azure.credentials import Credential, Token
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, RateLimitedError, UnauthenticatedError, UnavailableError
from holdfast.core.renewing import Renewing

_RESOURCE: Final = "https://storage.azure.com/"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_MACHINE: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LARGEST_TOKEN_FILE: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class _Ask:
    method: str
    url: str
    headers: Mapping[str, str]
    params: Mapping[str, str] | None = None
    form: Mapping[str, str] | None = None


class Identity:
    """Asks for one token at a time."""

    def __init__(
        self,
        store: str,
        settings: AzureSettings,
        environment: Environment,
        http: Http,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._settings = settings
        self._environment = environment
        self._http = http
        self._environ = environ

    async def fetch(self) -> Credential:
        """Return a new token.

        Raises:
            ConfigError: a setting, a variable or the token file is missing. UnauthenticatedError: the identity is refused.
            UnavailableError, RateLimitedError: whoever gives tokens does not do it now.
        """
        ask = self._managed() if self._settings.credentials == "managed_identity" else self._application()
        async with self._http.exchange(
            "authenticate", "", ask.method, ask.url, headers=ask.headers, params=ask.params, data=ask.form
        ) as response:
            content = await read_bounded(response, 1 << 20)
            if response.status != 200:
                raise self._refused(response.status, content, response.headers)
        return self._token(content)

    def _application(self) -> _Ask:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._named("client_id", "AZURE_CLIENT_ID"),
            "scope": f"{_RESOURCE}.default",
        }
        if self._settings.credentials == "client_secret":
            form["client_secret"] = self._settings.client_secret.get_secret_value()
        else:
            form |= {"client_assertion_type": _ASSERTION, "client_assertion": self._assertion()}
        tenant = self._named("tenant_id", "AZURE_TENANT_ID")
        authority = self._settings.authority or self._environ.get("AZURE_AUTHORITY_HOST", "") or _AUTHORITY
        return _Ask("POST", f"{authority.rstrip('/')}/{tenant}/oauth2/v2.0/token", {}, form=form)

    def _managed(self) -> _Ask:
        params = {"resource": _RESOURCE}
        if client := self._settings.client_id or self._environ.get("AZURE_CLIENT_ID", ""):
            params["client_id"] = client
        service = self._environ.get("IDENTITY_ENDPOINT", "")
        if service and not self._settings.authority:
            headers = {"x-identity-header": self._environ.get("IDENTITY_HEADER", "")}
            return _Ask("GET", service, headers, {**params, "api-version": "2019-08-01"})
        url = self._settings.authority or _MACHINE
        return _Ask("GET", url, {"metadata": "true"}, {**params, "api-version": "2018-02-01"})

    def _assertion(self) -> str:
        path = self._settings.token_file or Path(self._named("token_file", "AZURE_FEDERATED_TOKEN_FILE"))
        try:
            with path.open(encoding="ascii") as file:  # read anew each time: whoever put it there replaces it
                return file.read(_LARGEST_TOKEN_FILE).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._config(f"token_file cannot be read: {type(error).__name__}") from error

    def _named(self, setting: str, variable: str) -> str:
        value = str(getattr(self._settings, setting) or "") or self._environ.get(variable, "")
        if not value:
            raise self._config(f"credentials = '{self._settings.credentials}' needs {setting} or {variable}")
        return value

    def _token(self, content: bytes) -> Token:
        answer = _object(content)
        value, now = answer.get("access_token"), self._environment.clock.now()
        try:
            ends = int(answer["expires_on"]) if "expires_on" in answer else None
            ends = ends * 1_000_000 if ends else now + int(answer["expires_in"]) * 1_000_000
            ends = now + int(seconds((ends - now) / 1_000_000) * 1_000_000)
        except (KeyError, TypeError, ValueError, OverflowError):
            ends = now
        if not isinstance(value, str) or not sendable(value) or ends <= now:
            raise UnavailableError(
                "whoever gives tokens gave none that holds", operation="authenticate", store=self._store
            )
        return Token(value, ends)

    def _refused(self, status: int, content: bytes, headers: Mapping[str, str]) -> Exception:
        reason = str(_object(content).get("error", ""))[:40]
        shown = f"{status} {reason}".strip() if reason.replace("_", "").isalnum() else str(status)
        operation, store = "authenticate", self._store
        if status == 429:
            pause = retry_after(headers, self._environment.clock.now())
            return RateLimitedError(
                "too many tokens were asked for", retry_after=pause, operation=operation, store=store
            )
        if status >= 500 or status in (404, 410):  # the machine's service says so while it starts
            return UnavailableError(f"no token was given now ({shown})", operation=operation, store=store)
        return UnauthenticatedError(
            f"the identity was refused ({shown}); correct tenant_id, client_id and its secret or federation",
            operation=operation,
            store=store,
        )

    def _config(self, text: str) -> ConfigError:
        return ConfigError(text, operation="authenticate", store=self._store)


class IdentitySource(Renewing[Credential]):
    """Tokens, renewed ahead of their end and when the service takes one no longer."""


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
