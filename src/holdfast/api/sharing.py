"""Making signed URLs."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.config.units import parse_size, parse_time
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.signing import UPLOADS, Signed, Wish
from holdfast.policy.signing import Purpose

_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
TUS: Final = "/api/v1/tus"
Lifetime = Annotated[int | str, Meta(description="seconds, or text such as `15m`; at most 7 days")]
Size = Annotated[int | str, Meta(description="bytes, or text such as `100MB`")]
Network = Annotated[str, Meta(description="only from this address or network")]


class UploadWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A URL to store one object with."""

    bucket: Name
    key: Name
    content_type: Annotated[str, Meta(description="a type, or a pattern such as `image/*`")] | None = None
    max_size: Size | None = None
    expires_in: Lifetime = 3600
    once: Annotated[bool, Meta(description="for a single upload")] = False
    ip: Network | None = None
    resumable: Annotated[bool, Meta(description="for an upload in pieces: tus, or parts")] = False


class DownloadWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A URL to read one object with."""

    bucket: Name
    key: Name
    version_id: str | None = None
    disposition: Literal["inline", "attachment"] | None = None
    expires_in: Lifetime = 3600
    ip: Network | None = None


class SignWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A URL for `GET`, `PUT`, or `UPLOAD` (in pieces) of one object."""

    bucket: Name
    key: Name
    method: Literal["GET", "PUT", "UPLOAD"] = "GET"
    expires_in: Lifetime = 3600
    content_type: str | None = None
    max_size: Size | None = None
    once: bool = False
    ip: Network | None = None
    version_id: str | None = None
    disposition: Literal["inline", "attachment"] | None = None


class SignedLink(Struct, frozen=True, kw_only=True):
    """A URL that carries its own permission. Make the request with `method` and send `headers` unchanged."""

    success: bool = True
    url: str
    upload_url: str | UnsetType = UNSET
    download_url: str | UnsetType = UNSET
    tus_url: str | UnsetType = UNSET
    method: str
    headers: dict[str, str]
    bucket: str
    key: str
    expires_at: str


class Sharing:
    """Makes signed URLs under `public_url`, or under the address by which each request came."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    async def upload_url(self, exchange: Exchange) -> None:
        """Answer with a URL by which somebody without a token may store one object."""
        wish = decode(UploadWish, await small_body(exchange, MAX_JSON))
        made = Wish(
            Purpose.UPLOAD if wish.resumable else Purpose.PUT,
            _seconds(wish.expires_in),
            wish.content_type or "",
            _bytes(wish.max_size),
            wish.ip or "",
            wish.once,
        )
        await self._answer(exchange, wish.bucket, wish.key, made)

    async def download_url(self, exchange: Exchange) -> None:
        """Answer with a URL by which somebody without a token may read one object."""
        wish = decode(DownloadWish, await small_body(exchange, MAX_JSON))
        query = _query(wish.version_id, wish.disposition)
        made = Wish(Purpose.GET, _seconds(wish.expires_in), ip=wish.ip or "", query=query)
        await self._answer(exchange, wish.bucket, wish.key, made)

    async def sign(self, exchange: Exchange) -> None:
        """Answer with a URL for one thing that somebody without a token may do."""
        wish = decode(SignWish, await small_body(exchange, MAX_JSON))
        purpose, query = Purpose(wish.method), _query(wish.version_id, wish.disposition)
        made = Wish(
            purpose,
            _seconds(wish.expires_in),
            wish.content_type or "",
            _bytes(wish.max_size),
            wish.ip or "",
            wish.once,
            query,
        )
        await self._answer(exchange, wish.bucket, wish.key, made)

    async def _answer(self, exchange: Exchange, bucket: str, key: str, wish: Wish) -> None:
        signed = await exchange.session.presign(bucket, key, wish)
        base = self._public_url or base_of(exchange)
        await exchange.answer_json(201, encode(_link(base, bucket, key, wish, signed)))


def _link(base: str, bucket: str, key: str, wish: Wish, signed: Signed) -> SignedLink:
    url = base + signed.path
    getting = wish.purpose is Purpose.GET
    return SignedLink(
        url=url,
        upload_url=UNSET if getting else url,
        download_url=url if getting else UNSET,
        tus_url=base + TUS + signed.path.removeprefix(UPLOADS) if wish.purpose is Purpose.UPLOAD else UNSET,
        method=signed.method,
        headers=dict(signed.headers),
        bucket=bucket,
        key=key,
        expires_at=iso(signed.expires),
    )


def base_of(exchange: Exchange) -> str:
    """Return the address by which the request came, as `https://host:port`."""
    host = exchange.headers.get(b"host", b"").decode("ascii", "replace")
    if not _HOST.fullmatch(host):
        raise InvalidRequestError("the Host header names no host; set public_url to sign URLs")
    return f"{exchange.scheme}://{host}"


def _query(version_id: str | None, disposition: str | None) -> dict[str, str]:
    return {
        name: value
        for name, value in (("version_id", version_id), ("disposition", disposition))
        if value is not None
    }


def _seconds(value: int | str) -> int:
    try:
        found = parse_time(value)
    except ValueError as error:
        raise InvalidRequestError(f"expires_in: {error}") from None
    assert isinstance(found, int | float)
    return int(min(found, 1e9))


def _bytes(value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        found = parse_size(value)
    except ValueError as error:
        raise InvalidRequestError(f"max_size: {error}") from None
    assert isinstance(found, int)
    return found
