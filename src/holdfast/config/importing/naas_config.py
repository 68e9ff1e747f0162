"""A `config.yaml` whose table `config` names a workspace and a storage of Naas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.config import naas
from holdfast.config.importing.document import Imported, file_of, variable_of
from holdfast.config.secrets import variable
from holdfast.core.errors import ConfigError

_TABLE = "config"


def load(text: str, path: Path) -> Mapping[str, Any]:
    """Return the table that a YAML file holds; nothing in it is executed.

    Raises:
        ConfigError: it is no YAML, or holds something else than a table.
    """
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigError(f"{path} is not valid YAML{line}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold a YAML table")
    return found


def known(found: Mapping[str, Any]) -> bool:
    """Return whether the file names a storage of Naas."""
    table = found.get(_TABLE)
    return isinstance(table, Mapping) and "storage_name" in table


def imported(found: Mapping[str, Any], source: str, environ: Mapping[str, str]) -> Imported:
    """Return the store that the file means; the API key is not in it, but may be in `environ`."""
    made = Imported(source)
    table: Mapping[str, Any] = found[_TABLE]
    place = f"stores.{naas.STORE}"
    made.put(f"{place}.driver", "naas")
    settings = naas.settings_of(table, source)
    for name, value in settings.items():
        made.put(f"{place}.{name}", value)
    key = f"{place}.api_key"
    if value := variable(environ, naas.KEY):
        made.secrets[key] = value
    else:
        made.note(
            place,
            f"api_key: set the variable {variable_of(key)}, or write the key into a file that others cannot read and"
            f' add here: api_key_file = "{file_of(key)}"',
        )
    for other in sorted(str(name) for name in table.keys() - settings.keys()):
        made.leave(f"{_TABLE}.{other}", "says nothing about storage")
    for other in sorted(str(name) for name in found.keys() - {_TABLE}):
        made.leave(other, "says nothing about storage")
    return made
