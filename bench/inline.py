"""Small contents in the catalog beside the same in a store: Holdfast as a library, 16 operations at a time.

`inline` keeps them in its SQLite catalog, as it does by default; `local` in files beside it, `s3` on an S3 server over
the loopback. All three digest every byte and answer when it is durable. Each lives in a process of its own and takes its
turn round by round; what it puts in a round it also gets, every object once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from bench.clients import PLACES
from bench.figures import Figure, Target
from bench.library import IN_FLIGHT, Child, started
from bench.options import Options
from bench.peers import flask_stack

_WARM_UP = 50
#: Operations per second of a round that is asked for; a count, so that all do the same work.
_RATE = 800


def run(options: Options) -> list[Figure]:
    """Return two figures: put and get of small contents."""
    figures = [
        Figure(
            f"Inline: durable put of {options.small:,} bytes",
            f"operations/s, {IN_FLIGHT} in flight",
            ours="inline",
            targets=(Target("local", least=5), Target("s3", least=4)),
        ),
        Figure(
            f"Inline: get of {options.small:,} bytes",
            f"operations/s, {IN_FLIGHT} in flight",
            ours="inline",
            targets=(Target("local", least=1), Target("s3", least=4)),
        ),
    ]
    with options.workspace("inline") as home, ExitStack() as stack:
        server = stack.enter_context(flask_stack.store())
        for figure in figures:
            figure.notes.append(f"s3: {server.kind} on the loopback")
        children = [stack.enter_context(started(name, server, home)) for name in PLACES]
        for turn in range(options.rounds):
            first = turn % len(children)
            for child in children[first:] + children[:first]:
                _round(child, figures, options, turn)
            options.say(f"inline: round {turn + 1} of {options.rounds}")
    return figures


def _round(child: Child, figures: list[Figure], options: Options, turn: int) -> None:
    count = max(int(options.seconds * _RATE), IN_FLIGHT)
    order = {"name": child.name, "size": options.small, "first": turn * 100_000, "in_flight": IN_FLIGHT}
    if turn == 0:
        child.order(verb="put", count=_WARM_UP, **{**order, "name": f"{child.name}-warm"})
    os.sync()
    for figure, verb in zip(figures, ("put", "get"), strict=True):
        seen = child.order(verb=verb, count=count, **order)
        figure.add(child.name, seen.pop("per_second"), **seen)
