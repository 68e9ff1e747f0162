"""Stores opened without a catalog: objects called by their own keys, with the layers that a transfer wants."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdfast.core.blob_info import BlobInfo
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.core.backend import Backend

#: Listing page by page: prefix, and by name `after`; with `seen`, see `Place.list`.
Pages = Callable[..., AsyncGenerator[list[BlobInfo]]]
_REGION: Final = "region"


class Plain(NamedTuple):
    """A store whose objects are called by their keys. `etags`: its ETags are MD5 sums. `identity` holds no secret.

    `backend` may be what opens it once something is to be moved: a run that finds all equal need not wait for that.
    """

    backend: Backend | Callable[[], Backend]
    identity: str
    etags: bool
    pages: Pages | None = None  #: lists many at a time, where the store can
    close: Callable[[], Awaitable[None]] | None = None  #: lets go of what `pages` holds


def open_plain(
    name: str, driver: str, values: Mapping[str, Any], *, environment: Environment, jobs: int
) -> Plain:
    """Return the store of that driver and those settings, opened for objects that others read and write as well.

    Raises:
        ConfigError: the settings are wrong.
    """
    settings: Any = _usual(driver, values) or _parsed(name, driver, values)

    def opened() -> Backend:
        return _opened(name, driver, _parsed(name, driver, values), environment, jobs)

    told = _identity(name, driver, settings), _has_md5(driver, settings)
    if driver == "s3" and settings.server.sorted_listing and not settings.per_tenant:
        from holdfast.backends.object_store import open_listing

        listing = open_listing(name, settings, environment=environment)
        return Plain(opened, *told, listing.pages, listing.close)
    return Plain(opened(), *told)


def begin(bucket: str, prefix: str) -> None:
    """Begin to list `s3://bucket/prefix`, which this process is about to open, if that is easily said; else do nothing."""
    from holdfast.backends.object_store import early
    from holdfast.backends.object_store.credentials import EnvironmentCredentials

    with suppress(ConfigError, OSError, RuntimeError, ValueError):  # it is told by whoever opens it
        reach = _usual("s3", s3_of_environment(bucket))
        if reach is not None and reach.server.sorted_listing:
            folder = f"{inner}/" if (inner := prefix.strip("/")) else ""
            early.begin(reach, EnvironmentCredentials().now(), folder, Environment().clock)


def _usual(driver: str, values: Mapping[str, Any]) -> Any:
    """Return the settings where they can be told in a moment, else None."""
    if driver != "s3":
        return None
    from holdfast.backends.object_store.usual import usual

    return usual(values)


def _parsed(name: str, driver: str, values: Mapping[str, Any]) -> Any:
    from holdfast.backends import registry

    fields = registry.driver(driver).settings.model_fields
    own = {key: value for key, value in values.items() if key != _REGION or _REGION in fields}
    try:
        return registry.parse(driver, own)
    except ConfigError as error:
        raise ConfigError(f"store {name}: {error.message}") from error


def _opened(name: str, driver: str, settings: Any, environment: Environment, jobs: int) -> Backend:
    """Return what moves bytes, inside its layers."""
    from holdfast.backends import registry
    from holdfast.layers import stack

    backend: Any = registry.open_backend(name, driver, settings, environment=environment)
    if hasattr(backend, "as_found"):
        backend.as_found()
    layers = stack.StackSettings(max_in_flight=max(2 * jobs, 32))
    return stack.build(backend, layers, environment=environment)


def s3_of_environment(bucket: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the settings of `s3://bucket` as the variables and files of AWS's own programs say them.

    Raises:
        ConfigError: there are no keys.
    """
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
    found: dict[str, Any] = {"bucket": bucket, "endpoint": endpoint}
    if region := environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        found[_REGION] = region
    if endpoint.startswith("http://"):
        found["allow_http"] = True
    if authority := environ.get("AWS_CA_BUNDLE"):
        found["ca_file"] = authority
    file = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        found["credentials"] = "environment"
    elif file.is_file():
        found |= {"credentials": "file", "credentials_file": str(file)}
        found["credentials_profile"] = environ.get("AWS_PROFILE") or "default"
    else:
        raise ConfigError(
            "s3:// takes its keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from ~/.aws/credentials; set"
            " them, or name a store of the configuration with store:NAME"
        )
    return found


def _identity(name: str, driver: str, settings: Any) -> str:
    told = [f"{field}={getattr(settings, field, '')}" for field in ("endpoint", "bucket", "prefix")]
    told += [f"{field}={getattr(settings, field, '')}" for field in ("workspace_id", "storage_name", "path")]
    return ";".join((driver, name if driver not in ("s3", "naas") else "", *told))


def _has_md5(driver: str, settings: Any) -> bool:
    """Tell whether the ETags of the store are MD5 sums: not under encryption with keys of others."""
    if driver == "s3":
        return bool(settings.server.md5_etags) and settings.sse in ("none", "sse-s3")
    if driver == "naas":
        from holdfast.backends.object_store.dialects import DIALECTS

        return bool(DIALECTS[settings.dialect].md5_etags)
    return False
