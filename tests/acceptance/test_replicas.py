"""Growing up: two replicas of the real service on PostgreSQL and a real S3 server, and losing one of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.testing import servers
from tests.helpers import noise
from tests.servers_postgres import empty_database

pytestmark = pytest.mark.acceptance
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def service(config: Path, *, dev: bool = True) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start `holdfast serve` on a free port and give its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "serve", "--dev", "--config", str(config), "--port", "0"],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield _url(process), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _url(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    deadline = time.monotonic() + 30
    seen = b""
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        seen += line
        if b"listens on http://" in line:
            return "http://" + line.split(b"http://")[1].split()[0].decode()
        if not line and process.poll() is not None:
            break
    raise AssertionError(f"the service did not start: {seen.decode()[-2000:]}")


def call(
    method: str, url: str, data: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with _DIRECT.open(request, timeout=30) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def test_two_replicas_share_everything_and_one_may_die(tmp_path: Path) -> None:
    with servers.rclone_s3() as s3:
        config = tmp_path / "holdfast.toml"
        config.write_text(
            f'catalog = "{empty_database()}"\nsweep_interval = "1s"\n[stores.far]\ndriver = "s3"\nendpoint = "{s3.endpoint}"\n'
            f'bucket = "{s3.bucket}"\nregion = "{s3.region}"\naccess_key = "{s3.access_key}"\nsecret_key = "{s3.secret_key}"\n'
            "allow_http = true\n"
        )
        big = noise(20 << 20)
        with service(config) as (one, first), service(config) as (two, _):
            assert (
                call(
                    "POST",
                    f"{one}/api/v1/buckets",
                    json.dumps({"name": "data"}).encode(),
                    **{"Content-Type": "application/json"},
                )[0]
                == 201
            )
            for name, body in (("small", b"hello"), ("big", big)):
                status, _, headers = call("PUT", f"{one}/api/v1/objects/data/{name}", body)
                assert status in (200, 201), headers
            assert call("GET", f"{two}/api/v1/objects/data/big")[1] == big
            first.kill()
            first.wait()
            assert call("GET", f"{two}/api/v1/objects/data/small")[1] == b"hello"
            assert call("PUT", f"{two}/api/v1/objects/data/small", b"again")[0] in (200, 201)
            listing = json.loads(call("GET", f"{two}/api/v1/list/data")[1])
            assert [item["key"] for item in listing["objects"]] == ["big", "small"]
        with service(config) as (three, _):
            assert call("GET", f"{three}/api/v1/objects/data/small")[1] == b"again"
