"""A request as the handlers see it, whether it may come in, and how answers are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from aiohttp import web

from holdfast.testing.fakes.gcs.accounts import EMAIL, Accounts
from holdfast.testing.fakes.gcs.state import Refusal

_MOST_SECONDS = 604_800
#: What the JSON interface calls the errors of the XML one.
_REASONS = {
    "NoSuchKey": "notFound",
    "NoSuchBucket": "notFound",
    "AuthenticationRequired": "authError",
    "AccessDenied": "forbidden",
    "PreconditionFailed": "conditionNotMet",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read. `path` is still encoded, header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def names(self) -> tuple[str, str]:
        """Bucket and key; the key is "" for the bucket itself."""
        bucket, _, key = self.path.lstrip("/").partition("/")
        return unquote(bucket), unquote(key)

    @property
    def condition(self) -> int | None:
        """The generation that must be there, None for whatever."""
        value = self.headers.get("x-goog-if-generation-match")
        return None if value is None else int(value)


async def read(request: web.Request) -> Asked:
    """Return the request with its body."""
    path, _, query = request.raw_path.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    return Asked(request.method, path, pairs, headers, await request.read())


def admit(asked: Asked, accounts: Accounts) -> None:
    """Refuse who shows neither a token that holds nor a link that was signed for this."""
    if "X-Goog-Signature" in asked.query:
        _check_link(asked, accounts)
    elif "authorization" not in asked.headers or not accounts.knows(asked.headers["authorization"]):
        raise Refusal(401, "AuthenticationRequired")


def _check_link(asked: Asked, accounts: Accounts) -> None:
    """Refuse a link that has ended, was signed for something else, or lacks a header that was signed."""
    query = dict(asked.query)
    signature = query.pop("X-Goog-Signature")
    try:
        began = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        life, names = int(query["X-Goog-Expires"]), query["X-Goog-SignedHeaders"]
        email, _, scope = query["X-Goog-Credential"].partition("/")
        proof = bytes.fromhex(signature)
        lines = "".join(f"{name}:{' '.join(asked.headers[name].split())}\n" for name in names.split(";"))
    except (KeyError, ValueError):
        raise Refusal(403, "SignatureDoesNotMatch") from None
    age = accounts.now() / 1e6 - began.timestamp()
    if not 0 < life <= _MOST_SECONDS or age > life or age < -900:
        raise Refusal(400, "ExpiredToken")
    text = "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in query.items()))
    canonical = f"{asked.method}\n{asked.path}\n{text}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    digest = sha256(canonical.encode()).hexdigest()
    told = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{digest}"
    day = f"{query['X-Goog-Date'][:8]}/auto/storage/goog4_request"
    if (
        email != EMAIL
        or scope != day
        or "host" not in names.split(";")
        or not accounts.signed(told.encode(), proof)
    ):
        raise Refusal(403, "SignatureDoesNotMatch")


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")


def refused(error: Refusal) -> web.Response:
    """Return an error as the XML interface writes it."""
    return xml(f"<Error><Code>{error.code}</Code><Message>fake</Message></Error>", status=error.status)


def refused_json(error: Refusal) -> web.Response:
    """Return an error as the JSON interface writes it."""
    reason = _REASONS.get(error.code, error.code)
    found: dict[str, Any] = {"code": error.status, "errors": [{"reason": reason}]}
    return web.json_response({"error": found}, status=error.status)


def xml(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a document."""
    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/xml")


def tag(name: str, value: str) -> str:
    """Return one element."""
    return f"<{name}>{escape(value)}</{name}>"


def stamp(now: int) -> str:
    """Return a time as listings have it."""
    return datetime.fromtimestamp(now / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
