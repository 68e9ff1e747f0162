"""The S3 endpoint of the fake: lets through what the keys that were given allow, and signs it for the real server."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree  # bodies come from tests

from aiohttp import (
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
from yarl import URL

from holdfast.testing.fakes.naas import sigv4
from holdfast.testing.fakes.naas.faults import Fault, Half, Lost, Script, Status
from holdfast.testing.fakes.naas.ledger import Issued, Ledger

if TYPE_CHECKING:
    from holdfast.testing.fakes.naas.server import Upstream

_SKEW: Final = timedelta(minutes=15)
_BLOCK: Final = 256 << 10
_LARGEST: Final = 5 << 30  #: of one request, as S3 has it
_KEY: Final = 1024  #: bytes of a key, as S3 has it
_OWN: Final = frozenset(
    {"authorization", "x-amz-security-token", "x-amz-date", "connection", "transfer-encoding", "expect"}
)
_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-encoding", "date", "server"}
)


class RefusedError(Exception):
    """The request is answered with this status and S3 error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Gate(Script):
    """Checks each request: key, token, end, signature, content, prefix."""

    def __init__(self, ledger: Ledger, upstream: Upstream) -> None:
        super().__init__()
        self._ledger, self._upstream = ledger, upstream
        self._session: ClientSession | None = None
        self.refused: list[str] = []  #: the codes of what was refused, in order

    def application(self) -> web.Application:
        """Return it, to be served."""
        made = web.Application(client_max_size=_LARGEST)
        made.router.add_route("*", "/{path:.*}", self._serve)
        return made

    async def open(self) -> None:
        """Open the connections to the server behind; in the loop that serves."""
        self._session = ClientSession(
            connector=TCPConnector(limit=256),
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_read=60),
            skip_auto_headers=("Content-Type", "Accept", "Accept-Encoding", "User-Agent"),
        )

    async def close(self) -> None:
        """Close them."""
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        fault = self.next()
        try:
            if isinstance(fault, Status):
                raise RefusedError(fault.status, fault.code or "ServiceUnavailable")
            await self._check(request)
            return await self._forward(request, fault)
        except RefusedError as error:
            self.refused.append(error.code)
            after = fault.retry_after if isinstance(fault, Status) else None
            return _refusal(request, error, after)

    async def _check(self, request: web.Request) -> None:
        path, query, headers = _parts(request)
        claim = sigv4.claim(headers, query)
        if claim is None:
            raise RefusedError(403, "AccessDenied")
        keys = self._ledger.find(claim.access_key)
        if keys is None:
            raise RefusedError(403, "InvalidAccessKeyId")
        if not hmac.compare_digest(claim.token.encode(), keys.token.encode()):
            raise RefusedError(400, "InvalidToken")
        if not self._ledger.holds(keys):
            raise RefusedError(400, "ExpiredToken")
        self._check_signature(request.method, claim, keys, path, query, headers)
        _check_time(claim)
        batch = request.method == "POST" and "delete" in dict(query)
        self._check_place(keys, path, query, headers, _batch(await request.read()) if batch else None)

    def _check_signature(
        self,
        method: str,
        claim: sigv4.Claim,
        keys: Issued,
        path: str,
        query: sigv4.Pairs,
        headers: dict[str, str],
    ) -> None:
        payload = sigv4.UNSIGNED if claim.seconds is not None else headers.get("x-amz-content-sha256", "")
        wanted = sigv4.signature(
            keys.secret_key, claim, method=method, path=path, query=query, headers=headers, payload=payload
        )
        if "host" not in claim.signed or not hmac.compare_digest(wanted.encode(), claim.signature.encode()):
            raise RefusedError(403, "SignatureDoesNotMatch")

    def _check_place(
        self,
        keys: Issued,
        path: str,
        query: sigv4.Pairs,
        headers: dict[str, str],
        batch: list[str] | None,
    ) -> None:
        """Refuse what is not below the prefix of the keys: object, listing, source of a copy, batch."""
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        told = dict(query)
        touched = [key] if key else [told.get("prefix", "")] if batch is None else batch
        if source := headers.get("x-amz-copy-source"):
            from_bucket, _, from_key = unquote(source).lstrip("/").partition("/")
            touched += [from_key if from_bucket == bucket else ""]
        if len(key.encode()) > _KEY:
            raise RefusedError(400, "KeyTooLongError")
        inside = f"{keys.prefix}/"
        if bucket != self._upstream.bucket or not all(name.startswith(inside) for name in touched):
            raise RefusedError(403, "AccessDenied")

    async def _forward(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        assert self._session is not None
        path, query, headers = _parts(request)
        query = [(name, value) for name, value in query if not name.lower().startswith("x-amz-")]
        kept = {name: value for name, value in headers.items() if name not in _OWN}
        kept["host"] = urlsplit(self._upstream.endpoint).netloc
        passing = _Passing(request, headers.get("x-amz-content-sha256", sigv4.UNSIGNED))
        made = sigv4.signed(
            *(self._upstream.access_key, self._upstream.secret_key, self._upstream.region),
            method=request.method,
            path=path,
            query=query,
            headers=kept,
            payload=passing.payload,
        )
        asked = sigv4.encoded(query)
        url = URL(f"{self._upstream.endpoint}{path}{'?' + asked if asked else ''}", encoded=True)
        data = passing if request.body_exists else b"" if request.method in ("PUT", "POST") else None
        try:
            async with self._session.request(
                request.method, url, headers=made, data=data, allow_redirects=False
            ) as found:
                return await _passed(request, found, fault)
        except ClientError:
            if passing.damaged:
                raise RefusedError(400, "XAmzContentSHA256Mismatch") from None
            raise RefusedError(503, "ServiceUnavailable") from None


class _Passing:
    """The body of a request on its way; its end is held back until it is what its signature says."""

    def __init__(self, request: web.Request, payload: str) -> None:
        self._request, self.payload, self.damaged = request, payload, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        digest, held = hashlib.sha256(), b""
        checked = self.payload != sigv4.UNSIGNED
        async for chunk in _chunks(self._request):
            if held:
                yield held
            held = chunk
            if checked:
                digest.update(chunk)
        if checked and digest.hexdigest() != self.payload:
            self.damaged = True
            raise ClientPayloadError("the body is not the one that was signed")
        if held:
            yield held


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    if request._read_bytes is not None:  # a batch, which was read to be checked
        yield request._read_bytes
        return
    async for chunk in request.content.iter_chunked(_BLOCK):
        yield chunk


async def _passed(request: web.Request, found: ClientResponse, fault: Fault) -> web.StreamResponse:
    """Pass an answer on, or less of it, as the fault has it."""
    answer = web.StreamResponse(status=found.status)
    answer.headers.update({name: value for name, value in found.headers.items() if name.lower() not in _HOP})
    if isinstance(fault, Lost):
        return _dropped(request, answer)
    await answer.prepare(request)
    try:
        if not await _copied(request, answer, found, half=isinstance(fault, Half)):
            return _dropped(request, answer)
    except ClientError:  # the server behind broke off, and so does this one: the answer has begun
        return _dropped(request, answer)
    await answer.write_eof()
    return answer


async def _copied(
    request: web.Request, answer: web.StreamResponse, found: ClientResponse, *, half: bool
) -> bool:
    """Copy the body, all of it or half; return whether it is whole."""
    sent, whole = 0, found.content_length or 0
    async for chunk in found.content.iter_chunked(_BLOCK):
        if half and sent + len(chunk) > whole // 2:
            await answer.write(chunk[: max(0, whole // 2 - sent)])
            return False
        sent += len(chunk)
        if request.method != "HEAD":
            await answer.write(chunk)
    return True


def _check_time(claim: sigv4.Claim) -> None:
    """Refuse what was signed at another time, and a URL that has ended."""
    try:
        age = datetime.now(UTC) - claim.moment
    except ValueError:
        raise RefusedError(403, "AccessDenied") from None
    if claim.seconds is None and abs(age) > _SKEW:
        raise RefusedError(403, "RequestTimeTooSkewed")
    if claim.seconds is not None and age > timedelta(seconds=claim.seconds):
        raise RefusedError(403, "AccessDenied")


def _parts(request: web.Request) -> tuple[str, sigv4.Pairs, dict[str, str]]:
    """Return path as sent, decoded query and lower-case headers."""
    path, _, query = request.raw_path.partition("?")
    headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
    return path, sigv4.pairs(query), headers


def _batch(body: bytes) -> list[str]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        raise RefusedError(400, "MalformedXML") from None
    return [item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == "Key"]


def _refusal(request: web.Request, error: RefusedError, retry_after: float | None) -> web.Response:
    """Return what S3 answers: XML with the code, and nothing at all to a HEAD."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    text = f"<?xml version='1.0'?><Error><Code>{error.code}</Code><Message>fake</Message></Error>"
    body = b"" if request.method == "HEAD" else text.encode()
    return web.Response(status=error.status, body=body, content_type="application/xml", headers=headers)


def _dropped(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Close the connection instead of answering (on)."""
    if request.transport is not None:
        request.transport.close()
    return answer
