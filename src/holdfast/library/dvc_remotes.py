"""From a store to a remote of DVC: where it is, and the keys that hold now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from holdfast.backends import registry
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, UnsupportedError
from holdfast.library.dvc import SECRETS, Remote

#: Options that a remote may have got from an earlier store of another kind.
_OPTIONS: Final = ("endpointurl", "region", "ssl_verify", "sse", "sse_kms_key_id")


async def remote_of(
    name: str, driver: str, values: Mapping[str, Any], folder: str, *, environment: Environment
) -> Remote:
    """Return the remote for a folder of a store; keys that end are fetched anew.

    Raises:
        ConfigError: the settings are wrong. UnsupportedError: DVC cannot enter such a store by what is known of it.
        UnauthenticatedError, UnavailableError: there are no keys now.
    """
    fields = registry.driver(driver).settings.model_fields
    own = {key: value for key, value in values.items() if key != "region" or key in fields}
    settings: Any = registry.parse(driver, own)
    if driver == "local":
        where = Path(str(settings.path)).resolve() / folder
        return Remote({"url": str(where)} | dict.fromkeys(_OPTIONS), dict.fromkeys(SECRETS))
    if driver == "naas":
        return await _naas(name, settings, folder, environment)
    if driver == "s3":
        return await _s3(name, settings, folder, environment)
    raise UnsupportedError(f"DVC remotes are written for stores of s3, naas and local; {name} is {driver}")


async def _s3(name: str, settings: Any, folder: str, environment: Environment) -> Remote:
    from holdfast.backends.object_store.sources import source_of

    if settings.sse == "sse-c":
        raise UnsupportedError(
            f"store {name} is encrypted with a customer's key, which DVC would have to be told"
        )
    keys = await source_of(name, settings, environment=environment).current()
    public = _public(settings.bucket, f"{settings.prefix}{folder}", settings.endpoint)
    public["region"] = settings.server.region or None
    if settings.sse != "none":
        public["sse"] = "AES256" if settings.sse == "sse-s3" else "aws:kms"
        public["sse_kms_key_id"] = settings.sse_kms_key_id or None
    return Remote(public, _own(keys, settings), keys.expires)


async def _naas(name: str, settings: Any, folder: str, environment: Environment) -> Remote:
    from holdfast.backends.naas import NaasClient

    answer = await NaasClient(name, settings, environment).fetch()
    parts = (answer.prefix, settings.prefix, folder)
    path = "/".join(part.strip("/") for part in parts if part.strip("/"))
    public = _public(answer.bucket, path, settings.s3_endpoint)
    public["region"] = settings.region or answer.region or None
    return Remote(public, _own(answer.credentials, settings), answer.expires)


def _public(bucket: str, path: str, endpoint: str) -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(_OPTIONS)
    return found | {"url": f"s3://{bucket}/{path}", "endpointurl": endpoint or None}


def _own(keys: Any, settings: Any) -> dict[str, str | None]:
    if not keys.access_key or not keys.secret_key:
        raise ConfigError("the store has no keys that could be written for DVC")
    verify = str(settings.ca_file.resolve()) if settings.ca_file else None if settings.verify_tls else "false"
    held = dict(zip(SECRETS, (keys.access_key, keys.secret_key, keys.token or None), strict=True))
    return held | {"ssl_verify": verify}  # the path of a certificate is this machine's, and nobody else's
