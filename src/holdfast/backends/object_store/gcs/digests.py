"""The CRC32C that every write is sent with and that the store reports of what it has."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from awscrt.checksums import crc32c

from holdfast.backends.object_store.control import Buffer

_PLACES = "crc32c="


def sum_of(data: Buffer, before: int = 0) -> int:
    """Return the CRC32C of `data` after what gave `before`."""
    return int(crc32c(data, before))


def header(value: int) -> str:
    """Return it as the header x-goog-hash carries it."""
    return f"{_PLACES}{base64.b64encode(value.to_bytes(4, 'big')).decode()}"


def told(headers: Mapping[str, str]) -> int | None:
    """Return the CRC32C that an answer reports, None when it reports none."""
    for part in headers.get("x-goog-hash", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "crc32c":
            try:
                data = base64.b64decode(value, validate=True)
            except binascii.Error:
                return None
            return int.from_bytes(data, "big") if len(data) == 4 else None
    return None
