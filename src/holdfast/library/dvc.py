"""The files of a DVC repository that name a remote: changed line by line, so that everything else in them stays.

What may be committed goes to `config`, keys go to `config.local`, which git ignores and only its owner can read.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.library.files import local_errors

SECRETS: Final = ("access_key_id", "secret_access_key", "session_token")
_IGNORED: Final = "/config.local"
_HEADING: Final = re.compile(r"\s*\[\s*(?P<name>.*?)\s*\]\s*(?:#.*)?")
_OPTION: Final = re.compile(r"\s*(?P<name>[A-Za-z_][\w-]*)\s*=\s*(?P<value>.*?)\s*")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:+=@~-]+")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote: `public` for the committed file, `secret` for the other; None takes an option away."""

    public: Mapping[str, str | None]
    secret: Mapping[str, str | None] = field(repr=False)
    expires: int | None = None  #: when its keys end, microseconds since the epoch


@dataclass(frozen=True, slots=True)
class Written:
    """What was done: the files, and the remote that DVC uses when none is named."""

    config: Path
    local: Path
    default: str


def check_name(name: str) -> str:
    """Return `name` when a remote may be called so, else raise `InvalidRequestError`."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{name[:80]!r} is no name for a remote: use letters, digits, '.', '_' and '-'"
        )
    return name


def find(start: Path) -> Path:
    """Return the `.dvc` directory of the repository that `start` is in.

    Raises:
        ConfigError: it is in none.
    """
    for folder in (start, *start.parents):
        if (folder / ".dvc" / "config").is_file():
            return folder / ".dvc"
    raise ConfigError(
        f"{start} is in no DVC repository; make one with: dvc init (or name its .dvc directory with --dir)"
    )


def write(folder: Path, name: str, remote: Remote, *, default: bool = False) -> Written:
    """Write the remote `name` into the `.dvc` directory `folder`; one of that name is brought up to date.

    It becomes the default one when `default` says so, or when there is none.
    """
    section = f'remote "{check_name(name)}"'
    config, local = folder / "config", folder / "config.local"
    with local_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        _ignore(folder / ".gitignore")
        before = _read(config)
        usual = value_of(before, "core", "remote")
        public = dict(remote.public) | dict.fromkeys(
            SECRETS
        )  # keys that somebody committed do not stay there
        text = with_options(before, section, public)
        if default or not usual:
            text, usual = with_options(text, "core", {"remote": name}), name
        # first what is secret: a remote that is named but cannot be entered would only confuse
        _replace(local, with_options(_read(local), section, remote.secret), 0o600)
        _replace(config, text, stat.S_IMODE(config.stat().st_mode) if config.exists() else 0o644)
    return Written(config, local, usual)


def with_options(text: str, section: str, options: Mapping[str, str | None]) -> str:
    """Return `text` with those options in `section`, which is added if need be; all other lines stay as they are."""
    lines = text.splitlines()
    left = {name: value for name, value in options.items() if value is not None}
    kept: list[str] = []
    last, inside = -1, False
    for line in lines:
        if heading := _HEADING.fullmatch(line):
            inside = _unquoted(heading["name"]) == section
        elif inside and (option := _OPTION.fullmatch(line)) and option["name"] in options:
            if option["name"] not in left:
                continue
            line = f"    {option['name']} = {quoted(left.pop(option['name']))}"
        kept.append(line)
        if inside and line.strip():
            last = len(kept)
    fresh = [f"    {name} = {quoted(value)}" for name, value in left.items()]
    if fresh and last < 0:
        shown = f"'{section}'" if '"' in section else section
        kept, last = [*kept, f"[{shown}]"], len(kept) + 1
    if fresh:
        kept[last:last] = fresh
    return "".join(f"{line}\n" for line in kept)


def value_of(text: str, section: str, option: str) -> str:
    """Return an option of a section; "" when it is not there."""
    inside, found = False, ""
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            inside = _unquoted(heading["name"]) == section
        elif inside and (said := _OPTION.fullmatch(line)) and said["name"] == option:
            found = _unquoted(said["value"])
    return found


def quoted(value: str) -> str:
    """Return a value as DVC reads it back.

    Raises:
        ConfigError: it cannot be written so; the value is not shown.
    """
    if _PLAIN.fullmatch(value):
        return value
    if not value.isprintable() or ('"' in value and "'" in value):
        raise ConfigError("a value holds characters that DVC's configuration cannot hold")
    return f"'{value}'" if '"' in value else f'"{value}"'


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _ignore(path: Path) -> None:
    """Have git leave the file with the keys alone."""
    before = _read(path)
    if _IGNORED not in before.split():
        ending = "" if not before or before.endswith("\n") else "\n"
        _replace(path, f"{before}{ending}{_IGNORED}\n", 0o644)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; mend it first") from None


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a file whole; it is never readable for more than `mode` allows, not even while it is written."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
