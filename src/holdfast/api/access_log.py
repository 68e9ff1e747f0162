"""What the door saw of each request, for the audit. While the request lasts only a tuple is made; sense later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from holdfast.api.exchange import Exchange
from holdfast.catalog.chain import Line
from holdfast.core.clock import Clock
from holdfast.engine.recording import Raw, Recorder

_AGENT: Final = 256
_NAME: Final = 1024
_NOTHING: Final[Mapping[str, str]] = {}
_PIECE: Final = re.compile(r"\{(\w+)(?:\.\.\.)?\}")


class AccessLog:
    """Hands what was asked, and how it ended, to the recorder.

    Not a change that was committed: its row tells of it. And nothing of the pages that everybody may see.
    """

    def __init__(self, recorder: Recorder, clock: Clock, *, reads: bool) -> None:
        self._add = recorder.add
        self._now = clock.now
        self._reads = reads

    def __call__(self, exchange: Exchange) -> None:
        """Record a request that is over."""
        status = exchange.status
        session = getattr(exchange, "session", None)
        if 0 < status < 400 and (session is None or session.written):
            return
        detail = _NOTHING if session is None else session.detail
        if 0 < status < 400 and not (self._reads or detail):
            return
        who = exchange.claimed
        self._add(
            line_of,
            (
                self._now(),
                "" if who is None else who.tenant,
                "" if who is None else who.id,
                () if session is None else session.asked,
                exchange.method,
                exchange.route,
                exchange.pieces,
                exchange.raw_path,
                exchange.request_id,
                exchange.address,
                status,
                exchange.sent,
                exchange.received,
                exchange.headers.get(b"user-agent", b""),
                exchange.error,
                detail,
            ),
        )


def line_of(raw: Raw) -> tuple[str, Line]:
    """Return whose record it is, and the record."""
    at, tenant, principal, asked, method, route, pieces, path, request_id, address, *rest = raw
    status, sent, received, agent, error, detail = rest
    verb, bucket, key, version_id = asked or ("", "", "", "")
    if not bucket and pieces:
        named = dict(zip(_names(route), pieces, strict=False))
        bucket, key = named.get("bucket", ""), key or named.get("key", "")
        version_id = version_id or named.get("file_id", "")
    line = Line(
        at,
        principal,
        verb or f"{_tidy(method, 16)} {route}",
        _tidy(bucket, _NAME),
        _tidy(key, _NAME),
        _tidy(version_id, _NAME),
        request_id,
        dict(detail) if pieces is not None else {"path": path[:_NAME].decode("ascii", "replace")},
        address,
        status,
        sent + received,
        received,
        _text(agent[:_AGENT]),
        error,
    )
    return tenant, line


@lru_cache(256)
def _names(route: str) -> tuple[str, ...]:
    """Return the names of the pieces of a path."""
    return tuple(_PIECE.findall(route))


@lru_cache(1024)
def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _tidy(text: str, most: int) -> str:
    """Return a name as it can be kept: not longer than any real one, and in characters only."""
    if len(text) <= most and text.isascii():
        return text
    return text[:most].encode("utf-8", "replace").decode()


class AuditMetrics(Collector):
    """Whether records wait, and whether some were lost."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        waiting, dropped = (0, 0) if self.recorder is None else (len(self.recorder), self.recorder.dropped)
        yield GaugeMetricFamily(
            "holdfast_audit_waiting_records", "Records of requests that are not sealed yet", value=waiting
        )
        yield CounterMetricFamily(
            "holdfast_audit_dropped_records", "Records of requests that found no room", value=dropped
        )


@cache
def audit_metrics(registry: CollectorRegistry = REGISTRY) -> AuditMetrics:
    """Return the collector of `registry`, made once."""
    made = AuditMetrics()
    registry.register(made)
    return made
