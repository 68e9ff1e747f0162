"""Ourselves: `holdfast serve` as a user starts it. One process, SQLite catalog, raw bodies; objects on local disk.

Small objects too, other than by default: what is compared is stores (`bench.inline` is about the catalog as a store).

Every put is digested (SHA-256, and MD5 for its ETag where it is small), synced to disk and committed durably before it is
answered.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.peers.base import Peer
from bench.processes import PeerFailedError, running
from bench.wire import Call
from holdfast.testing.servers import free_port

BUCKET = "bench"
STORED: Final = {"HOLDFAST_PLACEMENT__INLINE": "0"}  #: contents of any size go to the store


@contextmanager
def start(home: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Peer]:
    """Yield the service over `home/data`, with the bucket made; what an earlier start left there is still there."""
    port = free_port()
    program = str(Path(sys.executable).with_name("holdfast"))
    command = [
        program,
        "serve",
        "--dev",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--data",
        str(home / "data"),
    ]
    variables = {**STORED, **(environment or {})}
    with running(command, home=home, port=port, ready="/health", environment=variables) as pid:
        if _create_bucket(port) not in (200, 201, 409):
            raise PeerFailedError("the bucket was not made")
        target = f"/api/v1/objects/{BUCKET}/{{key}}"
        yield Peer(
            name="holdfast",
            port=port,
            get=Call("GET", target),
            put=Call("PUT", target),
            put_large=Call("PUT", target),
            roots=[pid],
        )


def _create_bucket(port: int) -> int:
    """Ask for the bucket and return the status: 409 says that it is there already."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = json.dumps({"name": BUCKET})
        connection.request("POST", "/api/v1/buckets", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def put_in_parts(port: int, key: str, size: int, parts: int) -> None:
    """Store an object of `parts` parts, which the service reads through its own memory and cannot hand to the kernel.

    Raises:
        PeerFailedError: the service refused.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        made = _ask(
            connection, "POST", "/api/v1/uploads", json.dumps({"bucket": BUCKET, "key": key}).encode()
        )
        upload = made["upload_id"]
        place, part = f"bucket={BUCKET}&key={key}", os.urandom(size // parts)
        done = []
        for number in range(1, parts + 1):
            seen = _ask(connection, "PUT", f"/api/v1/uploads/{upload}/parts/{number}?{place}", part)
            done.append({"number": number, "etag": seen["etag"]})
        _ask(
            connection,
            "POST",
            f"/api/v1/uploads/{upload}/complete?{place}",
            json.dumps({"parts": done}).encode(),
        )
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, method: str, target: str, body: bytes) -> dict[str, Any]:
    connection.request(method, target, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in (200, 201):
        raise PeerFailedError(f"{method} {target} was answered {answer.status}: {said[:500]!r}")
    result: dict[str, Any] = json.loads(said)
    return result
