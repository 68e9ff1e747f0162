"""Answers that are read whole: their bytes, their JSON and how long they ask to wait, whatever the other side sends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER: Final = 16 << 20  #: bytes of an answer that is read whole
WITHIN: Final = 60.0  #: seconds in which an answer that is read whole has to be there
MOST: Final = (1 << 63) - 1  #: no size and no count that a service tells is larger
_YEAR: Final = 366 * 86_400.0


async def read_bounded(
    response: aiohttp.ClientResponse, limit: int = MAX_ANSWER, *, within: float = WITHIN
) -> bytes:
    """Return the body of an answer.

    Raises (inside `Http.exchange` they become our errors):
        EOFError: it has more than `limit` bytes.
        TimeoutError: it was not there `within` seconds, however often some bytes of it came.
    """
    content = bytearray()
    async with asyncio.timeout(within):
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > limit:
                raise EOFError("an endless answer")
    return bytes(content)


def parse_json(raw: bytes, type: Any = Any) -> Any:
    """Return the JSON of an answer, as `type`; `ValueError` for everything that is none, or is too deep."""
    import msgspec  # only what speaks JSON waits for it

    try:
        return msgspec.json.decode(raw, type=type)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError("not the JSON that was expected") from error


def whole(value: object, most: int = MOST) -> int | None:
    """Return a count that a service told, None when it is none, or none that can be."""
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
    return value if sound and isinstance(value, int) else None


def seconds(value: object) -> float:
    """Return how long something lasts, as a service told; 0 when it did not, and never more than a few years."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0.0
    return float(min(value, 10 * _YEAR))


def retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """Return for how many seconds an answer asks to wait, None when it does not say; `now` in microseconds."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _YEAR)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, moment - now / 1e6), _YEAR)
