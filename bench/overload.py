"""Twice as many requests as can be done: how many of them are still done, and how quickly the others learn so.

The peak is what a closed loop reaches; then requests arrive at twice that rate, whatever becomes of them.
"""

from __future__ import annotations

from typing import Any

from bench import generator
from bench.arrivals import Arrivals
from bench.figures import Figure, Target
from bench.load import Job
from bench.options import Options
from bench.peers import holdfast
from bench.peers.base import Peer

GOODPUT = 0.9
REFUSED_WITHIN_MS = 20.0
_CONNECTIONS = 64
_LARGER = 64 << 10


def run(options: Options) -> list[Figure]:
    """Return goodput against the peak, and the latency of refusals, for puts and gets."""
    figures: list[Figure] = []
    with options.workspace("overload") as home, holdfast.start(home) as peer:
        generator.small(Job(peer.host, peer.port, peer.put, "put", options.small, limit=options.keys))
        for verb, size in (("put", options.small), ("put", _LARGER), ("get", options.small)):
            figures += _way(options, peer, verb, size, 10_000_000 * (len(figures) + 1))
    return figures


def _way(options: Options, peer: Peer, verb: str, size: int, first: int) -> list[Figure]:
    what = f"{verb.capitalize()}s of {size:,} bytes, twice as many as can be done"
    goodput = Figure(
        what, "done per second", ours="at twice the peak", targets=(Target("peak", least=GOODPUT),)
    )
    refused = Figure(what, "p99 of refusals in ms", at_most=REFUSED_WITHIN_MS)
    for number in range(1 if options.quick else options.rounds):
        options.say(f"overload: {verb} {size}, round {number + 1}")
        start = 0 if verb == "get" else first + 1_000_000 * number
        peak = _peak(options, peer, verb, size, start)
        goodput.add("peak", peak["rate"], **peak)
        seen = _double(options, peer, verb, size, start + 500_000 if verb == "put" else 0, 2 * peak["rate"])
        goodput.add(
            "at twice the peak",
            seen["rate"],
            p50_ms=seen["taken_p50_ms"],
            p99_ms=seen["taken_p99_ms"],
            **seen,
        )
        if seen["refused_p99_ms"] is not None:
            refused.add("holdfast", seen["refused_p99_ms"], p50_ms=seen["refused_p50_ms"], **seen)
        goodput.notes.append(
            f"round {number + 1}: offered {seen['offered']:,.0f}/s ({seen['unsent']:,} found no connection), answered"
            f" {seen['statuses']}, generator {seen['generator_cpu']:.0%} of a core"
        )
    return [goodput, refused]


def _peak(options: Options, peer: Peer, verb: str, size: int, first: int) -> dict[str, Any]:
    call = peer.get if verb == "get" else peer.put
    job = Job(peer.host, peer.port, call, verb, size, first, options.keys, _CONNECTIONS, options.seconds, 1.0)
    return generator.closed(job)


def _double(options: Options, peer: Peer, verb: str, size: int, first: int, rate: float) -> dict[str, Any]:
    call = peer.get if verb == "get" else peer.put
    job = Arrivals(peer.host, peer.port, call, verb, size, rate, first, options.keys, options.seconds, 2.0)
    return generator.steady(job)
