"""Times as options take them: of ISO 8601, or how long ago (`2h`, `5d`). One reading for all commands."""

from __future__ import annotations

import re
import time
from typing import Final

from holdfast.core import clock
from holdfast.core.errors import InvalidRequestError

HOW: Final = "2027-01-31, 2027-01-31T12:00:00Z, or how long ago: 2h, 5d"  #: for the help of such an option

#: A capital M is refused: it would be minutes to us, and months to whoever wrote it.
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwSHDW])(?:\s+[aA][gG][oO])?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST: Final = 100 * 366 * 86_400  #: seconds


def moment(text: str, *, ahead: bool = False) -> int:
    """Return the microseconds of a time; UTC if it says nothing else, and a day alone is its midnight.

    A span such as `90s`, `15m`, `2h`, `5d` or `3w` is so long ago by the clock of this machine, or with `ahead` from now.

    Raises:
        InvalidRequestError: it is neither.
    """
    text = text.strip()
    if (span := _SPAN.fullmatch(text)) is not None:
        seconds = float(span[1]) * _SECONDS[span[2].lower()]
        if seconds <= _LONGEST:
            now, micros = time.time_ns() // 1000, int(seconds * 1_000_000)
            return now + micros if ahead else max(0, now - micros)
    try:
        return clock.moment(text)
    except InvalidRequestError:
        relative = "from now" if ahead else "ago"
        raise InvalidRequestError(
            f"a time is written as 2027-01-31, 2027-01-31T12:00:00Z, or as so long {relative}: 2h, 5d; not {text!r:.80}"
        ) from None


def moment_text(text: str | None) -> str | None:
    """Return such a time as a server takes it, to the microsecond; None for none."""
    from holdfast.policy.moments import text_of

    return None if text is None else text_of(moment(text))
