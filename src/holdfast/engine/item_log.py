"""Each object of a request over many, for the audit: what was read, and what was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.chain import Line
from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Principal
from holdfast.engine.batches import Act, Item, Result
from holdfast.engine.recording import Raw, Recorder

_AGENT: Final = 256

#: Told of an object that was read, or of why it was not.
Tell = Callable[[Item, int, HoldfastError | None], None]
#: Says with which status a door answers an error; 0: no door does.
Status = Callable[[HoldfastError], int]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose request it is, and where it came from."""

    principal: Principal
    request_id: str = ""
    address: str = ""
    agent: str = ""


class ItemLog:
    """Records objects one by one. What was changed has its row in the audit already, so only failures are told of it."""

    def __init__(
        self, recorder: Recorder, clock: Clock, *, reads: bool = True, status_of: Status | None = None
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._reads = reads
        self._status_of = status_of

    def told(self, origin: Origin, verb: str) -> Tell:
        """Return what is to be told of each object that a request reads."""

        def tell(item: Item, size: int, error: HoldfastError | None) -> None:
            if error is not None or self._reads:
                self._add(origin, verb, item, size, error)

        return tell

    def watched(self, origin: Origin, verb: str, act: Act) -> Act:
        """Return `act`, with what fails recorded."""

        async def watched(item: Item) -> Result:
            try:
                return await act(item)
            except HoldfastError as error:
                self._add(origin, verb, item, 0, error)
                raise

        return watched

    def _add(self, origin: Origin, verb: str, item: Item, size: int, error: HoldfastError | None) -> None:
        raw = (self._clock.now(), origin, verb, item, size, error, self._status_of)
        self._recorder.add(_line_of, raw)


def _line_of(raw: Raw) -> tuple[str, Line]:
    at, origin, verb, item, size, error, status_of = raw
    line = Line(
        at,
        origin.principal.id,
        verb,
        item.bucket,
        item.key,
        item.version_id or "",
        origin.request_id,
        {},
        origin.address,
        200 if error is None else 0 if status_of is None else status_of(error),
        size,
        0,
        origin.agent[:_AGENT],
        "" if error is None else error.code,
    )
    return origin.principal.tenant, line
