"""Each object of a request over many, for the audit: what was read, and what was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.api.errors import status_of
from holdfast.api.exchange import Exchange
from holdfast.catalog.chain import Line
from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError
from holdfast.engine.batches import Act, Item, Result
from holdfast.engine.recording import Raw, Recorder

_AGENT: Final = 256

#: Told of an object that was read, or of why it was not.
Tell = Callable[[Item, int, HoldfastError | None], None]


class ItemLog:
    """Records objects one by one. What was changed has its row in the audit already, so only failures are told of it."""

    def __init__(self, recorder: Recorder, clock: Clock, *, reads: bool) -> None:
        self._recorder = recorder
        self._clock = clock
        self._reads = reads

    def told(self, exchange: Exchange, verb: str) -> Tell:
        """Return what is to be told of each object that `exchange` reads."""

        def tell(item: Item, size: int, error: HoldfastError | None) -> None:
            if error is not None or self._reads:
                self._add(exchange, verb, item, size, error)

        return tell

    def watched(self, exchange: Exchange, verb: str, act: Act) -> Act:
        """Return `act`, with what fails recorded."""

        async def watched(item: Item) -> Result:
            try:
                return await act(item)
            except HoldfastError as error:
                self._add(exchange, verb, item, 0, error)
                raise

        return watched

    def _add(self, exchange: Exchange, verb: str, item: Item, size: int, error: HoldfastError | None) -> None:
        principal = exchange.session.principal
        raw = (
            *(self._clock.now(), principal.tenant, principal.id, verb, item, size, error),
            *(exchange.request_id, exchange.address, exchange.headers.get(b"user-agent", b"")),
        )
        self._recorder.add(_line_of, raw)


def _line_of(raw: Raw) -> tuple[str, Line]:
    at, tenant, principal, verb, item, size, error, request_id, address, agent = raw
    line = Line(
        at,
        principal,
        verb,
        item.bucket,
        item.key,
        item.version_id or "",
        request_id,
        {},
        address,
        200 if error is None else status_of(error),
        size,
        0,
        agent[:_AGENT].decode("utf-8", "replace"),
        "" if error is None else error.code,
    )
    return tenant, line
