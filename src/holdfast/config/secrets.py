"""Secrets from files: `NAME_FILE` beside every setting that holds a secret, in variables and in the configuration."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from holdfast.core.errors import ConfigError

#: Settings of a store that a file may hold: `secret_key_file = "/run/credentials/…"`.
STORE_SECRETS: Final = frozenset(
    {
        "access_key",
        "account_key",
        "api_key",
        "client_secret",
        "password",
        "refresh_token",
        "secret_key",
        "service_account",
        "session_token",
        "sse_c_key",
        "token",
    }
)
#: Settings of the service that a file may hold; a catalog's URL carries a password.
SECRETS: Final = frozenset({"catalog", "seal_keys", "secret"})
_MOUNTED: Final = "/run/secrets"  #: where a container engine mounts secrets for one container alone
_MOST: Final = 64 << 10


def read_secret(path: Path | str, what: str) -> str:
    """Return what the file holds, without the line's end; `what` names the setting in errors.

    Others than its owner must not be able to read it, unless it lies where systemd (`$CREDENTIALS_DIRECTORY`) or a
    container engine (`/run/secrets`) hands it to this service alone.

    Raises:
        ConfigError: it cannot be read, is open to others, empty, or no text. The content is never shown.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{what}: {path} is not a file")
            if status.st_mode & 0o077 and not _handed_over(path):
                raise ConfigError(
                    f"{what}: other users can read {path} (mode {stat.S_IMODE(status.st_mode):04o});"
                    f" close it with: chmod 600 {path}"
                )
            raw = file.read(_MOST + 1)
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {path}: {error.strerror}") from error
    return _text(raw, path, what)


def resolve(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of one source with every `NAME_file` replaced by `NAME`; `where` goes before names in errors."""
    found = _resolved(given, SECRETS, where)
    stores = found.get("stores")
    if isinstance(stores, Mapping):
        found["stores"] = {
            name: _resolved(store, STORE_SECRETS, f"{where}stores.{name}.")
            if isinstance(store, Mapping)
            else store
            for name, store in stores.items()
        }
    return found


def from_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the `name_file` settings that variables such as `HOLDFAST_SECRET_FILE` give."""
    found = {}
    for name in SECRETS:
        if path := environ.get(f"HOLDFAST_{name.upper()}_FILE"):
            found[f"{name}_file"] = path
    return found


def variable(environ: Mapping[str, str], name: str) -> str:
    """Return the variable `name`, or what the file named by `NAME_FILE` holds; "" when neither is set."""
    path = environ.get(f"{name}_FILE", "")
    if not path:
        return environ.get(name, "")
    if environ.get(name):
        raise ConfigError(f"{name} and {name}_FILE are both set; leave one of them out")
    return read_secret(path, f"{name}_FILE")


def _resolved(given: Mapping[str, Any], secrets: frozenset[str], where: str) -> dict[str, Any]:
    found = dict(given)
    for name in secrets:
        path = found.pop(f"{name}_file", None)
        if path is None:
            continue
        what = f"{where}{name}_file"
        if not isinstance(path, str) or not path:
            raise ConfigError(f"{what} must be the path of a file")
        if found.get(name):
            raise ConfigError(f"{what} and {name} are both set; leave one of them out")
        found[name] = read_secret(path, what)
    return found


def _handed_over(path: Path) -> bool:
    places = [_MOUNTED]
    if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
        places.append(directory)
    real = path.resolve()
    return any(real.is_relative_to(Path(place).resolve()) for place in places)


def _text(raw: bytes, path: Path, what: str) -> str:
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: {path} is not text; write the secret as UTF-8, or in Base64") from None
    if not text.strip() or len(raw) > _MOST:
        raise ConfigError(f"{what}: {path} must hold one secret, and nothing else")
    return text
