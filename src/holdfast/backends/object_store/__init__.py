"""S3 and its family (AWS, MinIO, R2, Garage, SeaweedFS, Ceph, rclone…) as a backend.

Comes in: `S3Settings`, and, for keys that change, a `CredentialSource`. Goes out: a `Backend` from `open_s3`.

Promises, beyond those of the protocol: memory stays near `part_size * upload_concurrency` per upload whatever the body;
an upload that fails or is cancelled gives its parts back; a short or damaged answer is an error; no secret is in a
message, a repr or a log. Bytes travel through the object-store library; listings, copies, conditional multipart
uploads and presigned URLs are requests of our own, signed here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from holdfast.backends.object_store.credentials import (
    Credentials,
    CredentialSource,
    EnvironmentCredentials,
    RefreshingCredentials,
    StaticCredentials,
)
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.backends.object_store.backend import ObjectStoreBackend
    from holdfast.backends.object_store.looking import Listing
    from holdfast.backends.object_store.settings import S3Settings
    from holdfast.backends.object_store.tenants import PerTenantBackend
    from holdfast.backends.object_store.usual import Usual
    from holdfast.core.backend import Backend

__all__ = [
    "CredentialSource",
    "Credentials",
    "EnvironmentCredentials",
    "Listing",
    "ObjectStoreBackend",
    "PerTenantBackend",
    "RefreshingCredentials",
    "S3Settings",
    "StaticCredentials",
    "open_listing",
    "open_s3",
    "open_store",
]

_LATER: Final = {
    "Listing": "looking",
    "ObjectStoreBackend": "backend",
    "PerTenantBackend": "tenants",
    "S3Settings": "settings",
}


def open_s3(
    name: str, settings: S3Settings, *, environment: Environment, source: CredentialSource | None = None
) -> ObjectStoreBackend:
    """Return the store `name` at the server of `settings`; nothing is sent yet.

    `source` gives the keys when `settings.credentials` is "refreshing".

    Raises:
        ConfigError: a file that cannot be read, a value that the client library refuses, a missing `source`.
    """
    from holdfast.backends.object_store.backend import ObjectStoreBackend
    from holdfast.backends.object_store.control import ControlClient
    from holdfast.backends.object_store.driver import Driver
    from holdfast.backends.object_store.sources import source_of

    keys = source or source_of(name, settings, environment=environment)
    try:
        driver = Driver(settings, keys)
    except OSError as error:
        raise ConfigError(
            f"ca_file cannot be read: {error.strerror}", operation="open", store=name
        ) from error
    except Exception as error:
        raise ConfigError(
            "the S3 settings are not accepted by the client library", operation="open", store=name
        ) from error
    client = ControlClient(name, settings, keys, environment)
    return ObjectStoreBackend(name, settings, driver=driver, client=client, environment=environment)


def open_store(name: str, settings: S3Settings, *, environment: Environment) -> Backend:
    """Return the store `name`; where `{tenant}` stands in `credentials_…`, with keys of its own for each tenant.

    Raises:
        ConfigError: see `open_s3`.
    """
    if not settings.per_tenant:
        return open_s3(name, settings, environment=environment)

    from holdfast.backends.object_store.sources import source_of
    from holdfast.backends.object_store.tenants import PerTenantBackend

    def open_for(tenant: str) -> ObjectStoreBackend:
        keys = source_of(name, settings, environment=environment, tenant=tenant)
        return open_s3(name, settings, environment=environment, source=keys)

    return PerTenantBackend(name, settings.credentials_tenants, open_for)


def open_listing(name: str, settings: S3Settings | Usual, *, environment: Environment) -> Listing:
    """Return what lists the store `name` and does no more, without what moves bytes; nothing is sent yet.

    Raises:
        ConfigError: a file that cannot be read; keys that only code can hand in.
    """
    from holdfast.backends.object_store.looking import Listing, LookingClient
    from holdfast.backends.object_store.usual import Usual

    if isinstance(settings, Usual):
        keys: CredentialSource = EnvironmentCredentials()
    else:
        from holdfast.backends.object_store.sources import source_of

        keys = source_of(name, settings, environment=environment)
    return Listing(LookingClient(name, settings, keys, environment))


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for: a command that only looks is quick to start."""
    if name not in _LATER:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
