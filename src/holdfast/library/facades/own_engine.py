"""Settings for an engine of a facade's own: what the facade says, and variables for the rest; no `holdfast.toml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.config import Settings
from holdfast.core.errors import ConfigError


def settings_for(data: str | os.PathLike[str], values: Mapping[str, Any]) -> Settings:
    """Return the settings `values` with the catalog in the directory `data`, and objects too where no stores are named.

    Raises:
        ConfigError: naming the setting that is wrong.
    """
    folder = Path(data)
    local = {"driver": "local", "path": os.fspath(folder.resolve() / "objects"), "create": True}
    usual = {"stores": {"local": local}, "placement": {"stores": ("local",)}}
    try:
        return Settings(**{**usual, **values, "data": folder})
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise ConfigError("; ".join(f"{_where(problem)}: {_what(problem)}" for problem in problems)) from None


def _where(problem: Mapping[str, Any]) -> str:
    return ".".join(str(step) for step in problem["loc"])


def _what(problem: Mapping[str, Any]) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")
