"""Azure's two signatures: of a request with the account's key, and of a link that carries its own permission."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from holdfast.core.clock import iso

Query = Sequence[tuple[str, str]]
#: The version of the form of signed links; older than what requests say, since the form changes and links need nothing newer.
LINK_VERSION: Final = "2022-11-02"
_SIGNED_HEADERS: Final = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)


@dataclass(frozen=True, slots=True)
class DelegationKey:
    """A key that the service gives to an identity, so that it can sign links. Times are as the service wrote them."""

    owner: str
    tenant: str
    start: str
    expiry: str
    service: str
    version: str
    value: str = field(repr=False)


def encode_query(query: Query) -> str:
    """Return `query` for a URL, in its order."""
    return "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in query)


def shared_key(
    method: str, path: str, query: Query, headers: Mapping[str, str], length: int, *, account: str, key: str
) -> str:
    """Return the Authorization header of a request. `headers` have lower-case names, `path` is encoded."""
    known = {**headers, "content-length": str(length) if length else ""}
    if "x-ms-date" in headers:
        known["date"] = ""
    own = sorted((name, value) for name, value in headers.items() if name.startswith("x-ms-"))
    lines = [method, *(known.get(name, "") for name in _SIGNED_HEADERS)]
    lines += [f"{name}:{value.strip()}" for name, value in own]
    lines.append(f"/{account}{path}")
    lines += [f"{name.lower()}:{value}" for name, value in sorted(query)]
    return f"SharedKey {account}:{_mac(key, lines)}"


def link(
    resource: str,
    *,
    permissions: str,
    expires: int,
    key: str | DelegationKey,
    http: bool = False,
    content_type: str = "",
    content_disposition: str = "",
) -> str:
    """Return the query of a URL that allows `permissions` on the blob `resource` until `expires` (microseconds).

    `key` is the account's, or a delegation key. With `http` the URL works without TLS too.
    """
    end, protocol = stamp(expires), "https,http" if http else "https"
    given = key if isinstance(key, DelegationKey) else None
    who = _delegated(given) if given else [("si", "")]
    lines = [permissions, "", end, resource, *(value for _, value in who)]
    lines += ["", "", ""] if given else []  # on whose behalf, and which request: nobody's and any
    lines += ["", protocol, LINK_VERSION, "b", "", ""]
    lines += ["", content_disposition, "", "", content_type]
    signed = _mac(given.value if given else str(key), lines)
    fields = [("sv", LINK_VERSION), ("sr", "b"), ("sp", permissions), ("se", end), ("spr", protocol)]
    fields += [*who, ("rscd", content_disposition), ("rsct", content_type), ("sig", signed)]
    return encode_query([(name, value) for name, value in fields if value])


def stamp(moment: int) -> str:
    """Return microseconds since the epoch as Azure writes times, in whole seconds."""
    return iso(moment)


def _delegated(key: DelegationKey) -> list[tuple[str, str]]:
    return [
        *(("skoid", key.owner), ("sktid", key.tenant), ("skt", key.start)),
        *(("ske", key.expiry), ("sks", key.service), ("skv", key.version)),
    ]


def _mac(key: str, lines: Sequence[str]) -> str:
    text = "\n".join(lines).encode()
    return base64.b64encode(hmac.new(base64.b64decode(key), text, hashlib.sha256).digest()).decode()
