"""JSON and TOML that somebody else wrote, read with one kind of error for all that can be wrong with it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any, Final

_DEEP: Final = "it is nested too deeply"


def parse_json(text: str | bytes) -> Any:
    """Return what the JSON says; `ValueError` for everything that cannot be read, also what is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None


def parse_toml(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the tables of TOML; `ValueError` for everything that cannot be read, also what is nested too deeply."""
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError(_DEEP) from None
