"""What the connections of one process share: caps, one ticking clock for all their deadlines, ids."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final

from holdfast.api.server.refusals import BUSY, CROWDED, FULL, Refusal
from holdfast.config.settings import LimitSettings
from holdfast.core.clock import Environment

if TYPE_CHECKING:
    from holdfast.api.server.protocol import Protocol

_LONGEST_TICK: Final = 1.0
_MOST_REFUSED: Final = 512  #: connections that are being told that there are too many; beyond, they are cut
_SPECIAL: Final = (b"content-length", b"transfer-encoding", b"close", b"upgrade", b"expect", b"\0")
_PLACE: Final = b"#" * 41  #: where the request id goes, as long as one is
_SLICE: Final = 10  #: connections that are looked at before others get their turn; refusing one takes 0.1 ms
_ALWAYS: Final = b"/health"


class Gate:
    """Counts connections and requests and, on every tick, has each look at its deadlines: no timer per request.

    Attributes:
        in_flight: requests that were started and are not over.
        working: those of them that do not wait for their client to send or to read.
        draining: a stop was asked for; what is in flight is finished.
        held: connections under the caps, those in their TLS handshake among them.
        refused: how often each refusal was given because of a cap.
    """

    def __init__(self, limits: LimitSettings, environment: Environment) -> None:
        self.limits = limits
        self.environment = environment
        self.connections: set[Protocol] = set()
        self.in_flight = 0
        self.working = 0
        self.draining = False
        self.refused: Counter[str] = Counter()
        self._turned_away: set[Protocol] = set()
        self._by_address: Counter[str] = Counter()
        self.held = 0
        self._busy_answer = BUSY.encode(_PLACE.decode(), close=False)
        self._prefix = environment.new_id().replace("-", "").encode()
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        shortest = min(
            limits.header_timeout, limits.idle_timeout, limits.body_window, limits.write_timeout, 4.0
        )
        self.tick = min(_LONGEST_TICK, shortest / 4)

    def admit(self, address: str) -> Refusal | None:
        """Count one more connection of `address`; a refusal, uncounted, when there are too many already."""
        if self.held >= self.limits.max_connections:
            self.refused["connections"] += 1
            return FULL
        if self._by_address[address] >= self.limits.max_connections_per_address:
            self.refused["address"] += 1
            return CROWDED
        self.held += 1
        self._by_address[address] += 1
        return None

    def release(self, address: str) -> None:
        """Take back what `admit` counted."""
        self.held -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def watch(self, connection: Protocol, *, refused: bool = False) -> None:
        """Look at the deadlines of `connection` from now on; cut it when too many are being refused."""
        if refused and len(self._turned_away) >= _MOST_REFUSED:
            connection.transport.abort()
            return
        (self._turned_away if refused else self.connections).add(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(self.tick, self._tick, connection.loop)

    def forget(self, connection: Protocol) -> None:
        """Look no more."""
        self.connections.discard(connection)
        self._turned_away.discard(connection)

    @property
    def busy(self) -> bool:
        """Whether there is as much to do as can be done in good time."""
        return self.working >= self.limits.max_working or self.in_flight >= self.limits.max_requests

    def shed(self, path: bytes) -> Refusal | None:
        """Return why a request for `path` is not even started."""
        if not self.busy or path.startswith(_ALWAYS):
            return None
        self.refused["requests"] += 1
        return BUSY

    def shed_unread(self, data: bytes) -> bytes | None:
        """Return the refusal of a request that is not even parsed; None when it must be, or need not be refused.

        Only for what is, beyond doubt, the whole head of one GET without a body, on a connection that stays: refusing
        must cost far less than answering, else there is no time left for those who are answered.
        """
        if not self.busy or not data.startswith(b"GET /") or data.startswith(b"GET " + _ALWAYS):
            return None
        lines = data.count(b"\r\n")
        if (
            data.find(b"\r\n\r\n") != len(data) - 4
            or data.count(b"\n") != lines
            or data.count(b"\r") != lines
        ):
            return None
        lowered = data.lower()
        if any(word in lowered for word in _SPECIAL) or b" http/1.1\r\n" not in lowered:
            return None
        self.refused["requests"] += 1
        self._number += 1
        return self._busy_answer.replace(_PLACE, b"%s-%08x" % (self._prefix, self._number & 0xFFFFFFFF))

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look(loop, [*self.connections, *self._turned_away])

    def _look(self, loop: asyncio.AbstractEventLoop, left: list[Protocol]) -> None:
        """Have some connections look at their deadlines, then let requests have their turn before the next do."""
        now = loop.time()
        for connection in left[:_SLICE]:
            if connection in self.connections or connection in self._turned_away:
                connection.check(now, self.tick)
        if len(left) > _SLICE:
            loop.call_soon(self._look, loop, left[_SLICE:])
            return
        alive = bool(self.connections or self._turned_away)
        self._timer = loop.call_later(self.tick, self._tick, loop) if alive else None


def group(address: str) -> str:
    """Return what counts as one address: IPv4 as it is, IPv6 by its /64, since one client has all of that."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
