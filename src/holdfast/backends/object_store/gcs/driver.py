"""Reads through the object-store library: get, ranges and head, with a token that holds.

* Its constructor reads `GOOGLE_*` variables; everything that matters is therefore said explicitly. What it cannot be
  told is refused: two variables for one account make it fail, and the error says so.
* It keeps a token until five minutes before its end and cannot be told that it has ended sooner. So each token has a
  client of its own; the one before lives on until its last request has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import obstore
from obstore.store import GCSStore

from holdfast.backends.object_store.control import RETRIED
from holdfast.backends.object_store.driver import Found, found_in
from holdfast.backends.object_store.errors import Where, from_obstore
from holdfast.backends.object_store.gcs.errors import judge
from holdfast.backends.object_store.gcs.exchanges import Token
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.core.errors import ConfigError, HoldfastError, UnauthenticatedError
from holdfast.core.renewing import Renewing
from holdfast.core.types import BlobInfo

_NEVER = timedelta(days=7)
T = TypeVar("T")


class GcsDriver:
    """Get and head of one bucket by key."""

    def __init__(self, store: str, settings: GcsSettings, tokens: Renewing[Token], authority: bytes) -> None:
        self._name = store
        self._settings = settings
        self._tokens = tokens
        self._authority = authority
        self._held: Token | None = None  #: the token that `_store` was opened for
        self._store = self._open(Token(""))

    async def get(self, where: Where, key: str, wish: Any = None) -> Found:
        """Open `key`, all of it or the range that `wish` is in the library's terms."""

        async def ask(store: GCSStore) -> Found:
            if wish is None:
                return found_in(where.name, await obstore.get_async(store, key))
            return found_in(where.name, await obstore.get_async(store, key, options={"range": wish}))

        return await self._with_token(where, ask)

    async def head(self, where: Where, key: str) -> BlobInfo:
        """Return what is known of `key`."""

        async def ask(store: GCSStore) -> BlobInfo:
            return found_in(where.name, await obstore.get_async(store, key, options={"head": True})).info

        return await self._with_token(where, ask)

    def translate(self, error: BaseException, where: Where) -> HoldfastError:
        """Return our error for one of the library's."""
        return from_obstore(error, where, judge)

    async def _with_token(self, where: Where, call: Callable[[GCSStore], Awaitable[T]]) -> T:
        token = await self._tokens.current()
        try:
            return await self._translated(where, call, token)
        except UnauthenticatedError:
            token = await self._tokens.renew(token)
        return await self._translated(where, call, token)

    async def _translated(self, where: Where, call: Callable[[GCSStore], Awaitable[T]], token: Token) -> T:
        try:
            return await call(self._opened(token))
        except Exception as error:
            raise self.translate(error, where) from error

    def _opened(self, token: Token) -> GCSStore:
        if self._held != token:
            self._store, self._held = self._open(token), token
        return self._store

    def _open(self, token: Token) -> GCSStore:
        settings = self._settings
        try:
            return GCSStore(
                settings.bucket,
                config={"base_url": settings.endpoint, "bearer_token": token.value, "skip_signature": False},
                client_options=cast(Any, _client(settings, self._authority)),
                retry_config={
                    "max_retries": settings.retries,
                    "retry_timeout": timedelta(seconds=RETRIED),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=5),
                        "base": 2,
                    },
                },
            )
        except Exception as error:
            raise ConfigError(
                "the client library does not take the settings; see that GOOGLE_SERVICE_ACCOUNT and its like are not set",
                operation="open",
                store=self._name,
            ) from error


def _client(settings: GcsSettings, authority: bytes) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=settings.connect_timeout),
        "read_timeout": timedelta(seconds=settings.read_timeout),
        "timeout": _NEVER,
        "allow_http": settings.allow_http,
        "allow_invalid_certificates": not settings.verify_tls,
        "pool_idle_timeout": timedelta(seconds=30),
    }
    if authority:
        options["root_certificate"] = authority
    if settings.user_project:
        options["default_headers"] = {"x-goog-user-project": settings.user_project}
    return options
