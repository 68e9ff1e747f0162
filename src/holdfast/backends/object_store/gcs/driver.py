"""Reads through the object-store library: get, ranges and head, with a token that holds.

* Its constructor reads `GOOGLE_*` variables; everything that matters is therefore said explicitly. What it cannot be
  told is refused: two variables for one account make it fail, and the error says so.
* It keeps a token until five minutes before its end and cannot be told that it has ended sooner. So each token has a
  client of its own; the one before lives on until its last request has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import obstore
from obstore.store import GCSStore

from holdfast.backends.object_store.driver import Found, found_in
from holdfast.backends.object_store.errors import Where, from_obstore
from holdfast.backends.object_store.gcs.errors import judge
from holdfast.backends.object_store.gcs.exchanges import Token
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.library import client_options, retry_config
from holdfast.core.errors import ConfigError, HoldfastError, UnauthenticatedError
from holdfast.core.renewing import Renewing
from holdfast.core.types import BlobInfo

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
                return found_in(where, await obstore.get_async(store, key))
            return found_in(where, await obstore.get_async(store, key, options={"range": wish}))

        return await self._with_token(where, ask)

    async def head(self, where: Where, key: str) -> BlobInfo:
        """Return what is known of `key`."""

        async def ask(store: GCSStore) -> BlobInfo:
            return found_in(where, await obstore.get_async(store, key, options={"head": True})).info

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
        options = client_options(settings, plain=settings.allow_http, authority=self._authority)
        if settings.user_project:
            options["default_headers"] = {"x-goog-user-project": settings.user_project}
        try:
            return GCSStore(
                settings.bucket,
                config={"base_url": settings.endpoint, "bearer_token": token.value, "skip_signature": False},
                client_options=options,
                retry_config=retry_config(settings),
            )
        except Exception as error:
            raise ConfigError(
                "the client library does not take the settings; see that GOOGLE_SERVICE_ACCOUNT and its like are not set",
                operation="open",
                store=self._name,
            ) from error
