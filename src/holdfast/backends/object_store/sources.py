"""From the settings of an S3 store to the source of its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast.backends._credentials import FETCHED, TENANT, Document, fetch_of, keys_of, stamp
from holdfast.backends._http import trusted
from holdfast.backends.object_store.credentials import (
    Credentials,
    CredentialSource,
    EnvironmentCredentials,
    RefreshingCredentials,
    StaticCredentials,
)
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, HoldfastError

_LOOK: Final = 1_000_000  #: microseconds between looks whether a file has changed


def source_of(
    name: str, settings: S3Settings, *, environment: Environment, tenant: str = ""
) -> CredentialSource:
    """Return where the keys of the store `name` come from; nothing is fetched yet.

    Raises:
        ConfigError: they are to be handed in by code, and were not; `ca_file` cannot be read.
    """
    if settings.credentials == "environment":
        return EnvironmentCredentials()
    if settings.credentials in FETCHED:
        return _fetching(name, settings, environment, tenant)
    if settings.credentials == "refreshing":
        raise ConfigError(
            "credentials = 'refreshing' needs a credential source", operation="open", store=name
        )
    token = settings.session_token.get_secret_value() or None
    return StaticCredentials(Credentials(settings.access_key, settings.secret_key.get_secret_value(), token))


class FileCredentials(RefreshingCredentials):
    """Keys of a file, read again when it changes, besides ahead of their end."""

    def watch(self, path: Path, now: Callable[[], int]) -> None:
        """Say which file it is, before the first use."""
        self._path, self._now = path, now
        self._seen, self._looked = stamp(path), now()

    async def current(self) -> Credentials:
        """Return the keys that the file holds, as of a second ago at most."""
        if self._now() - self._looked >= _LOOK:
            self._looked, before = self._now(), self._seen
            self._seen = stamp(self._path)
            if self._seen != before and self._seen is not None:
                return await self.renew(await super().current())
        return await super().current()


def _fetching(
    name: str, settings: S3Settings, environment: Environment, tenant: str
) -> RefreshingCredentials:
    tls = trusted(name, ca_file=settings.ca_file)
    get = fetch_of(
        settings.credentials,
        settings,
        store=name,
        environment=environment,
        tenant=tenant,
        region=settings.server.region,
        tls=tls,
    )
    clock = environment.clock

    async def fetch() -> Credentials:
        try:
            found: Document = await get()
            return keys_of(
                found,
                settings.credentials_fields,
                now=clock.now(),
                what=f"credentials = {settings.credentials!r}",
            )
        except HoldfastError as error:
            error.store = error.store or name  # the file or the command does not know whose keys it gives
            raise

    if settings.credentials == "file":
        source = FileCredentials(fetch, clock=clock)
        source.watch(Path(str(settings.credentials_file).replace(TENANT, tenant)), clock.now)
        return source
    return RefreshingCredentials(fetch, clock=clock)
