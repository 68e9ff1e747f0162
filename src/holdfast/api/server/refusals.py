"""Answers that the protocol gives by itself, to what never becomes a request."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import msgspec


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection or message is turned away: an HTTP status, a code for programs, words for people."""

    status: int
    code: str
    detail: str
    retry_after: int | None = None

    def encode(self, request_id: str, *, close: bool = True, silent: bool = False) -> bytes:
        """Return the whole answer; it says that the connection closes unless `close` is False, has no body if `silent`."""
        title = HTTPStatus(self.status).phrase
        problem = {
            "type": f"urn:holdfast:error:{self.code}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "success": False,
            "error": self.detail,
        }
        body = msgspec.json.encode(problem)
        again = "" if self.retry_after is None else f"retry-after: {self.retry_after}\r\n"
        head = (
            f"HTTP/1.1 {self.status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nx-holdfast-error-code: {self.code}\r\n"
            f"{again}{'connection: close' if close else 'cache-control: no-store'}\r\n\r\n"
        )
        return head.encode("ascii") + (b"" if silent else body)


MALFORMED = Refusal(400, "invalid_request", "this is not a well-formed HTTP/1.1 request")
NO_HOST = Refusal(
    400, "invalid_request", "a request names its Host exactly once, as a name and perhaps a port"
)
ELSEWHERE = Refusal(
    400, "invalid_request", "the request target is a path of this service, or its own whole address"
)
CODING = Refusal(400, "invalid_request", "chunked is the only transfer coding here, and needs HTTP/1.1")
PIPELINED = Refusal(400, "invalid_request", "too many requests sent ahead on one connection")
FRAMING = Refusal(400, "invalid_request", "the body's chunks carry far more framing than content")
EXPECTATION = Refusal(417, "invalid_request", "100-continue is the only expectation that is met here")
TARGET = Refusal(414, "invalid_request", "the request target is longer than 16 KiB")
HEADERS = Refusal(431, "invalid_request", "the headers are larger than 64 KiB or more than 256")
SLOW_HEADERS = Refusal(408, "deadline", "the headers took too long to arrive")
SLOW_BODY = Refusal(408, "deadline", "the body arrives more slowly than this server waits for")
TRAILER = Refusal(
    400,
    "invalid_request",
    "a trailer holds a field that belongs in the headers; digests are compared only when sent before the body",
)
BUSY = Refusal(503, "unavailable", "this server has as much to do as it can do in good time; try again", 1)
FULL = Refusal(503, "unavailable", "this server has as many connections as it takes; try again", 1)
CROWDED = Refusal(503, "unavailable", "your address has as many connections as one may have; try again", 1)
