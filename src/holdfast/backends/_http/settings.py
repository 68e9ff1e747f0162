"""Settings that mean the same to every driver which speaks HTTP, and what may stand in an address and a folder.

They are types of fields, not a base class: a driver keeps the order in which it shows its settings, and its defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

VerifyTls = Annotated[bool, Field(description="check the server's certificate")]
CaFile = Annotated[
    Path | None, Field(description="PEM file with a certificate authority to trust in addition")
]
ConnectTimeout = Annotated[float, Field(gt=0, le=300, description="longest wait for a connection")]
ReadTimeout = Annotated[
    float, Field(gt=0, le=3600, description="longest silence of the server while it should speak")
]
Retries = Annotated[
    int,
    Field(ge=0, le=10, description="further tries of one HTTP request, under the store's own retry layer"),
]


def checked_url(value: str, like: str, *, instead: str = "", needed: bool = False) -> str:
    """Return an address without a slash at its end, or "" unless it is `needed`.

    Raises:
        ValueError: it is not http(s), has a query, or carries credentials (`instead` says where these belong).
    """
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if (value or needed) and (not sound or parts.query or parts.fragment):
        raise ValueError(f"must be a URL like {like}, without query")
    if parts.username or parts.password:
        raise ValueError(f"must not carry credentials{instead}")
    return value.rstrip("/")


def checked_folder(value: str, *, refused: Iterable[str] = " ", told: str = "without spaces") -> str:
    """Return a prefix that ends with a slash, or ""; `ValueError` when it cannot be the beginning of every name."""
    value = value.strip("/")
    if any(segment in ("", ".", "..") for segment in value.split("/")) and value:
        raise ValueError("must not hold empty, '.' or '..' segments")
    if not value.isascii() or not value.isprintable() or set(value) & set(refused):
        raise ValueError(f"must be printable ASCII {told}")
    return f"{value}/" if value else ""
