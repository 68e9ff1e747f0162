"""One request as handlers see it, and the ways to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from holdfast.core.body import FileSlice
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Principal
from holdfast.engine.session import Session

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
KEY: Final = "holdfast.exchange"  #: where routes behind a framework find the exchange in their scope


class Exchange:
    """A request and its answer.

    Attributes:
        request_id: in every answer, log line and audit row.
        route: what was asked for, without names: the label of metrics.
        address: of the client, "" when it is not known; `scheme` is what the client used, http or https.
        claimed: whose credential it is, also when it is refused for where it comes from. For the audit only.
        pieces: of the path, as the route names them; None before a route was found.
        status: of the answer, 0 before it started; `sent` counts the bytes of its body, `received` those of the request's.
        error: the code of what went wrong.
        added: headers that the answer gets beside its own, whatever it will be.
        pace: awaited with the number of bytes before they are sent, where they must not be sent too fast.
    """

    __slots__ = (
        "_cycle",
        "_headers",
        "_query",
        "_receive",
        "_send",
        "added",
        "address",
        "claimed",
        "error",
        "handler",
        "method",
        "more",
        "pace",
        "pieces",
        "principal",
        "raw_path",
        "receive",
        "received",
        "request_id",
        "route",
        "scheme",
        "scope",
        "sent",
        "session",
        "status",
    )

    session: Session
    principal: Principal
    handler: Callable[..., Awaitable[None]]

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str = "") -> None:
        self.scope = scope
        self._receive = receive
        self.receive: Receive = self._counted
        self._send = send
        self._cycle = scope.get("extensions", {}).get("holdfast")
        self._headers: dict[bytes, bytes] | None = None
        self._query: dict[str, str] | None = None
        self.request_id = request_id
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.route = "other"
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        self.scheme: str = scope.get("scheme", "http")
        self.status = 0
        self.sent = 0
        self.received = 0
        self.error = ""
        self.claimed: Principal | None = None
        self.added: list[tuple[bytes, bytes]] = []
        self.pace: Callable[[int], Awaitable[None]] | None = None
        self.pieces: Sequence[str] | None = None
        self.more: dict[str, Any] | None = None  # members that an error's body gets beside its own

    # -- the request ----------------------------------------------------------------------------------------------
    @property
    def headers(self) -> dict[bytes, bytes]:
        """All headers by lower-case name; repeated ones joined as a list."""
        if self._headers is None:
            found: dict[bytes, bytes] = {}
            for name, value in self.scope["headers"]:
                found[name] = found[name] + b", " + value if name in found else value
            self._headers = found
        return self._headers

    def header(self, name: bytes) -> str | None:
        """Return a header as text, None when it is missing.

        Raises:
            InvalidRequestError: it is not UTF-8 or holds a control character.
        """
        value = self.headers.get(name)
        return None if value is None else text_of(value, f"the header {name.decode('ascii', 'replace')}")

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query.

        Raises:
            InvalidRequestError: one is given twice, or is not UTF-8 after decoding once.
        """
        if self._query is None:
            self._query = parse_query(self.scope["query_string"])
        return self._query

    @property
    def length(self) -> int | None:
        """The announced length of the body; None when it is sent in chunks."""
        if b"transfer-encoding" in self.headers:
            return None
        announced = self.headers.get(b"content-length", b"0")
        if not announced.isdigit():
            raise InvalidRequestError("Content-Length is not a number")
        return int(announced)

    @property
    def path(self) -> str:
        """The path as it came, for problems and logs: printable ASCII, cut to a sane length."""
        return self.raw_path[:2048].decode("ascii", "replace")

    async def _counted(self) -> Message:
        """ASGI's `receive`, its bytes counted."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    # -- the answer -----------------------------------------------------------------------------------------------
    async def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer. `headers` hold `content-length`, unless the status has no body."""
        self.status = status
        self.sent = len(body)
        full = (*headers, *self.added, (b"x-request-id", self.request_id.encode()))
        if self.pace is not None and body and self.method != "HEAD":
            await self.pace(len(body))
        if self._cycle is not None:
            await self._cycle.answer(status, full, body)
            return
        await self._send({"type": "http.response.start", "status": status, "headers": list(full)})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def answer_json(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Send `body`, which is JSON."""
        kind = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *_JSON)
        await self.answer(status, (*kind, *headers), body)

    @property
    def begun(self) -> bool:
        """Whether any of the answer is on its way, so that another one cannot be given."""
        return bool(self.status if self._cycle is None else self._cycle.response_started)

    @property
    def sends_files(self) -> bool:
        """Whether `answer_file` is offered: the server is ours and the connection is a plain socket."""
        return self._cycle is not None and self._cycle.sends_files and self.pace is None

    @property
    def draining(self) -> bool:
        """Whether the server was told to stop and only finishes what it began."""
        return self._cycle is not None and self._cycle.draining

    @property
    def forsaken(self) -> bool:
        """Whether nobody seems to wait for the answer; for answers that take as long as somebody listens."""
        return self._cycle is not None and self._cycle.forsaken

    async def answer_file(self, status: int, headers: Headers, file: FileSlice) -> None:
        """Send a whole answer whose body is part of an open file.

        Raises:
            SourceError: the file cannot be read, or ended early.
        """
        self.status = status
        full = (*headers, *self.added, (b"x-request-id", self.request_id.encode()))
        await self._cycle.send_file(status, full, file.fd, file.offset, file.length)
        self.sent = file.length

    async def send(self, message: Message) -> None:
        """ASGI's `send`, with the request id added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = (b"x-request-id", self.request_id.encode())
            headers = [*message.get("headers", ()), *self.added, told]
            message = {**message, "headers": headers}
        else:
            count = len(message.get("body", b""))
            self.sent += count
            if self.pace is not None and count:
                await self.pace(count)
        await self._send(message)


_JSON: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def parse_query(raw: bytes) -> dict[str, str]:
    """Return the parameters of a query string, each decoded exactly once; `InvalidRequestError` for what is ambiguous."""
    found: dict[str, str] = {}
    for pair in raw.split(b"&") if raw else ():
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        key = decode_once(name.replace(b"+", b" "), "the query")
        if key in found:
            raise InvalidRequestError(f"the query names {key[:40]!r} twice")
        found[key] = decode_once(value.replace(b"+", b" "), f"the query parameter {key[:40]!r}")
    return found


def decode_once(raw: bytes, what: str) -> str:
    """Return `raw` percent-decoded once; `InvalidRequestError` when that is not UTF-8."""
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{what} is not valid UTF-8") from None


def text_of(value: bytes, what: str) -> str:
    """Return a header's value as text; `InvalidRequestError` when it is not UTF-8 or holds a control character."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{what} is not valid UTF-8") from None
    if not text.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise InvalidRequestError(f"{what} holds a control character")
    return text
