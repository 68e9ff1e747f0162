"""tus-js-client and tuspy against the real service: killed on either side, resumed on another replica, byte for byte."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.tus_tools import (
    Client,
    Service,
    ask,
    call,
    gate,
    js_client,
    py_client,
    serving,
    tus_js,
)
from tests.helpers import noise
from tests.servers_postgres import empty_database

pytestmark = pytest.mark.acceptance
MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tus") / "whole.bin"
    path.write_bytes(noise(SIZE, 11))
    return path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving("--data", str(tmp_path / "data")) as running:
        ask("POST", f"{running.url}/api/v1/buckets", {"name": "data"})
        yield running


@pytest.fixture(params=["tus-js-client", "tuspy"])
def client(request: pytest.FixtureRequest, tmp_path: Path, whole: Path) -> Any:
    """Start a client: it remembers its uploads, and goes on with them when it is started again."""
    folder = tus_js() if request.param == "tus-js-client" else None
    storage = tmp_path / f"{request.param}.json"

    def start(url: str, **wish: Any) -> Client:
        asked = {
            "endpoint": f"{url}/api/v1/tus",
            "file": str(whole),
            "metadata": {"bucket": "data", "key": "whole", "filetype": "x/y"},
            "storage": str(storage),
            **wish,
        }
        if folder is not None:
            return js_client(folder, **asked)
        asked.pop("retry", None)
        return py_client(**asked)

    return start


def check(service: Service, whole: Path, key: str = "whole") -> dict[str, str]:
    """The object is there, byte for byte, and nothing is left of its upload."""
    status, body, headers = call("GET", f"{service.url}/api/v1/objects/data/{key}")
    assert status == 200
    assert body == whole.read_bytes()
    assert ask("GET", f"{service.url}/api/v1/uploads?bucket=data")["uploads"] == []
    return headers


def offset(service: Service) -> int:
    """How far the only open upload is."""
    uploads = ask("GET", f"{service.url}/api/v1/uploads?bucket=data")["uploads"]
    assert len(uploads) == 1
    _, _, headers = call("HEAD", f"{service.url}/api/v1/tus/{uploads[0]['upload_id']}", Tus_Resumable="1.0.0")
    return int(headers["upload-offset"])


def settled(service: Service, least: int) -> int:
    """Wait until what had arrived is kept."""
    deadline = time.monotonic() + 30
    while (found := offset(service)) < least and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_killed_client_goes_on_where_it_was(service: Service, client: Any, whole: Path) -> None:
    with gate(service, 30 * MIB) as way:
        first = client(way.url)
        assert way.reached.wait(60)
        first.kill()
        kept = settled(service, 29 * MIB)
        assert 29 * MIB < kept <= 30 * MIB, "all that had come through the gate, but for the last chunk"
        way.hold_after(40 * MIB)  # were the first half sent again, it would not fit
        assert client(way.url).end()["found"]
    assert check(service, whole)["content-type"] == "x/y"


def test_a_killed_service_goes_on_where_it_was(service: Service, client: Any, whole: Path) -> None:
    with gate(service, 30 * MIB) as way:
        first = client(way.url)
        assert way.reached.wait(60)
        deadline = time.monotonic() + 30
        while _kept(service) < 16 * MIB and time.monotonic() < deadline:
            time.sleep(0.1)
        service.kill()
        first.kill()
        service.start()
        kept = offset(service)
        assert kept >= 16 * MIB, "every acknowledged piece"
        way.target = service.port
        way.lift()
        client(way.url).end()
    check(service, whole)


def _kept(service: Service) -> int:
    """How much of the only upload is acknowledged, without disturbing it."""
    uploads = ask("GET", f"{service.url}/api/v1/uploads?bucket=data")["uploads"]
    return int(uploads[0]["received"]) if uploads else 0


def test_one_client_survives_a_killed_service(service: Service, whole: Path, tmp_path: Path) -> None:
    folder = tus_js()
    with gate(service, 30 * MIB) as way:
        client = js_client(
            folder,
            endpoint=f"{way.url}/api/v1/tus",
            file=str(whole),
            metadata={"bucket": "data", "key": "whole"},
            retry=[100, 500, 1000, 1000, 2000, 2000, 2000, 4000],
        )
        assert way.reached.wait(60)
        service.kill()
        service.start()
        way.target = service.port
        way.lift()
        client.end()
    check(service, whole)


def test_another_replica_takes_the_rest(client: Any, whole: Path, tmp_path: Path) -> None:
    config = tmp_path / "holdfast.toml"
    config.write_text(
        f'catalog = "{empty_database()}"\n[stores.disk]\ndriver = "local"\npath = "{tmp_path / "objects"}"\ncreate = true\n'
    )
    with serving("--config", str(config)) as one, serving("--config", str(config)) as two:
        ask("POST", f"{one.url}/api/v1/buckets", {"name": "data"})
        with gate(one, 30 * MIB) as way:
            first = client(way.url)
            assert way.reached.wait(60)
            first.kill()
            settled(two, 29 * MIB)
            one.kill()
            way.target = two.port
            way.lift()
            assert client(way.url).end()["found"]
        check(two, whole)


def test_parallel_uploads_become_one_object(service: Service, whole: Path, tmp_path: Path) -> None:
    said = js_client(
        tus_js(),
        endpoint=f"{service.url}/api/v1/tus",
        file=str(whole),
        metadata={"bucket": "data", "key": "whole", "filetype": "x/y"},
        parallel=4,
    ).end()
    assert check(service, whole)["content-type"] == "x/y"
    version = ask("GET", f"{service.url}/api/v1/versions/data")["versions"]
    assert [one["key"] for one in version] == ["whole"]
    assert said["done"].endswith(version[0]["version_id"])


def test_parallel_uploads_resume_after_a_kill(service: Service, whole: Path, tmp_path: Path) -> None:
    folder = tus_js()
    wish: dict[str, Any] = {
        "file": str(whole),
        "metadata": {"bucket": "data", "key": "whole"},
        "parallel": 3,
        "storage": str(tmp_path / "urls.json"),
    }
    with gate(service, 30 * MIB) as way:
        first = js_client(folder, endpoint=f"{way.url}/api/v1/tus", **wish)
        assert way.reached.wait(60)
        time.sleep(0.5)  # the client writes down where its uploads are
        first.kill()
        way.lift()
        js_client(folder, endpoint=f"{way.url}/api/v1/tus", **wish).end()
    status, body, _ = call("GET", f"{service.url}/api/v1/objects/data/whole")
    assert (status, body == whole.read_bytes()) == (200, True)


@pytest.mark.parametrize(
    "more", [{"early": True}, {"override": True, "chunkSize": 9 * MIB}, {"chunkSize": 5_000_000}]
)
def test_other_ways_of_tus_js_client(service: Service, whole: Path, more: dict[str, Any]) -> None:
    js_client(
        tus_js(),
        endpoint=f"{service.url}/api/v1/tus?bucket=data&key=whole",
        file=str(whole),
        metadata={"bucket": "data", "filename": "whole.bin"},
        **more,
    ).end()
    assert check(service, whole)["x-holdfast-meta-filename"] == "whole.bin"


def test_checksums_of_tuspy_hold(service: Service, whole: Path, tmp_path: Path) -> None:
    py_client(
        endpoint=f"{service.url}/api/v1/tus",
        file=str(whole),
        metadata={"bucket": "data", "key": "whole"},
        storage=str(tmp_path / "urls.json"),
        checksum=True,
        chunkSize=10_000_000,
    ).end()
    check(service, whole)


@pytest.mark.parametrize("seed", range(int(os.environ.get("HOLDFAST_TUS_RUNS", "2"))))
def test_random_kills_of_both_sides_cost_no_byte(
    service: Service, client: Any, whole: Path, seed: int
) -> None:
    chance = random.Random(seed)
    with gate(service) as way:
        for _ in range(5):
            way.hold_after(chance.randrange(1, 20 * MIB))
            running = client(way.url)
            assert way.reached.wait(60)
            time.sleep(chance.random() * 0.3)
            if chance.random() < 0.5:
                service.kill()
                service.start()
                way.target = service.port
            running.kill()
        way.lift()
        client(way.url).end()
    status, body, _ = call("GET", f"{service.url}/api/v1/objects/data/whole")
    assert (status, body == whole.read_bytes()) == (200, True)
