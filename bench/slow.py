"""What 2,000 clients that hold connections and hardly send do to the others.

Small gets and puts arrive steadily at a rate far below what the service can do, with and without the slow clients; the
figure is the p99 of their latency. The slow ones must all be closed within 45 seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench import generator
from bench.arrivals import Arrivals
from bench.figures import Figure, Target
from bench.load import Job
from bench.options import Options
from bench.peers import holdfast
from bench.peers.base import Peer

CLIENTS = 2000
CLOSED_WITHIN = 45.0
_MOST = 1.2
_RATE = 100.0
_SECONDS = 8.0


def run(options: Options) -> list[Figure]:
    """Return the p99 of gets and puts beside slow clients, and when the last of these was closed."""
    ways = {"get": Figure(f"Gets of {options.small} bytes beside {CLIENTS:,} slow clients", "p99 in ms")}
    ways["put"] = Figure(f"Puts of {options.small} bytes beside {CLIENTS:,} slow clients", "p99 in ms")
    for figure in ways.values():
        figure.ours, figure.targets = "beside slow clients", (Target("alone", most=_MOST),)
    closed = Figure(f"{CLIENTS:,} slow clients", "seconds until the last is closed", at_most=CLOSED_WITHIN)
    with options.workspace("slow") as home, holdfast.start(home) as peer:
        generator.small(Job(peer.host, peer.port, peer.put, "put", options.small, limit=options.keys))
        for number in range(options.rounds if not options.quick else 1):
            options.say(f"slow clients: round {number + 1}")
            _round(options, peer, ways, closed, number)
    return [*ways.values(), closed]


def _round(options: Options, peer: Peer, ways: dict[str, Figure], closed: Figure, number: int) -> None:
    for verb, figure in ways.items():
        _add(figure, "alone", _steady(options, peer, verb, number))
    command = [sys.executable, "-m", "bench.drip", str(peer.port), str(CLIENTS), str(CLOSED_WITHIN + 15)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as slow:
        assert slow.stdout is not None
        if slow.stdout.readline().strip() != "ready":
            raise RuntimeError("the slow clients could not connect")
        for verb, figure in ways.items():
            _add(figure, "beside slow clients", _steady(options, peer, verb, number))
        seen: dict[str, Any] = json.loads(slow.stdout.readline())
    last = [seconds for seconds in seen["last"].values() if seconds is not None]
    closed.add("holdfast", float("inf") if seen["open"] else max(last), **seen)
    if number == 0:
        closed.notes.append(f"the last of each kind: {seen['last']}; still open: {seen['open']}")


def _steady(options: Options, peer: Peer, verb: str, number: int) -> dict[str, Any]:
    call = peer.get if verb == "get" else peer.put
    first = 0 if verb == "get" else 10_000_000 * (number + 1)
    job = Arrivals(
        peer.host, peer.port, call, verb, options.small, _RATE, first, options.keys, _SECONDS, connections=64
    )
    return generator.steady(job)


def _add(figure: Figure, peer: str, seen: dict[str, Any]) -> None:
    figure.add(peer, seen["taken_p99_ms"], p50_ms=seen["taken_p50_ms"], p99_ms=seen["taken_p99_ms"], **seen)
    if seen["refused_p50_ms"] is not None or seen["unanswered"]:
        figure.notes.append(f"{peer}: not all were answered with 2xx: {seen['statuses']}")
