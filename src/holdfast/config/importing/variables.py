"""The variables of older services, as a file: what `config.legacy` makes of them when a process starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from holdfast.config import legacy, near_far
from holdfast.config.importing import yandex_disk
from holdfast.config.importing.document import Imported
from holdfast.config.importing.harmless import carries_password
from holdfast.config.secrets import STORE_SECRETS
from holdfast.core.errors import ConfigError

#: Variables that go with those that are known, and have no meaning here.
_WITHOUT: Final[Mapping[str, str]] = {
    "MONGODB_URL": "there is no second database",
    "MONGODB_DB": "there is no second database",
    "STORAGE_PATH": "files of before stay where they are; the store `local` has a folder of its own",
    "REMOTE_STORAGE_CONFIG": "import that file by itself",
    "BACKUP_DESTINATION": "backups go to a store: set backup.store; see docs/guides/backing-up.md",
    yandex_disk.WITHOUT: "there are as many pools as hosts",
    "MINIO_PUBLIC_URL": "set public_endpoint of the store",
    "MLFLOW_S3_ENDPOINT_URL": "MLflow reaches its server itself",
}
#: Variables that are part of what another one gives.
_FOLDED: Final = frozenset({"MINIO_SECURE", "STORAGE_TYPE"})
_WHOLE: Final = frozenset({"port", "default_retention_days"})
_STARTS: Final = ("YANDEX_", "BACKUP_", "INTERNAL_", "EXTERNAL_", "OBJECT_STORAGE_", "MINIO_", "NAAS_")


def imported(environ: Mapping[str, str], source: str) -> Imported:
    """Return what the variables mean, as a file.

    Raises:
        ConfigError: one is wrong, or none of them is known.
    """
    translated = legacy.translate(environ)
    made = Imported(source)
    two = "internal" in translated.values.get("stores", {})
    used = set(translated.origins.values()) - {"default"} | _FOLDED
    if two:
        used |= {
            name for name in near_far.VARIABLES if name.startswith(("INTERNAL_BUCKET_", "EXTERNAL_BUCKET_"))
        }
    for name, value in _leaves(translated.values):
        if isinstance(value, str) and "://" in value and carries_password(value):
            raise ConfigError(
                f"{translated.origins.get(name, name)} holds a user, a password or parameters beside the address;"
                " take them out: the variables for access key and secret key are the place for credentials"
            )
        if name.startswith("stores.") and name.rpartition(".")[2] in STORE_SECRETS - {"access_key"}:
            made.secrets[name] = str(value)
        else:
            made.put(name, int(value) if name in _WHOLE and str(value).isdecimal() else value)
    for name, why in _left(environ, used):
        made.leave(name, why)
    if not made.values and not made.secrets and not made.left:
        raise ConfigError(
            f"{source} sets none of the variables that are known; docs/reference/compatibility.md lists them"
        )
    return made


def _left(environ: Mapping[str, str], used: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that were set and came to nothing, each with the reason; never a value."""
    for name in sorted(environ):
        known = name.removesuffix("_FILE")
        if not environ[name] or known in used or name in used:
            continue
        if known in _WITHOUT:
            yield name, _WITHOUT[known]
        elif name in yandex_disk.VARIABLES:
            setting = yandex_disk.VARIABLES[name][0]
            value = yandex_disk.number(name, environ[name])
            yield (
                name,
                f"set {setting} = {value} of a store on Yandex.Disk, or import its storage_config.json",
            )
        elif known in legacy.VARIABLES:
            if not known.startswith("AWS_"):
                yield name, "not needed, as the others are set"
        elif name.startswith(_STARTS):
            yield name, "not known here"


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
