"""What goes wrong, as HTTP says it: one table of statuses, one JSON shape (RFC 9457)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

import msgspec

from holdfast.core import errors
from holdfast.core.errors import HoldfastError

Headers = list[tuple[bytes, bytes]]

STATUS: Final[dict[type[HoldfastError], int]] = {
    errors.NotFoundError: 404,
    errors.AlreadyExistsError: 409,
    errors.PreconditionFailedError: 412,
    errors.ConflictError: 409,
    errors.InvalidRequestError: 400,
    errors.InvalidRangeError: 416,
    errors.TooLargeError: 413,
    errors.DigestMismatchError: 400,
    errors.UnauthenticatedError: 401,
    errors.PermissionDeniedError: 403,
    errors.QuotaExceededError: 507,
    errors.RateLimitedError: 429,
    errors.UnavailableError: 503,
    errors.DeadlineError: 504,
    errors.CorruptedError: 502,
    errors.UnsupportedError: 501,
    errors.ConfigError: 503,
    errors.InternalError: 500,
}

#: Statuses of refusals that belong to HTTP alone and are no kind of ours, and the code each carries.
HTTP_CODES: Final[dict[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    415: "unsupported_media_type",
    416: "invalid_range",
    423: "locked",
    460: "digest_mismatch",
}

_TITLES: Final = {460: "Checksum Mismatch"}  #: of tus, unknown to HTTP
_HIDDEN: Final = "something went wrong here; the request id leads to the log"
_RETRY: Final[dict[int, int]] = {429: 1, 503: 1}


class HttpRefusalError(Exception):
    """A request that the door turns away by rules of HTTP: no such route, a method or a type that is not taken.

    Also a kind of ours that needs headers beside its message.
    """

    def __init__(self, status: int, detail: str, *, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or []


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels. `success` and `error` are for clients that look no further."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    instance: str
    success: bool = False
    error: str = ""


def status_of(error: BaseException) -> int:
    """Return the status that `error` is answered with; 500 for what nobody foresaw."""
    if isinstance(error, HttpRefusalError):
        return error.status
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def code_of(error: BaseException) -> str:
    """Return the code that `error` travels with."""
    if isinstance(error, HttpRefusalError):
        return HTTP_CODES.get(error.status, "invalid_request")
    return error.code if isinstance(error, HoldfastError) else "internal"


def describe(error: BaseException, *, request_id: str, instance: str) -> Problem:
    """Return `error` as it travels. Defects and wrong configuration are not described to clients."""
    status = status_of(error)
    code = code_of(error)
    if isinstance(error, HttpRefusalError):
        detail = error.detail
    elif isinstance(error, HoldfastError):
        detail = error.message if status != 500 else _HIDDEN
    else:
        detail = _HIDDEN
    detail = detail.encode("utf-8", "replace").decode()
    return Problem(
        type=f"urn:holdfast:error:{code}",
        title=_TITLES[status] if status in _TITLES else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        instance=instance,
        error=detail,
    )


def render(
    error: BaseException, *, request_id: str, instance: str, more: dict[str, Any] | None = None
) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of the answer to `error`; `more` are further members of the body."""
    problem = describe(error, request_id=request_id, instance=instance)
    body = msgspec.json.encode({**msgspec.structs.asdict(problem), **(more or {})})
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-holdfast-error-code", problem.code.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    if isinstance(error, HttpRefusalError):
        headers += error.headers
    if problem.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="holdfast"'))
    if (wait := _wait(error, problem.status)) is not None:
        headers.append((b"retry-after", b"%d" % wait))
    return problem.status, headers, body


def _wait(error: BaseException, status: int) -> int | None:
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, int | float) and 0 <= asked < 86400:
        return max(1, math.ceil(asked))
    return _RETRY.get(status)
