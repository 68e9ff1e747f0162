"""User metadata as HTTP headers can carry it: ASCII as it is, anything else as an RFC 2047 word, which S3 itself uses."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header

from holdfast.core.errors import InvalidRequestError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")
_WORD = re.compile(r"=\?[^?]+\?[BbQq]\?[^?]*\?=")


def encode(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return `metadata` with values that survive any server; names must be lower-case header names.

    Raises:
        InvalidRequestError: a name that no header can have.
    """
    for name in metadata:
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(f"{name[:40]!r} is not a metadata name: use a-z, 0-9, '-', '_', '.'")
    try:
        return {name: _encode(value) for name, value in metadata.items()}
    except UnicodeEncodeError:
        raise InvalidRequestError("a metadata value is not valid UTF-8 (it holds a lone surrogate)") from None


def check_content_type(value: str) -> str:
    """Return `value` when a header can carry it, else raise `InvalidRequestError`."""
    if not value or len(value) > 255 or not value.isascii() or not value.isprintable():
        raise InvalidRequestError(f"{value[:40]!r} is not a content type")
    return value


def decode(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what `encode` was given; values from elsewhere come back as they are."""
    return {name.lower(): _decode(value) for name, value in headers.items()}


def _encode(value: str) -> str:
    plain = (
        value.isascii()
        and value.isprintable()
        and value
        and value == " ".join(value.split())
        and "=?" not in value
    )
    return value if plain else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _decode(value: str) -> str:
    if not _WORD.search(value):
        return value
    try:
        parts = decode_header(value)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in parts
        )
    except (HeaderParseError, UnicodeError, LookupError):
        return value
