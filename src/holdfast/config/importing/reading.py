"""Finding out which older format a file has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from holdfast.config.importing import naas_config, remote_storage, storage_config, variables
from holdfast.config.importing.document import Imported
from holdfast.core.errors import ConfigError
from holdfast.core.parsing import parse_json

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_NAMED: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MOST: Final = 1 << 20


def import_file(path: Path, environ: Mapping[str, str]) -> Imported:
    """Return what the file means here; `${NAME}` in an environment file is looked up in it and then in `environ`.

    Raises:
        ConfigError: it cannot be read, has none of the known formats, or says something that cannot be meant.
    """
    text = _text(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        table = naas_config.load(text, path)
        if not naas_config.known(table):
            raise ConfigError(
                f"{path} is no configuration that can be imported: a config.yaml has config.storage_name"
            )
        return naas_config.imported(table, path.name, environ)
    if path.suffix.lower() != ".json" and not text.lstrip().startswith("{"):
        return variables.imported(_variables(text, path, environ), path.name)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    if "content_types" in found:
        return storage_config.imported(found, path.name, environ)
    if remote_storage.PROVIDERS & found.keys():
        return remote_storage.imported(found, path.name, environ)
    raise ConfigError(
        f"{path} is no configuration that can be imported: a storage_config.json has `content_types`, a"
        f" remote_storage.json has {' or '.join(sorted(remote_storage.PROVIDERS))}; variables are read from a .env"
        " file or with --env"
    )


def import_environment(environ: Mapping[str, str]) -> Imported:
    """Return what the variables of this process mean here."""
    return variables.imported(environ, "the environment")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()[: _MOST + 1]
        if len(raw) > _MOST:
            raise ConfigError(f"{path} is larger than 1 MiB; that is no configuration")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8") from error


def _variables(text: str, path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment file."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{path} line {number} is no NAME=value; is it a .env file or a JSON one?")
        found[match[1]] = _plain(match[2], {**environ, **found}, f"{path} line {number}")
    return found


def _plain(value: str, known: Mapping[str, Any], where: str) -> str:
    """Return a value without its quotes and comment, and with the variables that it names."""
    if value[:1] == "'":
        return value[1:].partition("'")[0]
    value = (
        value[1:].partition('"')[0] if value[:1] == '"' else re.split(r"\s+#", value, maxsplit=1)[0].strip()
    )

    def held(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ConfigError(f"{where} names the variable {match[1]}, which is not set")
        return str(known[match[1]])

    return _NAMED.sub(held, value)
