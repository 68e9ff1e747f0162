"""What a `storage_config.json` says: which content types there are, and where each of them belongs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from holdfast.config.importing.document import Imported
from holdfast.config.importing.remote_storage import PROVIDERS
from holdfast.config.importing.storage_config import imported
from holdfast.core.errors import ConfigError, HoldfastError, InvalidRequestError, UnsupportedError
from holdfast.core.parsing import parse_json
from holdfast.engine.provisioning import CONTENT_TYPES

FILES: Final = ("storage_config.json", "config/storage_config.json")
_MOST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Content types, each with its bucket, and the settings that bring every bucket to its store."""

    buckets: Mapping[str, str]  #: content type → bucket
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)  #: settings, secrets among them
    tokens: frozenset[str] = frozenset()  #: the drives that a token was given for
    companies: tuple[str, ...] = ()

    def bucket(self, content_type: str) -> str:
        """Return the bucket of a content type; `InvalidRequestError` for one that nobody knows."""
        try:
            return self.buckets[content_type]
        except KeyError:
            raise InvalidRequestError(
                f"there is no content type {content_type!r:.80}; there are {', '.join(self.buckets)}"
            ) from None

    def storage_type(self, content_type: str, company: str = "") -> str:
        """Return `local`, `minio`, `yandex_disk` or `google_drive`: what a company says, else what holds for all."""
        return _kind(self._store(content_type, company))

    def _store(self, content_type: str, company: str) -> str:
        bucket = self.bucket(content_type)
        rules: Sequence[Mapping[str, Any]] = self.values.get("placement", {}).get("rules", ())
        ordered = sorted(rules, key=lambda rule: "tenants" not in rule["match"])
        for rule in ordered:
            match = rule["match"]
            if company in match.get("tenants", (company,)) and bucket in match.get("buckets", (bucket,)):
                return str(rule["stores"][0])
        return "local"

    def obstacle(self, content_type: str, company: str = "") -> HoldfastError | None:
        """Return why nothing of that content type can be stored; None when it can."""
        kind = self.storage_type(content_type, company)
        described = self.values.get("stores", {}).get(self._store(content_type, company), {})
        if kind not in PROVIDERS or described.get("driver") == kind:
            return None
        if kind not in self.tokens:
            return ConfigError(
                f"{content_type} belong on {kind}, which has no token; give one or choose another storage_type."
                " Nothing is kept elsewhere instead"
            )
        return UnsupportedError(
            f"{content_type} belong on {kind}, for which there is no driver yet; choose another storage_type."
            " Nothing is kept elsewhere instead"
        )


def read(config: Path | str | Mapping[str, Any] | None, root: Path) -> StorageConfig:
    """Return what a configuration says: a file, its content, or None for the file at one of its usual places.

    Objects of the local storage and the catalog lie below `root`. Where there is no file, all content types are local.

    Raises:
        ConfigError: it cannot be read, or names a storage that is unknown or not described.
    """
    source = "storage_config.json"
    if config is None:
        config = next((Path(name) for name in FILES if Path(name).is_file()), None)
    if config is None:
        return StorageConfig(dict(zip(CONTENT_TYPES, CONTENT_TYPES, strict=True)))
    if not isinstance(config, Mapping):
        source = Path(config).name
        config = _parsed(Path(config))
    made = imported(config, source, os.environ)
    kinds = list(config.get("content_types") or {})
    declared = made.values.get("apply", {}).get("buckets", {})
    buckets = [name for name, said in declared.items() if "tenant" not in said]
    if len(kinds) != len(buckets):
        raise ConfigError(f"{source}: two content types come to the same bucket; name them more differently")
    return StorageConfig(
        dict(zip(kinds, buckets, strict=True)),
        _values(made, root),
        frozenset(kind for kind in PROVIDERS if _token(config.get(kind))),
        tuple(made.values.get("apply", {}).get("tenants", ())),
    )


def _values(made: Imported, root: Path) -> dict[str, Any]:
    values = {name: value for name, value in made.values.items() if name != "apply"}
    values["stores"]["local"]["path"] = os.fspath(root / "objects")
    for name, secret in made.secrets.items():
        *above, last = name.split(".")
        place = values
        for step in above:
            place = place[step]
        place[last] = secret
    return values


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            found = parse_json(file.read(_MOST))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    return found


def _kind(store: str) -> str:
    """Return the storage type of a store; one of a company's own is called TYPE_COMPANY."""
    known = ("local", "minio", *sorted(PROVIDERS))
    return next(kind for kind in known if store == kind or store.startswith(f"{kind}_"))


def _token(described: Any) -> bool:
    """Return whether a drive's table holds a token; one of an example is none."""
    if not isinstance(described, Mapping):
        return False
    return any(
        _token(value)
        if isinstance(value, Mapping)
        else "token" in str(name) and bool(value) and not str(value).startswith("YOUR_")
        for name, value in described.items()
    )
