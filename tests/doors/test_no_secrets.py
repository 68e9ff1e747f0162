"""Secrets planted wherever one can be carried, and looked for wherever something is told: none must be found."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdfast.api.logs import scrubbed
from tests.doors.cli_tools import Place, free_port, serving

pytestmark = pytest.mark.doors

_CONFIG = """
[stores.local]
driver = "local"
path = "{data}/objects"
create = true

[stores.far]
driver = "s3"
bucket = "bucket"
endpoint = "http://127.0.0.1:{port}"
region = "us-east-1"
access_key = "AKIAEXAMPLE"
secret_key = "{canary}"
allow_http = true
attempts = 1
"""


class Canaries:
    """Words that occur nowhere else."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def new(self, what: str) -> str:
        """Return one, to be planted in `what`."""
        self.made[what] = "canary" + secrets.token_hex(16)
        return self.made[what]

    def found(self, where: str) -> list[str]:
        """Return what was planted that `where` shows, also in the shapes it may travel in."""
        return [
            what
            for what, word in self.made.items()
            if word in where or base64.b64encode(word.encode()).decode().rstrip("=") in where
        ]


def _requests(canaries: Canaries, token: str) -> list[tuple[str, str, dict[str, str], bytes]]:
    bearer = {"Authorization": f"Bearer {token}"}
    new = canaries.new
    basic = base64.b64encode(f"user:{new('basic password')}".encode()).decode()
    jwt = ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"x"}')
    )
    plain = "/api/v1/objects/plain/k"
    return [
        ("GET", plain, {"Authorization": f"Bearer {new('bearer token')}"}, b""),
        ("GET", plain, {"Authorization": f"Bearer hf{'0' * 20}.{new('key secret')}"}, b""),
        ("GET", plain, {"Authorization": f"Bearer {jwt}.{new('jwt signature')}"}, b""),
        ("GET", plain, {"Authorization": f"Basic {basic}"}, b""),
        ("GET", plain, {"Authorization": f"AWS4-HMAC-SHA256 Credential=x, Signature={new('sigv4')}"}, b""),
        ("GET", plain, {**bearer, "Cookie": f"holdfast_session={new('session cookie')}; other=1"}, b""),
        ("GET", plain, {"Cookie": f"session={new('cookie alone')}"}, b""),
        ("GET", plain, {**bearer, "Proxy-Authorization": f"Basic {new('proxy password')}"}, b""),
        ("GET", plain, {**bearer, "X-Amz-Security-Token": new("session token")}, b""),
        ("GET", plain, {**bearer, "X-Api-Key": new("api key header")}, b""),
        ("GET", plain, {**bearer, "Referer": f"http://u:{new('referer')}@host/?token={new('referer query')}"}, b""),
        ("GET", f"{plain}?hf_tenant=default&hf_sig={new('signed url')}", {}, b""),
        ("GET", f"{plain}?X-Amz-Signature={new('presigned url')}", bearer, b""),
        ("GET", f"{plain}?token={new('token in query')}&version_id=nonsense", bearer, b""),
        ("GET", f"/nowhere?password={new('password in query')}", bearer, b""),
        ("GET", f"/api/v1/audit/verify?expect={new('expected head')}", bearer, b""),
        ("PUT", f"{plain}?hf_sig={new('signed put')}&hf_tenant=default", {}, b"x"),
        ("POST", "/api/v1/buckets", bearer, json.dumps({"name": "plain", "secret": new("unknown field")}).encode()),
        ("POST", f"/api/v1/upload?bucket=plain&api_key={new('form query')}", {**bearer, "Content-Type": "multipart/form-data; boundary=x"}, b"--x--"),
    ]  # fmt: skip


def test_what_opens_a_door_is_told_nowhere(tmp_path: Path) -> None:
    canaries, told = Canaries(), []
    data = tmp_path / "data"
    config = tmp_path / "holdfast.toml"
    config.write_text(_CONFIG.format(data=data, port=free_port(), canary=canaries.new("store's secret key")))
    variables = {
        "HOLDFAST_SECRET": canaries.new("root secret"),
        "HOLDFAST_ACCESS_LOG": "true",
        "HOLDFAST_LOG_LEVEL": "debug",
    }
    with serving(data, "--config", str(config), **variables) as server:
        address = urlsplit(server.url)
        assert address.hostname is not None
        bearer = {"Authorization": f"Bearer {server.token}"}
        wanted = [
            ("POST", "/api/v1/buckets", bearer, b'{"name": "plain"}'),
            ("PUT", "/api/v1/objects/plain/k", bearer, b"content"),
            *_requests(canaries, server.token),
            ("GET", "/metrics", bearer, b""),
            ("GET", "/openapi.json", bearer, b""),
        ]
        for number, (method, path, headers, body) in enumerate(wanted):
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
            try:
                connection.request(method, path, body, {"X-Request-ID": f"n{number}", **headers})
                answer = connection.getresponse()
                told.append(
                    (f"answer {number}", f"{answer.getheaders()} {answer.read().decode('utf-8', 'replace')}")
                )
                assert answer.status < 500, told[-1]
            finally:
                connection.close()
    log = "\n".join(server.lines)
    assert sum(f'"n{number}"' in log for number in range(len(wanted))) == len(wanted), "the log tells of each"
    place = Place(tmp_path, ["--data", str(data), "--config", str(config)], variables)
    audit = place.run("audit", "export").out + place.run("audit", "export", "--service").out
    assert all(f'"n{number}"' in audit for number in range(len(wanted) - 1)), "the audit tells of each"
    told += [("log", log), ("audit", audit), ("config", place.run("config", "show", status=None).out)]
    assert len(canaries.made) >= 20
    assert [(where, found) for where, text in told if (found := canaries.found(text))] == []


def test_the_harness_finds_what_is_told() -> None:
    canaries = Canaries()
    word = canaries.new("password")
    assert canaries.found(f"http://user:{word}@host") == ["password"]
    assert canaries.found(base64.b64encode(word.encode()).decode()) == ["password"]
    assert canaries.found("nothing") == []


@pytest.mark.parametrize(
    "line",
    [
        "postgresql://user:{}@host/database is away",
        "Authorization: Bearer {}",
        "authorization: basic {}",
        "GET /x?a=1&hf_sig={}&b=2",
        "GET /x?X-Amz-Signature={}",
        '{{"url": "/x?token={}"}}',
        "PUT https://storage.example/b/k?upload_id={}",
        '{{"url": "https://up.example:443/upload-target/{}"}}',
        "GET https://down.example/download-source/{}?a=1",
        '{{"cookie": "session={}; other=1"}}',
        "hf0123456789abcdef0123.{}",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.{}",
    ],
)
def test_lines_of_others_are_scrubbed(line: str) -> None:
    secret = "0123456789abcdef" * 2
    assert secret not in scrubbed(line.format(secret))
    assert "***" in scrubbed(line.format(secret))


def test_lines_without_secrets_stay_as_they_are() -> None:
    line = '{"event": "request", "path": "/api/v1/objects/b/a%20key?", "status": 200, "client": "127.0.0.1"}'
    assert scrubbed(line) == line
