"""Sizes as people write them. K, M, G… are powers of 1,024, with or without an `i`: 1 GB is 1,073,741,824 bytes."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?B?)\s*", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


def parse_size(text: str) -> int:
    """Return the bytes of text such as `64KB`, `1.5 GiB` or `100`; `ValueError` for what is no size."""
    match = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise ValueError(f"{text[:80]!r} is not a size; write for example 64KB, 100MB or 5GiB")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].upper()])


def readable(size: int) -> str:
    """Return a size as people read it: `2.3 GB`, in steps of 1,024."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
