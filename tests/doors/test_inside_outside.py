"""Internal stores are never seen from outside; external ones are signed for the host that a browser uses, and late."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import holdfast
from holdfast.backends.object_store import S3Settings, open_s3
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import PermissionDeniedError
from holdfast.engine.sending import presign
from holdfast.testing.servers import S3Server, moto_s3, rclone_s3, require
from tests.doors.cli_tools import Server, free_port, noise, serving
from tests.doors.test_presign import fetch

pytestmark = pytest.mark.doors

DATA = noise(300_000)


@dataclass
class World:
    server: Server
    near: S3Server
    away: S3Server
    dead: int  #: a port where nothing listens

    @property
    def inside(self) -> tuple[str, ...]:
        """What tells of the internal stores."""
        near, dead = f"127.0.0.1:{self.near.port}", f"127.0.0.1:{self.dead}"
        return near, dead, self.near.access_key, self.near.secret_key

    @property
    def hidden(self) -> tuple[str, ...]:
        """What nobody outside may read anywhere: the external store too is known by its public name only."""
        return (*self.inside, self.away.secret_key, f"127.0.0.1:{self.away.port}")

    @property
    def public(self) -> str:
        """The name under which browsers reach the external store."""
        return f"http://localhost:{self.away.port}"


def store(name: str, s3: S3Server, more: str, port: int = 0) -> str:
    return f"""
[stores.{name}]
driver = "s3"
endpoint = "http://127.0.0.1:{port or s3.port}"
bucket = "{s3.bucket}"
access_key = "{s3.access_key}"
secret_key = "{s3.secret_key}"
allow_http = true
{more}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    config, dead = folder / "holdfast.toml", free_port()
    with require(moto_s3) as near, require(rclone_s3) as away:
        outside = f'labels = ["external"]\npublic_endpoint = "http://localhost:{away.port}"\n'
        rclone = "conditional_writes = false\nfolders = true"
        config.write_text(
            'log_level = "debug"\naccess_log = true\n'
            + store("near", near, 'labels = ["internal"]')
            + store("away", away, outside + rclone)
            + store("dead", near, 'labels = ["internal"]\nattempts = 1\nretries = 0\nprefix = "dead"', dead)
            + """
[placement]
stores = ["near"]
[[placement.rules]]
name = "both"
match.buckets = ["both"]
stores = ["near", "away"]
acknowledge = 2
[[placement.rules]]
name = "away"
match.buckets = ["away"]
stores = ["away"]
[[placement.rules]]
name = "dead"
match.buckets = ["dead"]
stores = ["dead"]
"""
        )
        with serving(folder / "data", "--config", str(config)) as running:
            with holdfast.open(running.url, token=running.token) as client:
                for name in ("near", "both", "away", "dead"):
                    client.create_bucket(name)
                    if name != "dead":
                        client.put(name, "pictures/ü.png", DATA, content_type="image/png")
            yield World(running, near, away, dead)


def signed(world: World, bucket: str, method: str = "GET") -> str:
    with holdfast.open(world.server.url, token=world.server.token) as client:
        return client.presign(bucket, "pictures/ü.png", method, expires_in=120).url


def test_an_object_with_a_copy_outside_is_read_there_under_the_public_name(world: World) -> None:
    for bucket in ("both", "away"):
        status, headers, body = fetch(signed(world, bucket), follow=False)
        assert (status, body) == (307, b"")
        assert headers["location"].startswith(f"{world.public}/{world.away.bucket}/")
        # the server checks the signature, so it was made for this very host
        answer = fetch(headers["location"])
        assert (answer[0], answer[2]) == (200, DATA)
        other = headers["location"].replace("localhost", "127.0.0.1")
        assert fetch(other)[0] == 403


def test_an_object_with_internal_copies_only_is_served_by_us(world: World) -> None:
    status, headers, body = fetch(signed(world, "near"), follow=False)
    assert (status, body) == (200, DATA)
    assert "location" not in headers


def test_nothing_is_signed_at_a_store_while_an_object_is_written(world: World) -> None:
    def count() -> dict[str, str]:
        text = fetch(f"{world.server.url}/metrics", Authorization=f"Bearer {world.server.token}")[2].decode()
        found = re.findall(r'(\w+\{[^}]*operation="presign"[^}]*store="away"[^}]*\}|\w+\{[^}]*store="away"[^}]*operation="presign"[^}]*\}) (\S+)', text)  # fmt: skip
        return dict(found)

    with holdfast.open(world.server.url, token=world.server.token) as client:
        before = count()
        for number in range(3):
            client.put("away", f"k{number}", DATA)
        url = client.presign("away", "k1").url
        assert count() == before
        assert before  # so the figure is there to be counted
        assert fetch(url, follow=False)[0] == 307
        assert count() != before


