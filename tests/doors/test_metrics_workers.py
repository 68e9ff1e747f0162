"""Several server processes on one port: a scrape of any shows all, and a killed one leaves its counts behind."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.doors.cli_tools import Server, serving

pytestmark = pytest.mark.doors
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _ask(server: Server, method: str, path: str, body: bytes | None = None) -> tuple[str, bytes]:
    """Return which process answered, and its answer; each request has a connection of its own."""
    request = urllib.request.Request(server.url + path, body, method=method)
    request.add_header("Connection", "close")
    if server.token:
        request.add_header("Authorization", f"Bearer {server.token}")
    with _DIRECT.open(request, timeout=20) as answer:
        return answer.headers["x-request-id"].rpartition("-")[0], answer.read()


def _scrape(server: Server) -> tuple[str, dict[str, float]]:
    process, text = _ask(server, "GET", "/metrics")
    found = {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    return process, found


def _counters(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.split("{")[0].endswith(("_total", "_count"))}


def _workers(server: Server) -> list[int]:
    """Return the processes that serve: children of the supervisor that run Python's spawned entry."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_any_process_shows_all_and_a_killed_one_is_not_forgotten(tmp_path: Path) -> None:
    # Each object lies in the store, whose figures are what is looked at.
    with serving(tmp_path / "data", "--workers", "2", HOLDFAST_PLACEMENT__INLINE="0") as server:
        _ask(server, "POST", "/api/v1/buckets", b'{"name": "many"}')
        uploads = 'storage_uploads_total{"bucket": "many", "tenant": "default"}'
        stored: set[str] = set()
        count = 0
        until = time.monotonic() + 60
        while (len(stored) < 2 or count < 20) and time.monotonic() < until:
            stored.add(_ask(server, "PUT", f"/api/v1/objects/many/k{count}", b"x" * 100)[0])
            count += 1
        assert len(stored) == 2  # both processes have stored something
        time.sleep(1.5)  # each has written its figures by now
        asked: dict[str, dict[str, float]] = {}
        while len(asked) < 2 and time.monotonic() < until:
            process, found = _scrape(server)
            asked[process] = found
            assert found[uploads] == count
            assert found['storage_usage_bytes{"bucket": "many", "tenant": "default"}'] == count * 100
            assert (
                found[
                    'holdfast_store_operations_total{"operation": "put", "outcome": "ok", "store": "local"}'
                ]
                == count
            )
            assert found['holdfast_catalog_seconds_count{"kind": "write"}'] >= count
        assert len(asked) == 2
        before = _scrape(server)[1]
        victim = _workers(server)[0]
        os.kill(victim, signal.SIGKILL)
        while len(_workers(server)) < 2 or victim in _workers(server):
            assert time.monotonic() < until
            time.sleep(0.1)
        for _ in range(6):
            process, after = _scrape(server)
            assert after[uploads] == count
            for name, value in _counters(before).items():
                assert after[name] >= value, name
            before = after
        assert len(list(tmp_path.glob("*.json"))) == 0  # the files are elsewhere, and private


def test_one_process_needs_no_shared_directory(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--dev") as server:
        _ask(server, "POST", "/api/v1/buckets", b'{"name": "one"}')
        _ask(server, "PUT", "/api/v1/objects/one/k", b"x")
        found = _scrape(server)[1]
        assert found['storage_uploads_total{"bucket": "one", "tenant": "default"}'] == 1
        assert found['holdfast_catalog_seconds_count{"kind": "write"}'] >= 1


def test_processes_may_be_told_where_to_share(tmp_path: Path) -> None:
    shared = tmp_path / "run"
    with serving(tmp_path / "data", "--dev", HOLDFAST_SHARED=str(shared)) as server:
        _ask(server, "POST", "/api/v1/buckets", b'{"name": "one"}')
        _ask(server, "PUT", "/api/v1/objects/one/k", b"x")
        assert _scrape(server)[1]['storage_uploads_total{"bucket": "one", "tenant": "default"}'] == 1
        assert shared.stat().st_mode & 0o777 == 0o700
    with serving(tmp_path / "data", "--dev", HOLDFAST_SHARED=str(shared)) as server:
        _ask(server, "PUT", "/api/v1/objects/one/k2", b"x")
        found = _scrape(server)[1]
        assert found['storage_uploads_total{"bucket": "one", "tenant": "default"}'] == 2  # over a restart too
