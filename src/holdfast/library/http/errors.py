"""What a server answered, as the kinds it meant. The one table of this door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.core import errors
from holdfast.core.errors import BY_CODE, HoldfastError
from holdfast.core.parsing import parse_json

#: For answers without a code of ours: from a proxy in between, or to a HEAD.
BY_STATUS: Final[dict[int, type[HoldfastError]]] = {
    400: errors.InvalidRequestError,
    401: errors.UnauthenticatedError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.UnsupportedError,
    408: errors.DeadlineError,
    409: errors.ConflictError,
    412: errors.PreconditionFailedError,
    413: errors.TooLargeError,
    416: errors.InvalidRangeError,
    429: errors.RateLimitedError,
    500: errors.InternalError,
    501: errors.UnsupportedError,
    502: errors.UnavailableError,
    503: errors.UnavailableError,
    504: errors.DeadlineError,
    507: errors.QuotaExceededError,
}


def from_answer(status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
    """Return the error that an answer stands for; its message carries the server's words and request id."""
    problem = _problem(body)
    code = problem.get("code") or headers.get("x-holdfast-error-code", "")
    kind = BY_CODE.get(str(code)) or BY_STATUS.get(status) or _by_class(status)
    message = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    request_id = str(problem.get("request_id") or headers.get("x-request-id", ""))
    if request_id and status >= 500:
        message = f"{message} (request {request_id[:64]})"
    return kind(message[:1000], retry_after=_seconds(headers.get("Retry-After")))


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        found = parse_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _by_class(status: int) -> type[HoldfastError]:
    return errors.InvalidRequestError if 400 <= status < 500 else errors.UnavailableError


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None  # a date: rare, and a guess of our own does as well
