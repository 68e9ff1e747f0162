"""Signature Version 4 from the server's side, written apart from the driver's so that neither can hide the other's mistake."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own signature."""

    access_key: str
    scope: str  #: date/region/s3/aws4_request
    signed: tuple[str, ...]
    signature: str
    stamp: str
    token: str
    seconds: int | None = None  #: of a presigned URL: how long it holds

    @property
    def moment(self) -> datetime:
        """When it was signed; `ValueError` when that cannot be read."""
        return datetime.strptime(self.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def pairs(query: str) -> Pairs:
    """Return the decoded parameters of a raw query string."""
    found = []
    for piece in query.split("&") if query else ():
        name, _, value = piece.partition("=")
        found.append((unquote(name), unquote(value)))
    return found


def claim(headers: Mapping[str, str], query: Pairs) -> Claim | None:
    """Return what a request claims, None when it is not signed. Header names are lower-case."""
    told = dict(query)
    if told.get("X-Amz-Algorithm") == ALGORITHM:
        key, _, scope = told.get("X-Amz-Credential", "").partition("/")
        signed = tuple(told.get("X-Amz-SignedHeaders", "").split(";"))
        life = told.get("X-Amz-Expires", "")
        return Claim(
            *(key, scope, signed, told.get("X-Amz-Signature", ""), told.get("X-Amz-Date", "")),
            told.get("X-Amz-Security-Token", ""),
            int(life) if life.isdecimal() else 0,
        )
    kind, _, rest = headers.get("authorization", "").partition(" ")
    if kind != ALGORITHM:
        return None
    said = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    key, _, scope = said.get("Credential", "").partition("/")
    signed = tuple(said.get("SignedHeaders", "").split(";"))
    token = headers.get("x-amz-security-token", "")
    return Claim(key, scope, signed, said.get("Signature", ""), headers.get("x-amz-date", ""), token)


def signature(
    secret: str,
    claim: Claim,
    *,
    method: str,
    path: str,
    query: Pairs,
    headers: Mapping[str, str],
    payload: str,
) -> str:
    """Return the signature that a request with this claim must carry; `path` as it was sent."""
    told = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in claim.signed]
    request = "\n".join((method, path, _canonical(told), "".join(lines), ";".join(claim.signed), payload))
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((ALGORITHM, claim.stamp, claim.scope, digest))
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def signed(
    access_key: str,
    secret: str,
    region: str,
    *,
    method: str,
    path: str,
    query: Pairs,
    headers: Mapping[str, str],
    payload: str,
) -> dict[str, str]:
    """Return `headers` with those that sign the request for another server."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    made = {**headers, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    names = tuple(
        sorted(name for name in made if name == "host" or name.startswith(("x-amz-", "content-md5")))
    )
    own = Claim(access_key, f"{stamp[:8]}/{region}/s3/aws4_request", names, "", stamp, "")
    found = signature(secret, own, method=method, path=path, query=query, headers=made, payload=payload)
    made["authorization"] = (
        f"{ALGORITHM} Credential={access_key}/{own.scope}, SignedHeaders={';'.join(names)}, Signature={found}"
    )
    return made


def encoded(query: Iterable[tuple[str, str]]) -> str:
    """Return a query string."""
    return "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query)


def _canonical(query: Pairs) -> str:
    return "&".join(sorted(encoded([pair]) for pair in query))
