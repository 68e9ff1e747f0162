"""Who we are at Azure: an account key or a link given once, or tokens of an identity that are fetched ahead of their end."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from holdfast.backends.object_store.azure.connection import parse
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.core.clock import moment
from holdfast.core.errors import ConfigError, InvalidRequestError


@dataclass(frozen=True, slots=True)
class AccountKey:
    """One of the two keys of the account: it signs requests and links."""

    value: str = field(repr=False)
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class SharedAccess:
    """A shared access signature: fields that go into every URL."""

    fields: Sequence[tuple[str, str]] = field(repr=False)
    expires: int | None = None  #: microseconds since the epoch


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token of an identity."""

    value: str = field(repr=False)
    expires: int | None = None


Credential = AccountKey | SharedAccess | Token


class CredentialSource(Protocol):
    """Anything that knows the current credential."""

    async def current(self) -> Credential:
        """Return one that holds now."""
        ...

    async def renew(self, stale: Credential) -> Credential:
        """Return a newer one than `stale`, which the service no longer takes; `stale` itself when there is none."""
        ...


class Given:
    """The same credential for ever."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential

    async def current(self) -> Credential:
        return self.credential

    async def renew(self, stale: Credential) -> Credential:
        return self.credential


def given(store: str, settings: AzureSettings) -> Given:
    """Return the key or the link that `settings` hold."""
    if settings.credentials == "connection_string":
        told = parse(settings.connection_string.get_secret_value())
        return Given(AccountKey(told.key) if told.key else _shared(store, told.sas))
    if settings.credentials == "sas":
        return Given(_shared(store, settings.sas_token.get_secret_value()))
    return Given(AccountKey(settings.account_key.get_secret_value()))


def _shared(store: str, text: str) -> SharedAccess:
    fields = parse_qsl(text.lstrip("?"), keep_blank_values=True)
    known = dict(fields)
    if "sig" not in known:
        raise ConfigError(
            "sas_token is no shared access signature: it has no `sig`", operation="open", store=store
        )
    ends = None
    with contextlib.suppress(InvalidRequestError):
        ends = moment(known["se"]) if "se" in known else None
    return SharedAccess(tuple(fields), ends)
