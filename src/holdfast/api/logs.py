"""Logs as JSON lines on standard error. Nothing that opens a door is ever written: no tokens, no query strings.

What others' code says (a driver, a traceback) is not ours to choose, so each line is looked through once more before it
is written, for whatever has the shape of a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

import structlog

from holdfast.api.exchange import Exchange

_log = structlog.get_logger("holdfast.api")
_PATH: Final = 1024
_MASK: Final = "***"
#: What opens a door, by its shape or by the word before it. The groups stay.
_SECRETS: Final = re.compile(
    r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(\w://[^\s/:@\"']*:)[^\s/@\"']+(?=@)"
    r"|([?&;\s\"'](?:hf_\w+|x-amz-(?:signature|credential|security-token)|signature|sig|token|access_token|api_key"
    r"|apikey|password|passwd|secret|secret_access_key|session|upload_?id)=)[^&\s\"'\\]+"
    r"|((?:upload-target|download-source)/)[^\s\"'\\?]+"
    r"|((?:set-)?cookie\W{1,4})[^\s\"'][^\"'\\]*"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|\bhf[0-9a-f]{20}\.[0-9A-Za-z]{16,}",
    re.IGNORECASE,
)


def configure(level: str = "info") -> None:
    """Make structlog and the standard library write one JSON object per line to standard error."""
    lowest = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(), _scrub],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                _scrub,
            ],
        )
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every malformed form
    logging.basicConfig(handlers=[handler], level=max(lowest, logging.WARNING), force=True)


def scrubbed(text: str) -> str:
    """Return `text` with whatever looks like a secret masked."""
    return _SECRETS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return next((kept for kept in match.groups() if kept), "") + _MASK


def _scrub(logger: Any, method: str, line: Any) -> str:
    """Mask secrets in a line that is about to be written."""
    return scrubbed(line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line))


def request(exchange: Exchange, seconds: float) -> None:
    """Write the access line of a request: the path without its query, cut to a sane length."""
    principal = getattr(exchange, "principal", None)
    _log.info(
        "request",
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path[:_PATH],
        status=exchange.status,
        bytes=exchange.sent,
        milliseconds=round(seconds * 1000, 2),
        client=exchange.address,
        principal=principal.id if principal is not None else "",
    )


def failure(exchange: Exchange, error: BaseException) -> None:
    """Write what nobody foresaw, with its traceback: the line that a request id leads to."""
    _log.error(
        "request failed",
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path[:_PATH],
        exc_info=error,
    )
