"""Small and large GET and PUT through the service, beside nginx (the floor) and Flask + minio-py (the usual stack).

All peers keep their bytes under one directory, each in its form of production: one `holdfast serve`, one nginx worker,
2 × cores + 1 gunicorn workers (of the better of two kinds) and MinIO. Nobody is pinned; each peer may use every core
that the generator leaves. Peers take turns within a round, and the turn moves on by one each round. Dirty pages are
written out before each large transfer, so that nobody pays for the one before.

Not the same work: Holdfast digests, syncs and commits each put before it answers. nginx does none of these; the row
`nginx+fsync` adds the time of one fsync of the file that nginx has just stored, which is what a durable nginx would take.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import generator
from bench.bulk import Transfer
from bench.figures import Figure, Target
from bench.load import Job
from bench.options import Options
from bench.peers import flask_stack, holdfast, nginx
from bench.peers.base import Peer
from bench.processes import PeerFailedError, PeerMissingError

APART = 10_000_000  #: numbers of keys between two rounds of puts, so that every put has a key of its own
_FLASK = "flask+minio-py"
_TRIAL_SECONDS = 1.0


def run(options: Options) -> list[Figure]:
    """Return four figures: small GET, small PUT, large GET, large PUT."""
    with options.workspace("service") as home, ExitStack() as stack:
        figures = _figures(options)
        peers = list(_start(options, home, stack, figures))
        for peer in peers:
            options.say(f"service: filling {peer.name} {peer.facts or ''}")
            _fill(peer, options)
        _tell(peers, figures)
        small_get, small_put, large_get, large_put = figures
        rounds(options, peers, small_get, lambda peer, _: small(peer, options, "get", 0))
        rounds(options, peers, small_put, lambda peer, turn: small(peer, options, "put", (turn + 1) * APART))
        rounds(options, peers, large_get, lambda peer, _: _large(peer, options, "get", "large"))
        rounds(
            options, _with_fsync(peers, home), large_put, lambda peer, turn: _put(peer, options, home, turn)
        )
        return figures


def _figures(options: Options) -> list[Figure]:
    small, large = f"{options.small:,} bytes", f"{options.large / (1 << 20):,.0f} MiB"
    rate = f"requests/s, {options.connections} connections"
    return [
        Figure(
            f"Service: GET of {small}",
            f"{rate}, sent by {generator.name_of('get')}",
            targets=(Target("nginx", least=0.25), Target(_FLASK, least=8)),
        ),
        Figure(
            f"Service: durable PUT of {small}",
            f"{rate}, sent by {generator.name_of('put')}",
            targets=(Target(_FLASK, least=5),),
        ),
        Figure(f"Service: GET of {large}", "MB/s, one stream", targets=(Target("nginx", least=0.85),)),
        Figure(
            f"Service: PUT of {large} with SHA-256 and fsync",
            "MB/s, one stream",
            targets=(Target("nginx", least=0.5),),
        ),
    ]


def _start(options: Options, home: Path, stack: ExitStack, figures: list[Figure]) -> Iterator[Peer]:
    """Start the peers that can run here; the others are named in each figure."""
    starts: dict[str, Callable[[], Peer]] = {
        "holdfast": lambda: stack.enter_context(holdfast.start(made(home, "holdfast"))),
        "nginx": lambda: stack.enter_context(nginx.start(made(home, "nginx"))),
        _FLASK: lambda: _best_flask(options, home, stack),
    }
    for name, start in starts.items():
        try:
            yield start()
        except (PeerMissingError, PeerFailedError) as error:
            if name == "holdfast":
                raise
            options.say(f"service: {name} is left out: {error}")
            for figure in figures:
                figure.missing[name] = str(error)


def _tell(peers: list[Peer], figures: list[Figure]) -> None:
    """Write below each figure how the peers run, and where one does less than the figure compares."""
    for figure in figures:
        for peer in peers:
            told = {name: value for name, value in peer.facts.items() if name != "trial"}
            figure.notes += [f"{peer.name}: {told}"] if told else []
            if told.get("store") == "rclone":
                figure.notes.append(
                    "rclone stands in for MinIO and syncs nothing: ratios of puts are not the wanted ones"
                )


def _best_flask(options: Options, home: Path, stack: ExitStack) -> Peer:
    """Start the peer application with the gunicorn workers that did better in a short trial of gets."""
    server = stack.enter_context(flask_stack.store())
    rates = {}
    for kind in flask_stack.KINDS:
        with flask_stack.start(made(home, f"trial-{kind}"), server, kind=kind) as peer:
            fill_small(peer, options)
            rates[kind] = generator.small(_job(peer, options, "get", seconds=_TRIAL_SECONDS))["rate"]
    best = max(rates, key=lambda kind: rates[kind])
    peer = stack.enter_context(flask_stack.start(made(home, "flask"), server, kind=best))
    return replace(peer, facts={**peer.facts, "trial": rates})


def made(home: Path, name: str) -> Path:
    directory = home / name
    directory.mkdir()
    return directory


def _fill(peer: Peer, options: Options) -> None:
    fill_small(peer, options)
    generator.large(_transfer(peer, options, "put", "large"))


def fill_small(peer: Peer, options: Options) -> None:
    seen = generator.small(_job(peer, options, "put", limit=options.keys))
    if seen["failed"]:
        raise PeerFailedError(
            f"{peer.name} refused {seen['failed']} of {options.keys} puts: {seen['statuses']}"
        )


def rounds(
    options: Options, peers: list[Peer], figure: Figure, measure: Callable[[Peer, int], dict[str, Any]]
) -> None:
    """Measure every peer once per round, beginning each round with another one."""
    for turn in range(options.rounds):
        first = turn % len(peers)
        for peer in peers[first:] + peers[:first]:
            before = peer.cpu()
            seen = measure(peer, turn)
            busy = (peer.cpu() - before) / seen["seconds"]
            figure.add(peer.name, seen.pop("rate"), **seen, peer_cpu=busy, rss_mib=peer.peak_mib())
        options.say(f"{figure.title}, round {turn + 1} of {options.rounds}")


def _job(peer: Peer, options: Options, verb: str, **more: Any) -> Job:
    call = peer.get if verb == "get" else peer.put
    return Job(
        peer.host,
        peer.port,
        call,
        verb,
        options.small,
        **{"keys": options.keys, "connections": options.connections, "seconds": options.seconds, **more},
    )


def small(peer: Peer, options: Options, verb: str, first: int) -> dict[str, Any]:
    return generator.small(_job(peer, options, verb, first=first))


def _transfer(peer: Peer, options: Options, verb: str, key: str) -> Transfer:
    call = peer.get if verb == "get" else peer.put_large
    return Transfer(peer.host, peer.port, call, verb, key, options.large)


def _large(peer: Peer, options: Options, verb: str, key: str) -> dict[str, Any]:
    os.sync()
    return generator.large(_transfer(peer, options, verb, key))


def _with_fsync(peers: list[Peer], home: Path) -> list[Peer]:
    """Return the peers and, where nginx is one of them, nginx once more under the name that `_put` syncs."""
    return peers + [replace(peer, name="nginx+fsync") for peer in peers if peer.name == "nginx"]


def _put(peer: Peer, options: Options, home: Path, turn: int) -> dict[str, Any]:
    """Put one large object under a key of its own, so that no peer pays for freeing an old one."""
    key = f"put-{peer.name.replace('+', '-')}-{turn}"
    seen = _large(peer, options, "put", key)
    if peer.name == "nginx+fsync":
        seen["seconds"] += _fsync(home / "nginx" / "files" / "bench" / key)
        seen["rate"] = options.large / 1e6 / seen["seconds"]
    return seen


def _fsync(path: Path) -> float:
    started = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return time.perf_counter() - started
