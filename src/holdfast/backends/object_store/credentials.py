"""Where keys come from: given once, read from the environment, or fetched again before they expire."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from holdfast.backends._credentials import Credentials
from holdfast.backends._http import sendable
from holdfast.core.errors import ConfigError
from holdfast.core.renewing import Renewing

__all__ = [
    "CredentialSource",
    "Credentials",
    "EnvironmentCredentials",
    "RefreshingCredentials",
    "RenewableSource",
    "StaticCredentials",
    "newer",
    "renewable",
]


class CredentialSource(Protocol):
    """Anything that knows the current keys."""

    async def current(self) -> Credentials:
        """Return keys that hold now; raise `UnauthenticatedError` or `UnavailableError` when there are none."""
        ...


class RenewableSource(CredentialSource, Protocol):
    """A source that can be told that its keys have ended before their time."""

    async def renew(self, stale: Credentials) -> Credentials:
        """Return newer keys than `stale`, fetched once for all who bring the same."""
        ...


def renewable(source: CredentialSource) -> bool:
    """Return whether the source can be asked for newer keys."""
    return hasattr(source, "renew")


async def newer(source: CredentialSource, stale: Credentials) -> Credentials | None:
    """Return keys other than `stale`, which a server calls ended; None when there are none."""
    renew = getattr(source, "renew", None)
    found: Credentials = await (source.current() if renew is None else renew(stale))
    return None if found == stale else found


class StaticCredentials:
    """The same keys for ever."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials


class EnvironmentCredentials:
    """The keys that `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` hold at the moment of asking."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    async def current(self) -> Credentials:
        return self.now()

    def now(self) -> Credentials:
        """Return the keys; raise `ConfigError` when there are none, or none that could be sent."""
        key, secret = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise ConfigError(
                "credentials = 'environment' needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to be set"
            )
        token = self._environ.get("AWS_SESSION_TOKEN") or None
        if not all(sendable(value) for value in (key, secret, token) if value):
            raise ConfigError(
                "the AWS_* variables hold keys that no request can carry: they are not printable ASCII"
            )
        return Credentials(key, secret, token)


class RefreshingCredentials(Renewing[Credentials]):
    """Keys that `fetch` makes anew; see `Renewing`."""
