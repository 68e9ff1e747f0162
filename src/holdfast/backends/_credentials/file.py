"""Keys that another program keeps in a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from holdfast.backends._credentials.document import MOST, Document, parsed
from holdfast.core.errors import ConfigError, UnauthenticatedError

Stamp = tuple[int, int, int]
#: Where container engines and Kubernetes mount secrets for one container alone.
_MOUNTED: Final = ("/run/secrets", "/var/run/secrets")


def from_file(path: Path, profile: str) -> Document:
    """Return the JSON object in the file, or the profile where it has profiles.

    Raises:
        ConfigError: it cannot be read, others can read it, or it has no such profile.
        UnauthenticatedError: it is neither JSON nor profiles.
    """
    text = read_private(path, "credentials_file")
    if text.lstrip().startswith(b"{"):
        return parsed(text, f"credentials_file {path}")
    import configparser  # few keep their keys so, and it is slow to import

    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text.decode())
    except (configparser.Error, UnicodeDecodeError):
        raise UnauthenticatedError(f"credentials_file {path} is neither JSON nor profiles") from None
    if not parser.has_section(profile):
        raise ConfigError(f"credentials_file {path} has no profile {profile!r}; set credentials_profile")
    return dict(parser.items(profile))


def read_private(path: Path, what: str) -> bytes:
    """Return what the file holds; it must be closed to other users, unless it is where secrets are handed over."""
    text = read(path, what)
    mode = path.stat().st_mode
    if mode & 0o077 and not _handed_over(path):
        raise ConfigError(
            f"{what}: other users can read {path} (mode {stat.S_IMODE(mode):04o}); close it with: chmod 600 {path}"
        )
    return text


def read(path: Path, what: str) -> bytes:
    """Return what the file holds, 64 KiB at most."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST + 1)
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {path}: {error.strerror}") from None
    if len(text) > MOST:
        raise ConfigError(f"{what}: {path} is larger than 64 KiB; that is no file with keys")
    return text


def token(path: Path, what: str) -> str:
    """Return the token that the file holds now. Kubernetes mounts such files open to the whole container."""
    try:
        found = read(path, what).decode().strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: {path} is not text") from None
    if not found or not found.isprintable():
        raise ConfigError(f"{what}: {path} holds no token")
    return found


def stamp(path: Path) -> Stamp | None:
    """Return what changes when the file does; None while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _handed_over(path: Path) -> bool:
    places = [*_MOUNTED, *filter(None, [os.environ.get("CREDENTIALS_DIRECTORY")])]
    real = path.resolve()
    return any(real.is_relative_to(Path(place).resolve()) for place in places)
