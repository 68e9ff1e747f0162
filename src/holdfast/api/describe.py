"""What a request says about an object, and what an answer says about a version."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_from_bytes

from holdfast.api.conditions import http_date
from holdfast.api.digests import digests_of
from holdfast.api.exchange import Exchange, decode_once, parse_query, text_of
from holdfast.core.clock import iso as iso
from holdfast.core.types import ChecksumType, Version
from holdfast.engine.write import ObjectInput

META: Final = b"x-holdfast-meta-"
STORAGE_CLASS: Final = b"x-amz-storage-class"
_CURL: Final = b"application/x-www-form-urlencoded"  # what curl says of any body it was not told about
_INLINE: Final = frozenset(
    [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "text/plain",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "audio/mp4",
        "audio/flac",
        "audio/aac",
        "video/mp4",
        "video/webm",
        "video/ogg",
    ]
)
#: So that a browser never runs what a user stored.
SAFE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"private, no-cache"),
    (b"accept-ranges", b"bytes"),
)
_VALUE: Final = " !#$&'()*+,-./:;<=>?@[]^_`{|}~\""  # everything printable but the percent sign
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9!#$&'()+,.;=@^_`{}~ -]*")


# -- in ---------------------------------------------------------------------------------------------------------------
def about_of(exchange: Exchange) -> ObjectInput:
    """Return content type, metadata, tags, announced digests and the storage class from the headers.

    Names and values of metadata are percent-decoded once, so that any text can travel.

    Raises:
        InvalidRequestError: a header that is not UTF-8, holds control characters, or is not what it should be.
    """
    headers = exchange.headers
    metadata = {}
    for name, value in headers.items():
        if name.startswith(META):
            metadata[_travelled(name[len(META) :])] = _travelled(value)
    tags = parse_query(headers.get(b"x-holdfast-tagging", b""))
    storage_class = exchange.header(STORAGE_CLASS) or ""
    return ObjectInput(content_type_of(exchange), metadata, tags, digests_of(exchange), storage_class)


def content_type_of(exchange: Exchange) -> str | None:
    """Return the content type; None when it was not given, or is only what curl sends by itself."""
    if exchange.headers.get(b"content-type") == _CURL:
        return None
    return exchange.header(b"content-type") or None


def _travelled(raw: bytes) -> str:
    text = decode_once(raw, "a metadata header")
    return text_of(text.encode(), "a metadata header")


# -- out --------------------------------------------------------------------------------------------------------------
def version_headers(version: Version) -> list[tuple[bytes, bytes]]:
    """Return what every answer about a version says, without length and type."""
    headers = [
        (b"etag", b'"%s"' % version.etag.encode()),
        (b"last-modified", http_date(version.created)),
        (b"x-holdfast-version-id", version.id.encode()),
    ]
    if version.digests.sha256 is not None and version.checksum_type is ChecksumType.FULL_OBJECT:
        headers.append((b"repr-digest", b"sha-256=:%s:" % b64encode(version.digests.sha256)))
    for name, value in version.metadata.items():
        headers.append((META + quote(name, safe="").encode(), _header_value(value)))
    if version.tags:
        headers.append((b"x-holdfast-tagging", _pairs(version.tags)))
    if version.owed:
        headers.append((b"x-holdfast-owed", version.owed.encode()))
    if version.storage_class:
        headers.append((STORAGE_CLASS, version.storage_class.encode()))
    return headers


def content_headers(version: Version, *, inline: bool) -> list[tuple[bytes, bytes]]:
    """Return what an answer with the content says; `inline` is granted only to types that browsers show safely."""
    kind, way = shown_as(version, inline=inline)
    return [
        (b"content-type", kind.encode("ascii", "replace")),
        (b"content-disposition", way.encode()),
        *version_headers(version),
        *SAFE,
    ]


def shown_as(version: Version, *, inline: bool) -> tuple[str, str]:
    """Return content type and disposition of a version; `inline` is granted only to types that browsers show safely."""
    kind = version.content_type
    shown = inline and kind.partition(";")[0].strip().lower() in _INLINE
    return kind, disposition("inline" if shown else "attachment", version.ref.key).decode()


@lru_cache(4096)
def disposition(way: str, key: str) -> bytes:
    """Return Content-Disposition for the last part of `key`: plain where that says it all, else also RFC 8187."""
    name = re.split(r"[/\\]", key)[-1].strip() or "download"
    if len(name) <= 200 and _PLAIN_NAME.fullmatch(name):
        return f'{way}; filename="{name}"'.encode()
    fallback = "".join(char if _PLAIN_NAME.fullmatch(char) else "_" for char in name)[:200]
    encoded = quote(name.encode()[:600].decode("utf-8", "ignore"), safe="!#$&+-.^_`|~")
    return f"{way}; filename=\"{fallback}\"; filename*=UTF-8''{encoded}".encode()


def _header_value(text: str) -> bytes:
    if text.isascii() and "%" not in text and text == text.strip():
        return text.encode()
    inner = quote(text, safe=_VALUE)
    stripped = inner.strip()
    if stripped != inner:  # spaces at the ends would be lost
        lead = len(inner) - len(inner.lstrip())
        inner = "%20" * lead + stripped + "%20" * (len(inner) - lead - len(stripped))
    return inner.encode()


def _pairs(pairs: Mapping[str, str]) -> bytes:
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs.items()).encode()


def _quoted(text: str) -> str:
    return quote_from_bytes(text.encode(), safe="")
