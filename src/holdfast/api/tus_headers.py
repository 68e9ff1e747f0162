"""The headers of tus, read and written."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from holdfast.api import digests
from holdfast.api.conditions import http_date
from holdfast.api.describe import version_headers
from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.api.signed import place_signed
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.pieces import ALGORITHMS, Check
from holdfast.engine.resumable import PARTIAL, Progress
from holdfast.engine.write import ObjectInput

Headers = list[tuple[bytes, bytes]]
VERSION: Final = b"1.0.0"
BODY: Final = b"application/offset+octet-stream"
CHECKSUM_MISMATCH: Final = 460
_EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "expiration",
    "termination",
    "concatenation",
)
OFFER: Final = (
    (b"tus-resumable", VERSION),
    (b"tus-version", VERSION),
    (b"tus-extension", ",".join(_EXTENSIONS).encode()),
    (b"tus-checksum-algorithm", ",".join(ALGORITHMS).encode()),
)
ANSWERED: Final = (
    "Location",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Expires",
    "Upload-Concat",
    "x-holdfast-version-id",
)
ASKED: Final = (
    "Tus-Resumable",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Checksum",
    "Upload-Concat",
    "X-HTTP-Method-Override",
)
_MOST_PAIRS: Final = 64
_NAMES: Final = {
    "bucket": ("bucket", "bucketName"),
    "key": ("key", "objectName"),
    "filename": ("filename", "name"),
    "type": ("filetype", "contentType", "type"),
}
_ID: Final = re.compile(r"(?:https?://[^/?#\s]+)?/api/v1/tus/([A-Za-z0-9-]{1,64})(?:\?\S*)?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a creation asks for."""

    bucket: str
    key: str
    about: ObjectInput
    partial: bool
    options: dict[str, str]


def wish_of(exchange: Exchange) -> Wish:
    """Return bucket, key and description of the object to be, from the query and Upload-Metadata.

    Raises:
        InvalidRequestError: no bucket or no key is named, or two different ones are.
    """
    header = exchange.header(b"upload-metadata") or ""
    pairs = metadata_of(header)
    concat = exchange.header(b"upload-concat")
    partial = concat == "partial"
    if concat is not None and not partial and not concat.startswith("final;"):
        raise InvalidRequestError("Upload-Concat is `partial` or `final;` with the partial uploads")
    filename = _taken(pairs, "filename", keep=True)
    signed = place_signed(exchange) or ("", "")
    bucket = _place(exchange, pairs, "bucket") or signed[0]
    key = _place(exchange, pairs, "key") or signed[1] or filename
    if partial and not key:
        key = "partial"
    if not bucket or not key:
        missing = "bucket" if not bucket else "key"
        raise InvalidRequestError(
            f"name the {missing}: ?{missing}=… in the address, or {missing} in Upload-Metadata"
            + (" (of partial uploads too)" if partial else "")
        )
    content_type = _taken(pairs, "type", keep=False) or None
    tags: dict[str, str] = {}
    options = {name: text for name, text in (("metadata", header), ("concat", concat or "")) if text}
    return Wish(bucket, key, ObjectInput(content_type, pairs, tags), partial, options)


def metadata_of(header: str) -> dict[str, str]:
    """Return the pairs of Upload-Metadata; `InvalidRequestError` for what is not name and Base64 of UTF-8."""
    pairs: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        name, _, value = pair.strip().partition(" ")
        if not name or not name.isascii() or name in pairs or len(pairs) >= _MOST_PAIRS:
            raise InvalidRequestError(
                "Upload-Metadata is a list of different names, each with a value in Base64"
            )
        try:
            pairs[name] = b64decode(value.strip(), validate=True).decode()
        except (Base64Error, ValueError):
            raise InvalidRequestError(f"{name[:40]!r} in Upload-Metadata is not Base64 of UTF-8") from None
    return pairs


def joined_ids(exchange: Exchange) -> list[str] | None:
    """Return the partial uploads that a final upload is to be made of; None when it is none."""
    concat = exchange.header(b"upload-concat") or ""
    if not concat.startswith("final;"):
        return None
    if b"upload-length" in exchange.headers:
        raise InvalidRequestError("a final upload has no Upload-Length: it is the sum of its partial uploads")
    ids = []
    for place in concat.removeprefix("final;").split():
        match = _ID.fullmatch(place)
        if match is None:
            raise InvalidRequestError(f"{place[:80]!r} in Upload-Concat is not an upload of this service")
        ids.append(match[1])
    return ids


def length_of(exchange: Exchange) -> int | None:
    """Return Upload-Length of a creation, None when it is deferred; one of both must be there."""
    length = number_of(exchange, b"upload-length")
    deferred = exchange.headers.get(b"upload-defer-length")
    if deferred not in (None, b"1") or (length is None) == (deferred is None):
        raise InvalidRequestError("a creation needs either Upload-Length or Upload-Defer-Length: 1")
    return length


def number_of(exchange: Exchange, name: bytes) -> int | None:
    """Return a header that is a count of bytes, None when it is missing."""
    value = exchange.headers.get(name)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise InvalidRequestError(f"{name.decode()} is not a number of bytes")
    return int(value)


def check_of(exchange: Exchange) -> Check | None:
    """Return what Upload-Checksum, or another header for digests, announces of the body of this request.

    Raises:
        InvalidRequestError: an algorithm is not known, or a digest is malformed.
    """
    value = exchange.header(b"upload-checksum")
    return digests.check_of(exchange, None if value is None else _checksum(value))


def _checksum(value: str) -> Check:
    algorithm, _, text = value.strip().partition(" ")
    try:
        digest = b64decode(text.strip(), validate=True)
    except (Base64Error, ValueError):
        raise InvalidRequestError("Upload-Checksum is an algorithm and a digest in Base64") from None
    return Check(algorithm, digest)


def described(progress: Progress) -> Headers:
    """Return what every answer about an upload says."""
    headers: Headers = [(b"tus-resumable", VERSION), (b"upload-offset", b"%d" % progress.offset)]
    if progress.length is None:
        headers.append((b"upload-defer-length", b"1"))
    else:
        headers.append((b"upload-length", b"%d" % progress.length))
    if progress.expires is not None:
        headers.append((b"upload-expires", http_date(progress.expires)))
    if progress.kind == PARTIAL:
        headers.append((b"upload-concat", b"partial"))
    if "metadata" in progress.options:
        headers.append((b"upload-metadata", progress.options["metadata"].encode()))
    if progress.version is not None:
        told = (b"etag", b"x-holdfast-version-id")
        headers += [(name, value) for name, value in version_headers(progress.version) if name in told]
    return headers


def _place(exchange: Exchange, pairs: dict[str, str], name: str) -> str:
    asked, told = exchange.query.get(name, ""), _taken(pairs, name, keep=False)
    if asked and told and asked != told:
        raise HttpRefusalError(400, f"the address and Upload-Metadata name different {name}s")
    return asked or told


def _taken(pairs: dict[str, str], what: str, *, keep: bool) -> str:
    """Return the first value under one of the names for `what`; all of them leave the pairs unless `keep`."""
    values = [pairs[name] if keep else pairs.pop(name) for name in _NAMES[what] if name in pairs]
    return next((value for value in values if value), "")
