"""Signed URLs (V4): the text that is signed, and who signs it: a key that we have, or the IAM service."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from holdfast.backends.object_store.gcs.exchanges import Exchange, Token
from holdfast.backends.object_store.sigv4 import Query, encode_query
from holdfast.core.errors import UnauthenticatedError, UnavailableError
from holdfast.core.renewing import Renewing

_ALGORITHM: Final = "GOOG4-RSA-SHA256"


class Signer(Protocol):
    """Somebody who signs in the name of a service account."""

    @property
    def email(self) -> str:
        """The account."""
        ...

    async def sign(self, data: bytes) -> bytes:
        """Return the RSA signature (PKCS #1 v1.5, SHA-256) of `data`."""
        ...


class KeySigner:
    """Signs by the account's private key."""

    def __init__(self, email: str, key: RSAPrivateKey) -> None:
        self.email = email
        self._key = key

    async def sign(self, data: bytes) -> bytes:
        return await asyncio.to_thread(self._key.sign, data, PKCS1v15(), hashes.SHA256())


class IamSigner:
    """Has the IAM service sign; our own account must be allowed to (role Service Account Token Creator)."""

    def __init__(self, email: str, endpoint: str, exchange: Exchange, tokens: Renewing[Token]) -> None:
        self.email = email
        self._url = f"{endpoint}/v1/projects/-/serviceAccounts/{email}:signBlob"
        self._exchange = exchange
        self._tokens = tokens

    async def sign(self, data: bytes) -> bytes:
        token = await self._tokens.current()
        try:
            answer = await self._ask(data, token)
        except UnauthenticatedError:
            answer = await self._ask(data, await self._tokens.renew(token))
        try:
            return base64.b64decode(str(answer["signedBlob"]), validate=True)
        except (KeyError, binascii.Error, ValueError):
            raise UnavailableError("the IAM service gave no signature", operation="presign") from None

    async def _ask(self, data: bytes, token: Token) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {token.value}"}
        payload = {"payload": base64.b64encode(data).decode()}
        return await self._exchange.ask("POST", self._url, document=payload, headers=headers)


@dataclass(frozen=True, slots=True)
class Link:
    """What a signed URL will allow. `path` is encoded, `query` is not; header names are lower-case."""

    method: str
    host: str
    path: str
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)


async def signed_target(link: Link, signer: Signer, *, expires_in: int, now: int) -> str:
    """Return path and query of a URL that carries its own permission for `expires_in` seconds from `now` (microseconds)."""
    stamp = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    headers = {name: " ".join(value.split()) for name, value in link.headers.items()} | {"host": link.host}
    names = ";".join(sorted(headers))
    query = encode_query(
        [
            *link.query,
            ("X-Goog-Algorithm", _ALGORITHM),
            ("X-Goog-Credential", f"{signer.email}/{scope}"),
            ("X-Goog-Date", stamp),
            ("X-Goog-Expires", str(expires_in)),
            ("X-Goog-SignedHeaders", names),
        ]
    )
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"{link.method}\n{link.path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = await signer.sign(text.encode())
    return f"{link.path}?{query}&X-Goog-Signature={signature.hex()}"
