"""User metadata under names that Azure takes: those of C# identifiers, so `-`, `.` and a digit in front are written out.

`-` becomes `_2d`, `.` `_2e`, `_` itself `_5f`, a digit in front `_30` to `_39`. Names from elsewhere that hold none of
these come back as they are. Values travel as with S3 (see `object_store.metadata`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from holdfast.backends.object_store import metadata

_SPECIAL = re.compile(r"^[0-9]|[-._]")
_WRITTEN = re.compile(r"_(2d|2e|5f|3[0-9])")
PREFIX = "x-ms-meta-"


def headers(values: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that carry `values`; raises `InvalidRequestError` for what no header can carry."""
    return {PREFIX + _written(name): value for name, value in metadata.encode(values).items()}


def found(answer: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata among the headers (with lower-case names) of an answer."""
    return named({key[len(PREFIX) :]: value for key, value in answer.items() if key.startswith(PREFIX)})


def named(values: Mapping[str, str]) -> dict[str, str]:
    """Return metadata under the names that were given, from what the service shows."""
    return {_read(name): value for name, value in metadata.decode(values).items()}


def _written(name: str) -> str:
    return _SPECIAL.sub(lambda special: f"_{ord(special[0]):02x}", name)


def _read(name: str) -> str:
    return _WRITTEN.sub(lambda code: chr(int(code[1], 16)), name)
