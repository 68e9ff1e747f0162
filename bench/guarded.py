"""What protection costs: tokens, quotas and the audit on, beside the same service without quotas and access records.

`HOLDFAST_BENCH_BEFORE` may name the `src` directory of an earlier checkout, which then takes part as `before`; so a
change of the hot path is seen in one run, in turns, on the same machine.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from bench.figures import Figure, Target
from bench.options import Options
from bench.peers import guarded
from bench.peers.base import Peer
from bench.service import APART, fill_small, made, rounds, small

_BEFORE = "HOLDFAST_BENCH_BEFORE"


def run(options: Options) -> list[Figure]:
    """Return two figures: small GET and small PUT."""
    with options.workspace("guarded") as home, ExitStack() as stack:
        peers = [
            stack.enter_context(guarded.start(made(home, "holdfast"), "holdfast", limits=True)),
            stack.enter_context(
                guarded.start(
                    made(home, "unguarded"),
                    "unguarded",
                    limits=False,
                    environment={"HOLDFAST_AUDIT_READS": "false"},
                )
            ),
        ]
        if before := os.environ.get(_BEFORE):
            place = made(home, "before")
            peers.append(
                stack.enter_context(
                    guarded.start(place, "before", limits=False, environment={"PYTHONPATH": before})
                )
            )
        for peer in peers:
            fill_small(peer, options)
        return [_figure(options, peers, verb) for verb in ("get", "put")]


def _figure(options: Options, peers: list[Peer], verb: str) -> Figure:
    figure = Figure(
        f"Guarded: {verb.upper()} of {options.small:,} bytes with token, quota and audit",
        f"requests/s, {options.connections} connections",
        targets=tuple(Target(peer.name, least=0.8) for peer in peers[1:]),
    )
    rounds(options, peers, figure, lambda peer, turn: small(peer, options, verb, _first(verb, turn)))
    return figure


def _first(verb: str, turn: int) -> int:
    return 0 if verb == "get" else (turn + 1) * APART
