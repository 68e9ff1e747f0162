"""What a client announces of a body: digests that are compared before anything becomes visible.

Whatever is announced is either compared or refused with 400; nothing is passed over in silence.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Final

from holdfast.api.exchange import Exchange, text_of
from holdfast.api.server import trailing
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import NO_DIGESTS, Digests
from holdfast.engine.checksums import SIZES, announce
from holdfast.engine.pieces import Check

#: Fields of a form that announce a digest of the next file, in hexadecimal digits.
FORM_FIELDS: Final = ("sha256", "md5")
_AMZ: Final = b"x-amz-checksum-"
_AMZ_NAMES: Final = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
_AMZ_PLAIN: Final = (b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-checksum-mode")
_FIELDS: Final = (b"repr-digest", b"content-digest", b"digest")
#: The names in the registry of RFC 9530 (and of RFC 3230 before it) that are compared here.
_NAMES: Final = {
    "sha-256": "sha256",
    "sha-512": "sha512",
    "md5": "md5",
    "sha": "sha1",
    "sha-1": "sha1",
    "crc32c": "crc32c",
}
_MEMBER: Final = re.compile(r"\s*([A-Za-z0-9*._-]+)\s*=\s*(:?)([A-Za-z0-9+/=]*)(:?)\s*")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_IN_DIGESTS: Final = "sha-256, sha-512 and md5"
_IN_CHECKSUMS: Final = ", ".join(f"x-amz-checksum-{name}" for name in _AMZ_NAMES)


def digests_of(exchange: Exchange) -> Digests:
    """Return the digests that the client announced in any of the headers for that.

    Raises:
        InvalidRequestError: one is malformed, of an unknown algorithm, contradicts another, or is to come in a trailer.
    """
    found: dict[str, bytes] = {}
    for header, value in exchange.headers.items():
        if header == b"content-md5":
            _note(found, "md5", text_of(value, "a digest"))
        elif header in _FIELDS:
            for name, text in _members(text_of(value, "a digest"), exact=header != b"digest"):
                _note(found, name, text)
        elif header.startswith(b"x-amz-"):
            _amazon(found, header, text_of(value, "a checksum"))
        elif header == b"trailer":
            _refuse_trailers(value)
    _check_promise(exchange, found)
    return announce(found) if found else NO_DIGESTS


def check_of(exchange: Exchange, check: Check | None) -> Check | None:
    """Return `check` together with what the client announced in headers; None when nothing is to be compared."""
    for name, digest in _pairs(digests_of(exchange)):
        if check is None:
            check = Check(name, digest)
        else:
            check.add(name, digest)
    return check


def refuse_digests(exchange: Exchange) -> None:
    """Refuse digests in the headers of a form: they are of the form, and what is kept are its files."""
    if digests_of(exchange) != NO_DIGESTS:
        raise InvalidRequestError("a form's digests are its fields sha256 and md5, each before its file")


def of_fields(fields: Mapping[str, str], *, sha256: str = "sha256") -> Digests:
    """Return the digests that these fields of a form announce; `InvalidRequestError` when one is malformed.

    Args:
        sha256: what the sender calls that field, in errors.
    """
    found = {
        name: _hexadecimal(name, fields[name], sha256 if name == "sha256" else name)
        for name in FORM_FIELDS
        if name in fields
    }
    return announce(found) if found else NO_DIGESTS


def _hexadecimal(name: str, text: str, called: str) -> bytes:
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raw = b""
    if len(raw) != SIZES[name]:
        raise InvalidRequestError(f"{called} is {2 * SIZES[name]} hexadecimal digits")
    return raw


def _pairs(digests: Digests) -> Iterator[tuple[str, bytes]]:
    kept = {"sha256": digests.sha256, "md5": digests.md5, "crc64nvme": digests.crc64nvme}
    yield from ((name, digest) for name, digest in kept.items() if digest is not None)
    yield from digests.extras


def _amazon(found: dict[str, bytes], header: bytes, text: str) -> None:
    if header.startswith(_AMZ) and header not in _AMZ_PLAIN:
        name = header[len(_AMZ) :].decode("ascii", "replace")
        if name not in _AMZ_NAMES:
            raise InvalidRequestError(f"{name[:40]!r} is not compared here; these are: {_IN_CHECKSUMS}")
        _note(found, name, text)
    elif header == b"x-amz-content-sha256":
        _payload(found, text)
    elif header == b"x-amz-trailer":
        _refuse_trailers(b"x-amz-trailer")


def _payload(found: dict[str, bytes], text: str) -> None:
    if text == "UNSIGNED-PAYLOAD":
        return
    if not _HEX.fullmatch(text):
        raise InvalidRequestError(
            "x-amz-content-sha256 is UNSIGNED-PAYLOAD or 64 hexadecimal digits; signed chunks are not taken here"
        )
    _agree(found, "sha256", bytes.fromhex(text))


def _members(text: str, *, exact: bool) -> Iterator[tuple[str, str]]:
    """Yield (algorithm, Base64) of a list of digests; algorithms that are not known here may stand beside a known one."""
    unknown, known = [], False
    for member in text.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None or (exact and not (match[2] and match[4])):
            raise InvalidRequestError("a digest looks like sha-256=:BASE64:")
        name = _NAMES.get(match[1].lower())
        if name is None:
            unknown.append(match[1])
        else:
            known = True
            yield name, match[3]
    if unknown and not known:
        raise InvalidRequestError(f"digests by {unknown[0][:40]!r} are not compared here; {_IN_DIGESTS} are")


def _check_promise(exchange: Exchange, found: dict[str, bytes]) -> None:
    """Refuse a request that names an algorithm and carries no checksum of it."""
    for header in (b"x-amz-sdk-checksum-algorithm", b"x-amz-checksum-algorithm"):
        named = exchange.headers.get(header)
        if named is not None and (name := named.decode("ascii", "replace").strip().lower()) not in found:
            raise InvalidRequestError(
                f"{header.decode()} names {name[:40]!r}, but its checksum is not in the headers; these are compared: "
                f"{_IN_CHECKSUMS}"
            )


def _refuse_trailers(value: bytes) -> None:
    names = {name.strip().lower() for name in value.split(b",")}
    if b"x-amz-trailer" in names or names & trailing.DIGESTS:
        raise InvalidRequestError(
            "checksums in a trailer are not taken here; send them as headers, before the body"
        )


def _note(found: dict[str, bytes], name: str, text: str) -> None:
    try:
        raw = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raw = b""
    if len(raw) != SIZES[name]:
        raise InvalidRequestError(f"the announced {name} is not {SIZES[name]} bytes in Base64")
    _agree(found, name, raw)


def _agree(found: dict[str, bytes], name: str, raw: bytes) -> None:
    if found.setdefault(name, raw) != raw:
        raise InvalidRequestError(f"two different values are announced for {name}")
