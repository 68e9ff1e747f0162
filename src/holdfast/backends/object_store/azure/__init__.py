"""Azure Blob Storage as a backend.

Comes in: `AzureSettings`, and, for credentials from elsewhere, a `CredentialSource`. Goes out: a `Backend` from
`open_azure`.

Promises, beyond those of the protocol: memory stays near `part_size * upload_concurrency` per upload whatever the
body; the service checks each body against its MD5 and keeps that of the whole blob; uploads of one name never mix; a
short or damaged answer is an error; no secret is in a message, a repr or a log. What it cannot: take blocks back when
an upload fails without making something visible; `discard` does, and the service after a week.
"""

from __future__ import annotations

from holdfast.backends._http import Http, tls_context
from holdfast.backends.object_store.azure.backend import AzureBackend
from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.azure.credentials import (
    AccountKey,
    Credential,
    CredentialSource,
    SharedAccess,
    Token,
    given,
)
from holdfast.backends.object_store.azure.driver import Driver
from holdfast.backends.object_store.azure.identity import Identity, IdentitySource
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, HoldfastError

__all__ = [
    "AccountKey",
    "AzureBackend",
    "AzureSettings",
    "Credential",
    "CredentialSource",
    "SharedAccess",
    "Token",
    "open_azure",
]


def open_azure(
    name: str, settings: AzureSettings, *, environment: Environment, source: CredentialSource | None = None
) -> AzureBackend:
    """Return the store `name` in the container of `settings`; nothing is sent yet.

    `source` replaces the credential of `settings`.

    Raises:
        ConfigError: a file that cannot be read, a value that the client library refuses.
    """
    try:
        trust = tls_context(verify=settings.verify_tls, ca_file=settings.ca_file) if settings.tls else True
        http = Http(
            name,
            environment,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            tls=trust,
        )
        client = Client(
            name, settings, source or _source(name, settings, environment, http), environment, http
        )
        driver = Driver(settings, client)
    except HoldfastError:
        raise
    except OSError as error:
        raise ConfigError(
            f"ca_file cannot be read: {error.strerror}", operation="open", store=name
        ) from error
    except Exception as error:
        raise ConfigError(
            "the Azure settings are not accepted by the client library", operation="open", store=name
        ) from error
    return AzureBackend(name, settings, driver=driver, client=client, http=http, environment=environment)


def _source(name: str, settings: AzureSettings, environment: Environment, http: Http) -> CredentialSource:
    if not settings.identity:
        return given(name, settings)
    identity = Identity(name, settings, environment, http)
    return IdentitySource(identity.fetch, clock=environment.clock)
