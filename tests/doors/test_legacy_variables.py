"""A service that is set up with nothing but the variables of older storage services, over a real S3 server."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.servers import S3Server, moto_s3, require
from tests.doors.cli_tools import EXECUTABLE, Server, clean_environment, free_port, serving

pytestmark = pytest.mark.doors
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with require(moto_s3) as server:
        yield server


def _variables(s3: S3Server, **more: str) -> dict[str, str]:
    return {
        "MINIO_ENDPOINT": s3.endpoint.removeprefix("http://"),
        "MINIO_ACCESS_KEY": s3.access_key,
        "MINIO_SECRET_KEY": s3.secret_key,
        "MINIO_SECURE": "false",
        "STORAGE_TYPE": "minio",
        "MINIO_BUCKET": s3.bucket,
        **more,
    }


def _ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + path, body, headers, method=method)
    if server.token:
        request.add_header("Authorization", f"Bearer {server.token}")
    try:
        with _DIRECT.open(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _s3(s3: S3Server, method: str, path: str) -> int:
    connection = HTTPConnection(s3.host, s3.port, timeout=10)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_variable_has_its_effect(s3: S3Server, tmp_path: Path) -> None:
    variables = _variables(s3, DEFAULT_BUCKET="team-data", MAX_FILE_SIZE="64KB", RETENTION_DAYS="90")
    with serving(tmp_path / "data", **variables) as server:
        form = b'--e\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1,2\r\n--e--\r\n'
        status, body = _ask(server, "GET", "/api/v1/buckets")
        assert [bucket["name"] for bucket in json.loads(body)["buckets"]] == [
            "team-data"
        ]  # made at the start
        kind = {"Content-Type": "multipart/form-data; boundary=e"}
        status, body = _ask(server, "POST", "/upload", form, **kind)
        assert (status, json.loads(body)["bucket"]) == (201, "team-data")
        assert _ask(server, "GET", "/download/a.csv") == (200, b"1,2")
        status, body = _ask(server, "PUT", "/api/v1/objects/team-data/big", bytes(65 << 10))
        assert (status, json.loads(body)["code"]) == (413, "too_large")
        assert _ask(server, "PUT", "/api/v1/objects/team-data/fits", bytes(64 << 10))[0] == 201
        status, body = _ask(server, "GET", "/api/v1/buckets/team-data")
        assert json.loads(body)["retention_days"] == 90
        status, body = _ask(server, "GET", "/api/v1/health/detailed")
        assert (status, list(json.loads(body)["stores"])) == (200, ["minio"])
    assert _s3(s3, "GET", f"/{s3.bucket}?list-type=2") == 200


def test_the_port(s3: S3Server, tmp_path: Path) -> None:
    port = free_port()
    command = [EXECUTABLE, "config", "show", "--json", "--data", str(tmp_path / "data")]
    environment = clean_environment(**_variables(s3, PORT=str(port), DEFAULT_BUCKET="b-b"))
    shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = {row["setting"]: row for row in map(json.loads, shown.stdout.splitlines())}
    assert (rows["port"]["value"], rows["port"]["source"]) == (port, "PORT")
    assert rows["default_bucket"]["source"] == "DEFAULT_BUCKET"
    assert (rows["stores.minio.secret_key"]["value"], rows["stores.minio.secret_key"]["source"]) == (
        "***",
        "MINIO_SECRET_KEY",
    )
    assert s3.secret_key not in shown.stdout + shown.stderr


def test_a_missing_bucket_is_said_at_the_start(s3: S3Server, tmp_path: Path) -> None:
    ended = subprocess.run(
        [EXECUTABLE, "serve", "--data", str(tmp_path / "data"), "--port", "0"],
        env=clean_environment(**_variables(s3, MINIO_BUCKET="not-there")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "the bucket does not exist" in ended.stderr
    assert s3.secret_key not in ended.stderr


def test_a_bucket_that_goes_missing_shows_in_readiness(s3: S3Server, tmp_path: Path) -> None:
    assert _s3(s3, "PUT", "/soon-gone") == 200
    with serving(tmp_path / "data", **_variables(s3, MINIO_BUCKET="soon-gone")) as server:
        assert _ask(server, "GET", "/health/ready")[0] == 200
        assert _s3(s3, "DELETE", "/soon-gone") == 204
        until = time.monotonic() + 20
        while (found := _ask(server, "GET", "/health/ready"))[0] != 503 and time.monotonic() < until:
            time.sleep(0.1)
        status, body = found
        assert status == 503
        assert "the bucket does not exist" in json.loads(body)["problems"][0]
        assert _ask(server, "GET", "/health/live")[0] == 200


def test_a_password_that_everybody_knows_is_warned_of(s3: S3Server, tmp_path: Path) -> None:
    assert _s3(s3, "PUT", "/well-known") == 200
    known = {"MINIO_ACCESS_KEY": "minioadmin", "MINIO_SECRET_KEY": "minioadmin"}
    variables = _variables(s3, MINIO_BUCKET="well-known", **known)
    with serving(tmp_path / "data", **variables) as server:
        assert any("WARNING" in line and "everybody knows" in line for line in server.lines)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"STORAGE_TYPE": "gcs"}, "STORAGE_TYPE=gcs is not served yet"),
        ({"STORAGE_TYPE": "minio"}, "there is no default password"),
        ({"PORT": "no"}, "PORT"),
        ({"HOLDFAST_PROT": "1"}, "did you mean HOLDFAST_PORT"),
    ],
)
def test_a_wrong_variable_ends_the_start_with_its_name(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    ended = subprocess.run(
        [EXECUTABLE, "serve", "--data", str(tmp_path / "data")],
        env=clean_environment(**variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
