"""Ourselves as a service that is exposed: a token is asked for, tenant and bucket have quotas, every request is audited."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.peers.base import Peer
from bench.peers.holdfast import BUCKET, STORED
from bench.processes import PeerFailedError, running
from bench.wire import Call
from holdfast.testing.servers import free_port

_TOKEN = re.compile(r"^    (\S+)$", re.MULTILINE)
_QUOTA = 1 << 50


@contextmanager
def start(
    home: Path, name: str, *, limits: bool, environment: Mapping[str, str] | None = None
) -> Iterator[Peer]:
    """Yield the service over `home/data` called `name`, with the bucket made and, with `limits`, its quota set.

    `environment` may put an earlier Holdfast in front on `PYTHONPATH`; then `limits` must be False.
    """
    port = free_port()
    command = [sys.executable, "-m", "holdfast", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(home / "data")]
    variables = dict(environment or {})
    if "PYTHONPATH" not in variables:  # an earlier one may not know it
        variables |= STORED
    with running(command, home=home, port=port, ready="/health", environment=variables) as pid:
        found = _TOKEN.search((home / "server.log").read_text())
        if found is None:
            raise PeerFailedError("the service did not say its first token")
        headers = {"Authorization": f"Bearer {found[1]}"}
        wanted: dict[str, object] = {"name": BUCKET}
        if limits:
            wanted["max_bytes"] = _QUOTA
        _ask(port, "POST", "/api/v1/buckets", wanted, headers)
        target = f"/api/v1/objects/{BUCKET}/{{key}}"
        get, put = Call("GET", target, headers=headers), Call("PUT", target, headers=headers)
        yield Peer(name=name, port=port, get=get, put=put, put_large=put, roots=[pid])


def _ask(port: int, method: str, target: str, body: object, headers: Mapping[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, target, json.dumps(body), {**headers, "Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 201):
        raise PeerFailedError(f"{method} {target} was answered {answer.status}: {said[:300]!r}")
