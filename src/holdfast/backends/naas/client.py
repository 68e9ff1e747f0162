"""The one question that is put to Naas: keys for a storage."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from holdfast.backends._http import Http, Tries, read_bounded, retry_after
from holdfast.backends.naas.answer import Answer, read
from holdfast.backends.naas.settings import NaasSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    HoldfastError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)

_OPERATION: Final = "credentials"
_MOST: Final = 64 << 10
_LONGEST: Final = 10.0  #: seconds between tries, whatever Naas asks for


class NaasClient:
    """Asks Naas for keys of one storage, again while that may help."""

    def __init__(self, store: str, settings: NaasSettings, environment: Environment) -> None:
        self._store, self._settings, self._environment = store, settings, environment
        # One slash at the end and no more: Naas does not know the address with two.
        self._url = (
            f"{settings.api_base}/workspace/{quote(settings.workspace_id, safe='')}/storage/credentials/"
        )
        self._body = json.dumps({"name": settings.storage_name}).encode()

    async def fetch(self) -> Answer:
        """Return new keys. Connections are not kept: keys are asked for a few times a day.

        Raises:
            UnauthenticatedError: the API key is wrong. PermissionDeniedError, ConfigError: no such workspace or storage.
            UnavailableError, RateLimitedError, DeadlineError: not now.
        """
        settings = self._settings
        http = Http(
            self._store,
            self._environment,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        try:
            tries = Tries(self._environment, settings.retries, longest=_LONGEST)
            while True:
                tries.begin()
                try:
                    return await self._once(http)
                except HoldfastError as error:
                    await tries.failed(error)
        finally:
            await http.close()

    async def _once(self, http: Http) -> Answer:
        key = self._settings.api_key.get_secret_value()
        if not key.isprintable() or not key.isascii():
            raise ConfigError("api_key holds characters that no header can carry", store=self._store)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        exchange = http.exchange(
            _OPERATION, "", "POST", self._url, headers=headers, data=self._body, encoded=True
        )
        async with exchange as response:
            text = await read_bounded(response, _MOST)
            now = self._environment.clock.now()
            if 200 <= response.status < 300:
                return read(text, store=self._store, now=now)
            raise _refused(response.status, self._store, retry_after(response.headers, now))


def _refused(status: int, store: str, wait: float | None) -> HoldfastError:
    """Return the error for an answer with that status; what it says besides is not repeated."""
    if status == 401:
        return UnauthenticatedError("Naas does not take the api_key (401); correct it", store=store)
    if status == 403:
        return PermissionDeniedError("the api_key may not use this workspace of Naas (403)", store=store)
    if status == 404 or 300 <= status < 400:
        return ConfigError(
            f"Naas has no such workspace ({status}); correct workspace_id or api_base", store=store
        )
    if status == 429:
        return RateLimitedError("Naas asks to come back later", store=store, retry_after=wait)
    if status in (408, 425) or status >= 500:
        return UnavailableError(f"Naas could not do it now ({status})", store=store, retry_after=wait)
    return InvalidRequestError(f"Naas refused to give keys ({status})", store=store)
