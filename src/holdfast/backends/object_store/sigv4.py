"""AWS Signature Version 4 for S3: pure functions from a request to the headers or the URL that prove who sent it.

Compared with botocore's signer in `tests/unit/test_sigv4.py`, byte for byte.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from holdfast.core.blob_info import EMPTY

if TYPE_CHECKING:
    from holdfast.backends.object_store.credentials import Credentials

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"

Query = Sequence[tuple[str, str]]


class Request(NamedTuple):
    """What is to be signed. `path` is already percent-encoded, `query` is not; header names in any case."""

    method: str
    host: str
    path: str
    query: Query = ()
    headers: Mapping[str, str] = EMPTY


def encode(text: str, *, keep: str = "") -> str:
    """Return `text` percent-encoded as S3 wants it: all but letters, digits, `-._~` and `keep`."""
    return quote(text, safe="-._~" + keep)


def encode_query(query: Query) -> str:
    """Return the canonical query string: encoded, then sorted."""
    return "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in query))


def sign(
    request: Request, credentials: Credentials, *, region: str, payload: str, now: int
) -> dict[str, str]:
    """Return the headers to send: those of `request` (lower-cased) and the ones that sign it.

    `payload` is the hex SHA-256 of the body or `UNSIGNED`; `now` is microseconds since the epoch.
    """
    stamp = _stamp(now)
    headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
    headers |= {"host": request.host, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    signature = _signature(request, request.query, headers, payload, credentials.secret_key, region, stamp)
    scope = _scope(stamp, region)
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def presign(request: Request, credentials: Credentials, *, region: str, expires_in: int, now: int) -> str:
    """Return path and query of a URL that carries its own permission for `expires_in` seconds.

    Every header of `request` must be sent with it unchanged.
    """
    stamp = _stamp(now)
    headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
    headers["host"] = request.host
    query = [
        *request.query,
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{_scope(stamp, region)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(expires_in)),
        ("X-Amz-SignedHeaders", ";".join(sorted(headers))),
    ]
    if credentials.token:
        query.append(("X-Amz-Security-Token", credentials.token))
    signature = _signature(request, query, headers, UNSIGNED, credentials.secret_key, region, stamp)
    return f"{request.path}?{encode_query(query)}&X-Amz-Signature={signature}"


def _signature(
    request: Request,
    query: Query,
    headers: Mapping[str, str],
    payload: str,
    secret: str,
    region: str,
    stamp: str,
) -> str:
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    canonical = f"{request.method}\n{request.path}\n{encode_query(query)}\n{lines}\n{names}\n{payload}"
    digest = sha256(canonical.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{stamp}\n{_scope(stamp, region)}\n{digest}"
    return hmac.new(_key(secret, region, stamp[:8]), text.encode(), sha256).hexdigest()


def _key(secret: str, region: str, day: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), sha256).digest()
    return key


def _scope(stamp: str, region: str) -> str:
    return f"{stamp[:8]}/{region}/s3/aws4_request"


def _stamp(now: int) -> str:
    return datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