def test_no_answer_and_no_log_line_tells_where_internal_stores_are(world: World) -> None:
    base, token = world.server.url, f"Bearer {world.server.token}"
    said: list[bytes] = []
    sent: list[bytes] = []  # redirects to the one place that may be known

    def ask(path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
        status, found, content = fetch(
            path if path.startswith("http") else base + path, method, body, follow=False, **headers
        )
        whole = json.dumps(found).encode() + content
        (sent if "localhost" in found.get("location", "") else said).append(whole)
        return status

    mine = {"Authorization": token, "Content_Type": "application/json"}
    with holdfast.open(base, token=world.server.token) as client:
        for bucket in ("near", "both", "away"):
            for method in ("GET", "PUT", "UPLOAD"):
                ask("/api/v1/sign", "POST", json.dumps({"bucket": bucket, "key": "x", "method": method}).encode(), **mine)  # fmt: skip
            ask(signed(world, bucket))
            ask(signed(world, bucket), "HEAD")
            ask(f"/api/v1/objects/{bucket}/pictures/%C3%BC.png", **mine)
            ask(f"/api/v1/buckets/{bucket}", **mine)
        assert client.head("near", "pictures/ü.png").size == len(DATA)
    assert ask("/api/v1/objects/dead/k", "PUT", DATA, Authorization=token) == 503
    for path in ("/health", "/health/ready", "/api/v1/storage/health", "/api/v1/health/detailed", "/metrics", "/api/v1/stats", "/api/v1/cost"):  # fmt: skip
        ask(path, **mine)
        ask(path)
    assert sent
    for hidden in world.hidden:
        for answer in said + (sent if hidden in world.inside else []):
            assert hidden.encode() not in answer, (hidden, answer[:500])
        for line in world.server.lines:
            assert hidden not in line, (hidden, line[:500])


def test_a_url_of_a_store_is_made_in_one_place_and_only_for_external_ones() -> None:
    room = Path(holdfast.__file__).parent
    makers = [
        str(path.relative_to(room))
        for path in sorted(room.rglob("*.py"))
        if not {"layers", "backends", "checks"} & set(path.parts) and ").presign(" in path.read_text()
    ]
    assert makers == ["engine/sending.py"]

    async def story() -> None:
        settings = S3Settings(bucket="b", access_key="a", secret_key="s")  # type: ignore[arg-type]
        backend = open_s3("x", settings, environment=Environment())
        for labels in ([], ["internal"], ["internal", "external"]):
            with pytest.raises(PermissionDeniedError, match="internal"):
                await presign(
                    Store("x", backend, labels=frozenset(labels)),
                    "n",
                    expires_in=60,
                    content_type="",
                    disposition="",
                )
        outside = Store("x", backend, labels=frozenset(["external"]))
        found = await presign(outside, "n", expires_in=60, content_type="text/plain", disposition="inline")
        assert urlsplit(found.url).hostname == "s3.us-east-1.amazonaws.com"
        await backend.close()

    asyncio.run(story())


# -- another provider is one line -------------------------------------------------------------------------------------
PROVIDERS = {
    "https://abc123.r2.cloudflarestorage.com": "abc123.r2.cloudflarestorage.com",
    "https://s3.eu-central-1.amazonaws.com": "s3.eu-central-1.amazonaws.com",
    "https://storage.googleapis.com": "storage.googleapis.com",
}


@pytest.mark.parametrize(("endpoint", "host"), PROVIDERS.items())
def test_every_provider_takes_the_same_settings_but_the_endpoint(endpoint: str, host: str) -> None:
    async def story() -> None:
        settings = S3Settings(
            endpoint=endpoint,
            bucket="datasets",
            region="auto",
            access_key="a",
            secret_key="s",  # type: ignore[arg-type]
        )
        backend = open_s3("datasets", settings, environment=Environment())
        found = await backend.presign("GET", "t/0/x", expires_in=3600)
        assert found.url.startswith(f"https://{host}/datasets/t/0/x?")
        # Google's dialect refuses checksums that it does not know, so none are sent there
        assert (settings.checksum_algorithm is None) == (host == "storage.googleapis.com")
        await backend.close()

    asyncio.run(story())


def test_another_provider_is_one_line_of_the_configuration(world: World, tmp_path: Path) -> None:
    config, data = tmp_path / "holdfast.toml", tmp_path / "data"
    text = f'data = "{data}"\npublic_url = "http://here"\n' + store(
        "datasets",
        world.away,
        'labels = ["external"]\nprefix = "swapped"\nconditional_writes = false\nfolders = true',
    )
    seen = []
    for server in (world.away, world.near):
        line = f'endpoint = "http://127.0.0.1:{server.port}"'
        config.write_text(re.sub(r"(?m)^endpoint = .*$", line, text))
        with holdfast.open(config) as client:
            if not seen:
                client.create_bucket("datasets")
            client.put("datasets", f"from-{server.kind}", DATA)
            assert client.get("datasets", f"from-{server.kind}") == DATA
            seen.append(server.kind)
    assert seen == ["rclone", "moto"]
