"""A connection to an S3 server as the older formats write it, turned into a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.config.importing.document import Imported
from holdfast.config.importing.harmless import carries_password
from holdfast.core.errors import ConfigError


def store(made: Imported, name: str, given: Mapping[str, Any], where: str) -> None:
    """Add the store `name` for a table with `endpoint`, `access_key`, `secret_key`, `bucket` (and `secure`, `region`, …).

    Raises:
        ConfigError: something is missing that has no default.
    """
    endpoint = str(given.get("endpoint") or "").strip()
    missing = [key for key in ("endpoint", "access_key", "secret_key", "bucket") if not given.get(key)]
    if missing:
        raise ConfigError(
            f"{where} is used, but has no {' and no '.join(missing)}; objects that belong there would have no place"
        )
    if "://" not in endpoint:
        secure = given.get("secure", endpoint.endswith(":443"))
        if not isinstance(secure, bool):
            raise ConfigError(f"{where}: secure must be true or false")
        endpoint = f"{'https' if secure else 'http'}://{endpoint}"
    elif not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"{where}: endpoint must be host:port, or a URL with http:// or https://")
    for member, url in (("endpoint", endpoint), ("public_url", str(given.get("public_url") or ""))):
        if carries_password(url):
            raise ConfigError(
                f"{where}: {member} holds a user, a password or parameters beside the address; take them out:"
                " access_key and secret_key are the place for credentials"
            )
    place = f"stores.{name}"
    made.put(f"{place}.driver", "s3")
    made.put(f"{place}.endpoint", endpoint)
    if endpoint.startswith("http://"):
        made.put(f"{place}.allow_http", True, "contents travel unencrypted, as before")
    made.put(f"{place}.region", str(given.get("region") or "us-east-1"))
    made.put(
        f"{place}.bucket", str(given["bucket"]), "must exist on the server; what lies there stays untouched"
    )
    made.put(f"{place}.prefix", str(given.get("prefix") or "holdfast"))
    made.put(f"{place}.access_key", str(given["access_key"]))
    made.secrets[f"{place}.secret_key"] = str(given["secret_key"])
    if public := given.get("public_url"):
        made.put(f"{place}.public_endpoint", str(public))
    known = {
        *("endpoint", "access_key", "secret_key", "bucket", "secure", "region", "prefix", "public_url"),
        "enabled",
    }
    for other in sorted(given.keys() - known):
        made.leave(f"{where}.{other}", "no setting of an S3 store; see docs/reference/stores.md")
