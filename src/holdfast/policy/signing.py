"""What a signed URL says, and the one text that its signature is taken over.

The terms travel as query parameters that begin with `hf_`. The signature covers the kind of method, the path decoded
once, and every query parameter but itself, so that nothing can be changed, added or left out. It is compared as text:
no second spelling of the same signature holds.

An upload in pieces is many requests to many paths. So a URL for one names its object in `hf_path`, which the signature
covers in place of the path; the other parameters say which piece, and are bound to the object by the access policy.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.policy import media

MARK: Final = "hf_"  #: what our parameters begin with
MAX_LIFETIME: Final = 7 * 24 * 3600  #: seconds
SIGNATURE: Final = "hf_sig"
_NEEDED: Final = ("hf_tenant", "hf_key", "hf_gen", "hf_expires", "hf_method")
_ALLOWED: Final = frozenset((*_NEEDED, "hf_path", "hf_type", "hf_max", "hf_ip", "hf_once"))
_VERSION: Final = "holdfast-url-1"
_DIGITS: Final = 15


class Purpose(StrEnum):
    """What a signed URL is for."""

    GET = "GET"  #: GET and HEAD of one object
    PUT = "PUT"  #: PUT of one object
    UPLOAD = "UPLOAD"  #: uploads of one object in pieces

    @property
    def verbs(self) -> tuple[str, ...]:
        """What it lets its bearer do, in words of the access policy."""
        return _VERBS[self]


_VERBS: Final = {Purpose.GET: ("get", "head"), Purpose.PUT: ("put",), Purpose.UPLOAD: ("upload",)}


@dataclass(frozen=True, slots=True)
class Terms:
    """Who signed, what is allowed, and until when."""

    tenant: str
    issuer: str  #: id of the credential that signed
    generation: int  #: of the tenant's signing key
    expires: int  #: seconds since the epoch
    purpose: Purpose
    path: str = ""  #: `bucket/key` of an upload in pieces
    content_type: str = ""  #: of what is put: a type, or a pattern such as `image/*`
    max_size: int | None = None  #: bytes that may be put
    ip: str = ""  #: network from which it holds
    once: str = ""  #: nonce of a URL that stores once

    def parameters(self) -> dict[str, str]:
        """Return the terms as query parameters, without the signature."""
        found = {
            "hf_tenant": self.tenant,
            "hf_key": self.issuer,
            "hf_gen": str(self.generation),
            "hf_expires": str(self.expires),
            "hf_method": self.purpose.value,
        }
        if self.path:
            found["hf_path"] = self.path
        if self.content_type:
            found["hf_type"] = self.content_type
        if self.max_size is not None:
            found["hf_max"] = str(self.max_size)
        if self.ip:
            found["hf_ip"] = self.ip
        if self.once:
            found["hf_once"] = self.once
        return found


def is_signed(query: bytes) -> bool:
    """Tell whether a query string claims to carry terms of ours."""
    return b"hf_" in query


def read(query: Mapping[str, str]) -> Terms | None:
    """Return the terms in the parameters of a query; None when they are not complete, known and plain."""
    ours = {name for name in query if name.startswith(MARK)}
    if not ours >= {*_NEEDED, SIGNATURE} or ours - _ALLOWED - {SIGNATURE} or not all(map(query.get, ours)):
        return None
    generation, expires = _number(query["hf_gen"]), _number(query["hf_expires"])
    size = _number(query["hf_max"]) if "hf_max" in query else None
    if generation is None or expires is None or ("hf_max" in query and size is None):
        return None
    try:
        purpose = Purpose(query["hf_method"])
    except ValueError:
        return None
    if (purpose is Purpose.UPLOAD) != ("hf_path" in query):
        return None
    return Terms(
        tenant=query["hf_tenant"],
        issuer=query["hf_key"],
        generation=generation,
        expires=expires,
        purpose=purpose,
        path=query.get("hf_path", ""),
        content_type=query.get("hf_type", ""),
        max_size=size,
        ip=query.get("hf_ip", ""),
        once=query.get("hf_once", ""),
    )


def check_terms(terms: Terms, now: int) -> None:
    """Refuse terms that must not be signed.

    Raises:
        InvalidRequestError: naming what is wrong.
    """
    if not 1 <= terms.expires - now <= MAX_LIFETIME:
        raise InvalidRequestError(f"a signed URL holds for 1 to {MAX_LIFETIME} seconds (7 days)")
    storing = terms.purpose is not Purpose.GET
    if not storing and (terms.content_type or terms.max_size is not None or terms.once):
        raise InvalidRequestError("content type, largest size and once are for URLs that store")
    if terms.max_size is not None and not 0 <= terms.max_size < 10**_DIGITS:
        raise InvalidRequestError("the largest size is a number of bytes, 0 or more")
    if terms.content_type and not _is_type(terms.content_type):
        raise InvalidRequestError("the content type is like text/csv, or a pattern like image/*")
    if terms.ip:
        network(terms.ip)


def network(text: str) -> str:
    """Return a network in its one spelling; `InvalidRequestError` when it is none."""
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise InvalidRequestError(
            "ip is an address or a network, like 203.0.113.7 or 2001:db8::/32"
        ) from None


def allows_type(pattern: str, content_type: str) -> bool:
    """Tell whether `content_type` is what `pattern` says; parameters such as `charset` do not count."""
    wanted, given = pattern.strip().lower(), content_type.partition(";")[0].strip().lower()
    if wanted.endswith("/*"):
        return given.startswith(wanted[:-1]) and len(given) > len(wanted) - 1
    return wanted.partition(";")[0].strip() == given


def message(purpose: Purpose, path: str, query: Mapping[str, str]) -> bytes:
    """Return the text that is signed: each piece with its length before it, so that no two can run together."""
    pieces = [_VERSION, purpose.value, "" if purpose is Purpose.UPLOAD else path]
    for name in sorted(query):
        if name != SIGNATURE and (purpose is not Purpose.UPLOAD or name.startswith(MARK)):
            pieces += [name, query[name]]
    raw = [piece.encode("utf-8", "surrogatepass") for piece in pieces]
    return b"".join(b"%d:%s\n" % (len(piece), piece) for piece in raw)


def sign(key: bytes, text: bytes) -> str:
    """Return the signature of `text` as it travels."""
    return urlsafe_b64encode(hmac.digest(key, text, hashlib.sha256)).rstrip(b"=").decode()


def holds(key: bytes, text: bytes, signature: str) -> bool:
    """Tell whether `signature` is the one of `text`; takes the same time either way."""
    return hmac.compare_digest(sign(key, text).encode(), signature.encode("utf-8", "surrogatepass"))


def _number(text: str) -> int | None:
    """Return a number in its only spelling, else None."""
    plain = text.isascii() and text.isdigit() and len(text) <= _DIGITS and str(int(text)) == text
    return int(text) if plain else None


def _is_type(text: str) -> bool:
    return len(text) <= 255 and media.is_media_type(text)
