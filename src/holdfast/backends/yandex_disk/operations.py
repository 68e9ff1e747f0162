"""Work that the service goes on with after it has answered: asked after until it has ended, never for ever."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

from holdfast.backends.yandex_disk.api import Answer, Api
from holdfast.backends.yandex_disk.errors import Where
from holdfast.core.errors import DeadlineError, UnavailableError

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,200}")
_FIRST: Final = 0.1
_LONGEST: Final = 3.0


class Outcome(Enum):
    """How an operation ended. `FORGOTTEN`: the service does not know it (any more), so its effect has to be looked at."""

    DONE = auto()
    FAILED = auto()
    FORGOTTEN = auto()


def operation_of(answer: Answer) -> str:
    """Return the id of the operation that an answer links to, "" when it names none.

    Only the id is taken from the link: it has been seen with another scheme than the service has.
    """
    if _ID.fullmatch(named := answer.text("operation_id")):
        return named
    try:
        path = urlsplit(answer.text("href")).path
    except ValueError:
        return ""
    folder, _, last = path.rstrip("/").rpartition("/")
    return last if folder.endswith("/operations") and _ID.fullmatch(last) else ""


async def ended(api: Api, where: Where, operation: str, *, within: float) -> Outcome:
    """Return how the operation ended.

    Raises:
        DeadlineError: it has not ended `within` seconds; what will come of it is open.
    """
    if not operation:
        raise where.error(UnavailableError, "the service does not say how to ask after what it has begun")
    clock, pause = api.environment.clock, _FIRST
    give_up = clock.monotonic() + within
    while True:
        answer = await api.call(where, "GET", f"/operations/{operation}", bear=(404,))
        if answer.status == 404:
            return Outcome.FORGOTTEN
        match answer.text("status"):
            case "success":
                return Outcome.DONE
            case "failed" | "failure":
                return Outcome.FAILED
        if clock.monotonic() >= give_up:
            raise where.error(
                DeadlineError,
                f"the service still works on it after {within:.0f} seconds; the outcome is open",
            )
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST)
