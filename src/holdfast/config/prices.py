"""Reading price books: the one that comes with the program, and the operator's own."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from holdfast.core.errors import ConfigError
from holdfast.core.parsing import parse_toml

Rows = dict[str, Any]


def price_rows(own: Path | None) -> tuple[Rows, ...]:
    """Return the rows of each book, the operator's last.

    Raises:
        ConfigError: the operator's file cannot be read, or is no TOML with tables below `prices`.
    """
    return (_packaged(),) if own is None else (_packaged(), _read(own))


@cache
def _packaged() -> Rows:
    text = (files("holdfast") / "policy" / "prices.toml").read_text("utf-8")
    rows: Rows = tomllib.loads(text, parse_float=Decimal)["prices"]
    return rows


def _read(path: Path) -> Rows:
    try:
        found = parse_toml(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"the price book {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the price book {path} is no TOML: {error}") from error
    rows = found.get("prices", {})
    if not isinstance(rows, dict) or found.keys() - {"prices"}:
        raise ConfigError(f'the price book {path} holds nothing but tables such as [prices."wasabi"]')
    return rows
