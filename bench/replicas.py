"""One, two and three processes of the service on one PostgreSQL and one directory: the same answers, and how many.

First each key is written through one replica and read, listed and looked up through all. Then small puts and gets are
sent to one replica, to two, to three at the same time, each with its own generator.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from bench import generator
from bench.figures import Figure
from bench.load import Job
from bench.options import Options
from bench.peers import holdfast
from bench.peers.base import Peer
from bench.processes import PeerFailedError
from tests.servers_postgres import PostgresServer

COUNT = 3
_SAME = 200
_CONNECTIONS = 16


def run(options: Options) -> list[Figure]:
    """Return the throughput of one, two and three replicas, after they gave the same answers."""
    with options.workspace("replicas") as home, _postgres() as catalog, ExitStack() as stack:
        environment = {"HOLDFAST_CATALOG": catalog}
        peers: list[Peer] = []
        for number in range(COUNT):
            place = home / str(number)
            place.mkdir()
            (place / "data").symlink_to(_shared(home), target_is_directory=True)
            peers.append(stack.enter_context(holdfast.start(place, environment=environment)))
        compared = _compare(peers)
        cores = os.cpu_count() or 1
        figures = []
        for verb in ("put", "get"):
            figure = Figure(
                f"{verb.capitalize()}s of {options.small:,} bytes through replicas on one PostgreSQL, {cores} cores",
                "requests per second, all together",
                ours="3 replicas",
            )
            figure.notes.append(f"the same answers from each: {compared} answers compared, 0 differ")
            for number in range(1 if options.quick else options.rounds):
                for count in range(1, COUNT + 1):
                    options.say(f"replicas: {verb}, round {number + 1}, {count} of them")
                    _add(figure, count, _together(options, peers[:count], verb, number))
            figures.append(figure)
        return figures


def _shared(home: Any) -> Any:
    made = home / "shared"
    made.mkdir(exist_ok=True)
    return made


@contextmanager
def _postgres() -> Iterator[str]:
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server.url(server.create_database())
    finally:
        server.remove()


def _compare(peers: list[Peer]) -> int:
    """Return how many answers were the same from every replica.

    Raises:
        PeerFailedError: one differs.
    """
    for number in range(_SAME):
        writer = peers[number % len(peers)]
        status, _ = _ask(writer, "PUT", _place(number), b"%d" % number)
        if status != 201:
            raise PeerFailedError(f"a put was answered {status}")
    paths = [_place(number) for number in range(_SAME)]
    paths += [f"/api/v1/buckets/{holdfast.BUCKET}/files?prefix=same/", "/api/v1/buckets"]
    for path in paths:
        answers = [_ask(peer, "GET", path) for peer in peers]
        if any(answer != answers[0] for answer in answers) or answers[0][0] != 200:
            raise PeerFailedError(
                f"the replicas answer {path} differently: {[status for status, _ in answers]}"
            )
    return len(paths) * len(peers)


def _place(number: int) -> str:
    return f"/api/v1/objects/{holdfast.BUCKET}/same/{number:05d}"


def _ask(peer: Peer, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(peer.host, peer.port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _together(options: Options, peers: list[Peer], verb: str, number: int) -> list[dict[str, Any]]:
    """Load each replica with its own generator at the same time; return what each saw."""
    if verb == "get" and number == 0:
        put = Job(peers[0].host, peers[0].port, peers[0].put, "put", options.small, limit=options.keys)
        generator.closed(put)

    def one(index: int) -> dict[str, Any]:
        peer = peers[index]
        first = 0 if verb == "get" else 1_000_000 * (100 * len(peers) + 10 * number + index)
        call = peer.get if verb == "get" else peer.put
        return generator.closed(
            Job(
                peer.host,
                peer.port,
                call,
                verb,
                options.small,
                first,
                options.keys,
                _CONNECTIONS,
                options.seconds,
            )
        )

    with ThreadPoolExecutor(len(peers)) as threads:
        return list(threads.map(one, range(len(peers))))


def _add(figure: Figure, count: int, seen: list[dict[str, Any]]) -> None:
    if failed := sum(row["failed"] for row in seen):
        figure.notes.append(
            f"{count} replicas: {failed} requests failed: {[row['statuses'] for row in seen]}"
        )
    p99 = max(row["p99_ms"] for row in seen)
    p50 = max(row["p50_ms"] for row in seen)
    name = "1 replica" if count == 1 else f"{count} replicas"
    figure.add(name, sum(row["rate"] for row in seen), p50_ms=p50, p99_ms=p99)
