"""The variables and the `config.yaml` of programs that keep their files in a Naas workspace, as the settings of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.config.secrets import variable
from holdfast.config.translation import Translation
from holdfast.core.errors import ConfigError

STORE: Final = "naas"  #: the name of the store that the variables make
KEY: Final = "NAAS_API_KEY"
_WANTED: Final = {"workspace_id": "NAAS_WORKSPACE_ID", "storage_name": "NAAS_STORAGE_NAME"}
_FURTHER: Final = {"api_base": "NAAS_PYTHON_API_BASE_URL", "s3_endpoint": "NAAS_S3_ENDPOINT_URL"}
#: Every variable that is understood here, with what it means.
VARIABLES: Final[Mapping[str, str]] = {
    KEY: "API key of Naas",
    "NAAS_WORKSPACE_ID": "the workspace of Naas that the process works in",
    "NAAS_STORAGE_NAME": "the storage of that workspace; with it the variables make a store called `naas`",
    "NAAS_PYTHON_API_BASE_URL": "URL of the Naas API, where it is another one",
    "NAAS_S3_ENDPOINT_URL": "URL of the S3 server behind Naas; AWS when missing",
}


def asks(environ: Mapping[str, str]) -> bool:
    """Return whether a storage is meant; a key or a workspace alone may be there for something else."""
    return bool(environ.get("NAAS_STORAGE_NAME"))


def translate(made: Translation, environ: Mapping[str, str]) -> None:
    """Add the store to `made`.

    Raises:
        ConfigError: naming the variables that are missing.
    """
    place = f"stores.{STORE}"
    key = variable(environ, KEY)
    missing = [name for name in _WANTED.values() if not environ.get(name)] + ([] if key else [KEY])
    if missing:
        raise ConfigError(f"{' and '.join(missing)} must be set beside NAAS_STORAGE_NAME (or {KEY}_FILE)")
    made.put(f"{place}.driver", "naas", "NAAS_STORAGE_NAME")
    for setting, name in _WANTED.items():
        made.put(f"{place}.{setting}", environ[name].strip(), name)
    for setting, value in addresses(environ).items():
        made.put(f"{place}.{setting}", value, _FURTHER.get(setting, "NAAS_S3_ENDPOINT_URL"))
    made.put(f"{place}.api_key", key, KEY)


def addresses(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that say where Naas and its S3 server are, as far as the variables say it."""
    found: dict[str, Any] = {}
    for setting, name in _FURTHER.items():
        if value := environ.get(name, "").strip():
            found[setting] = value
    if str(found.get("s3_endpoint", "")).startswith("http://"):
        found["allow_http"] = True
    return found


def settings_of(config: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return workspace and storage as the table `config` of a `config.yaml` names them.

    Raises:
        ConfigError: one is missing, or is no name.
    """
    found = {}
    for name in _WANTED:
        value = config.get(name)
        if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
            raise ConfigError(f"{where}: config.{name} must be there, and be a name")
        found[name] = str(value).strip()
    return found
