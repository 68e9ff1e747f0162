"""Sizes and times as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator

from holdfast.core import sizes

_TIME: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", re.IGNORECASE)
LONGEST: Final = 100 * 365.25 * 86400.0  #: seconds: beyond it, dates no longer fit where they are kept
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_size(value: object) -> object:
    """Return bytes for text such as `64KB`, `1.5 GiB` or `100`; K, M, G… are powers of 1,024 with or without the i."""
    return sizes.parse_size(value) if isinstance(value, str) else value


def parse_time(value: object) -> object:
    """Return seconds for text such as `30s`, `15m`, `24h`, `7d`, or a bare number of seconds; at most 100 years."""
    if isinstance(value, str):
        match = _TIME.fullmatch(value)
        if match is None:
            raise ValueError(f"{value[:80]!r} is not a duration; write for example 30s, 15m, 24h or 7d")
        value = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    if isinstance(value, int | float) and not value <= LONGEST:
        raise ValueError("this duration is longer than 100 years; write for example 30s, 15m, 24h or 7d")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_time)]
