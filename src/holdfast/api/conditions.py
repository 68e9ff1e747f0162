"""Conditional headers and ranges (RFC 9110 §13, §14), read into the engine's terms."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from holdfast.api.exchange import Exchange
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import ByteRange, Version

_ETAGS: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\uffff]*)"\s*(?:,|$)')
_RANGE: Final = re.compile(rb"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE)
_CONDITIONAL: Final = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
_MAX_ETAGS: Final = 64
_SECOND: Final = 1_000_000


def conditions_of(exchange: Exchange) -> Preconditions:
    """Return what the request's conditional headers ask.

    A date that is none is ignored, as the RFC wants; a list of ETags that is none is refused, since ignoring it
    could overwrite what the client meant to protect.

    Raises:
        InvalidRequestError: If-Match or If-None-Match is not a list of ETags.
    """
    headers = exchange.headers
    if not any(name in headers for name in _CONDITIONAL):
        return NO_CONDITIONS
    return Preconditions(
        if_match=_etags(exchange.header(b"if-match"), weak=False),
        if_none_match=_etags(exchange.header(b"if-none-match"), weak=True),
        if_modified_since=date_of(exchange.header(b"if-modified-since")),
        if_unmodified_since=date_of(exchange.header(b"if-unmodified-since")),
    )


def range_of(exchange: Exchange) -> ByteRange | None:
    """Return the one range that is asked for.

    None, which sends everything, when there is no Range, when it has several ranges, another unit, or is not a range
    at all (reversed, say): a server may, and for the last must, ignore those (RFC 9110 §14.2).
    """
    value = exchange.headers.get(b"range")
    if value is None:
        return None
    match = _RANGE.fullmatch(value)
    if match is None or (not match[1] and not match[2]):
        return None
    start, end = (int(digits) if digits else None for digits in match.groups())
    if start is not None and end is not None and end < start:
        return None
    return ByteRange(start, end)


def holds_if_range(value: str, version: Version) -> bool:
    """Tell whether If-Range names this very version: the same strong ETag, or exactly its date."""
    if value.startswith('"'):
        return value == f'"{version.etag}"'
    return date_of(value) == version.created // _SECOND * _SECOND


def date_of(value: str | None) -> int | None:
    """Return an HTTP date in microseconds, None when it is missing or none."""
    if value is None or len(value) > 64:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return int(parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()) * _SECOND
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def http_date(micros: int) -> bytes:
    """Return microseconds as an HTTP date."""
    return _date(micros // _SECOND)


@lru_cache(4096)
def _date(seconds: int) -> bytes:
    when = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[when.weekday()], _MONTHS[when.month - 1]
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        day,
        when.day,
        month,
        when.year,
        when.hour,
        when.minute,
        when.second,
    )


_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
)  # fmt: skip


def _etags(value: str | None, *, weak: bool) -> tuple[str, ...]:
    """Return the ETags of a list. Compared strongly, a weak one equals nothing, so it keeps its mark."""
    if value is None:
        return ()
    if value.strip() == "*":
        return ("*",)
    found: list[str] = []
    at = 0
    while at < len(value):
        match = _ETAGS.match(value, at)
        if match is None or len(found) >= _MAX_ETAGS:
            raise InvalidRequestError('If-Match and If-None-Match take "*" or ETags in double quotes')
        found.append(match[2] if weak or not match[1] else f'W/"{match[2]}"')
        at = match.end()
    if not found:
        raise InvalidRequestError('If-Match and If-None-Match take "*" or ETags in double quotes')
    return tuple(found)
