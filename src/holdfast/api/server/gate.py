"""What the connections of one process share: caps, one ticking clock for all their deadlines, ids."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final

from holdfast.api.server.refusals import CROWDED, FULL, Refusal
from holdfast.config.settings import LimitSettings
from holdfast.core.clock import Environment

if TYPE_CHECKING:
    from holdfast.api.server.protocol import Protocol

_LONGEST_TICK: Final = 1.0


class Gate:
    """Counts connections and, on every tick, has each look at its deadlines: no timer per request."""

    def __init__(self, limits: LimitSettings, environment: Environment) -> None:
        self.limits = limits
        self.environment = environment
        self.connections: set[Protocol] = set()
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        shortest = min(
            limits.header_timeout, limits.idle_timeout, limits.body_window, limits.write_timeout, 4.0
        )
        self.tick = min(_LONGEST_TICK, shortest / 4)

    def enter(self, connection: Protocol, address: str) -> Refusal | None:
        """Count a new connection; a refusal when there are too many already."""
        self.connections.add(connection)
        self._by_address[address] += 1
        if self._timer is None:
            self._timer = connection.loop.call_later(self.tick, self._tick, connection.loop)
        if len(self.connections) > self.limits.max_connections:
            return FULL
        if self._by_address[address] > self.limits.max_connections_per_address:
            return CROWDED
        return None

    def leave(self, connection: Protocol, address: str) -> None:
        """Forget a connection."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._by_address[address] -= 1
            if self._by_address[address] <= 0:
                del self._by_address[address]

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.check(now, self.tick)
        alive = bool(self.connections)
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
