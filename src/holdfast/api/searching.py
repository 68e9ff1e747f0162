"""A search as a query of the door tells it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from holdfast.config.units import parse_size
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import check_prefix
from holdfast.core.search import Search

T = TypeVar("T")
_PLAIN: Final = frozenset(
    [
        *("bucket", "prefix", "suffix", "tag", "metadata", "content_type", "min_size", "max_size"),
        *("since", "until", "limit", "cursor"),
    ]
)


def search_of(query: dict[str, str]) -> Search:
    """Return what `query` asks for.

    `tag=NAME=VALUE` names one tag, `tag.NAME=VALUE` any number of them; `metadata` likewise.

    Raises:
        InvalidRequestError: a parameter is unknown, or is not what it should be.
    """
    pairs: dict[str, dict[str, str]] = {"tag": {}, "metadata": {}}
    for name, value in query.items():
        kind, dot, rest = name.partition(".")
        if kind in pairs and dot and rest:
            pairs[kind][rest] = value
        elif name not in _PLAIN:
            raise InvalidRequestError(
                f"a search has no parameter {name[:40]!r}; it takes {', '.join(sorted(_PLAIN))}, tag.NAME, metadata.NAME"
            )
    for kind, found in pairs.items():
        if kind in query:
            left, equals, right = query[kind].partition("=")
            if not left or not equals:
                raise InvalidRequestError(f"{kind} is NAME=VALUE; for several write {kind}.NAME=VALUE")
            found[left] = right
    return Search(
        prefix=check_prefix(query.get("prefix", "")),
        suffix=check_prefix(query.get("suffix", "")),
        tags=pairs["tag"],
        metadata=pairs["metadata"],
        content_type=_glob(query.get("content_type", "")),
        min_size=_read(query, "min_size", _size),
        max_size=_read(query, "max_size", _size),
        since=_read(query, "since", _time),
        until=_read(query, "until", _time),
    )


def _read(query: dict[str, str], name: str, parse: Callable[[str], T]) -> T | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"{name} is "
            + ("a size such as 10MB" if "size" in name else "a time such as 2026-01-31T12:00:00Z")
        ) from None


def _size(text: str) -> int:
    size = parse_size(text)
    if not isinstance(size, int) or size >= 1 << 63:
        raise ValueError(text)
    return size


def _time(text: str) -> int:
    """Return an ISO 8601 time or date in microseconds; UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1_000_000)


def _glob(pattern: str) -> str:
    """Return a pattern of content types, in which only `*` has a meaning."""
    if len(pattern) > 255 or any(char in pattern for char in "[]?"):
        raise InvalidRequestError("content_type is a media type, or a pattern such as image/*")
    return pattern
