"""Logs as JSON lines on standard error. Nothing that opens a door is ever written: no tokens, no query strings."""

from __future__ import annotations

import logging
import sys

import structlog

from holdfast.api.exchange import Exchange

_log = structlog.get_logger("holdfast.api")


def configure(level: str = "info") -> None:
    """Make structlog and the standard library write one JSON object per line to standard error."""
    lowest = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
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
            ],
        )
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every malformed form
    logging.basicConfig(handlers=[handler], level=max(lowest, logging.WARNING), force=True)


def request(exchange: Exchange, seconds: float) -> None:
    """Write the access line of a request: the path without its query, cut to a sane length."""
    client = exchange.scope.get("client")
    principal = getattr(exchange, "principal", None)
    _log.info(
        "request",
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path[:1024],
        status=exchange.status,
        bytes=exchange.sent,
        milliseconds=round(seconds * 1000, 2),
        client=client[0] if client else "",
        principal=principal.id if principal is not None else "",
    )


def failure(exchange: Exchange, error: BaseException) -> None:
    """Write what nobody foresaw, with its traceback: the line that a request id leads to."""
    _log.error(
        "request failed",
        request_id=exchange.request_id,
        method=exchange.method,
        path=exchange.path[:1024],
        exc_info=error,
    )
