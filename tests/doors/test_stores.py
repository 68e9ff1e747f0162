"""Stores over REST and on the command line, of a real service with real files."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from tests.doors.cli_tools import serving

pytestmark = pytest.mark.doors
PLANTED = "planted-secret-77f1"
#: Nobody listens there, and it is said at once.
NOWHERE = {
    "endpoint": "http://127.0.0.1:1",
    "allow_http": True,
    "bucket": "b",
    "access_key": "AKIA",
    "secret_key": PLANTED,
    "connect_timeout": 0.5,
    "retries": 0,
}


@dataclass
class World:
    """A running service, and its data directory for commands beside it."""

    root: Path
    url: str
    token: str
    said: list[str]

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {token or self.token}"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
            self.said.append(raw.decode(errors="replace"))
            return answer.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    def metrics(self) -> str:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        try:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self.token}"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def run(
        self, *arguments: str, stdin: str = "", status: int = 0, **variables: str
    ) -> list[dict[str, Any]]:
        """Run a command in this process, and return the lines of JSON that it printed."""
        result = CliRunner().invoke(
            app,
            [*arguments, "--json", "--data", str(self.root / "data")],
            input=stdin,
            env=variables,
        )
        self.said.append(result.output)
        assert result.exit_code == status, (arguments, result.exit_code, result.output, result.exception)
        return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]

    def folder(self, name: str) -> str:
        path = self.root / name
        path.mkdir()
        return str(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("stores")
    with serving(root / "data") as server:
        yield World(root, server.url, server.token, server.lines)
        assert PLANTED not in "\n".join(server.lines)


def _health_of(world: World, store: str, refusal: str | None) -> Any:
    """Return what health says of a store once it says that `refusal`: an answer is repeated for a second."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        status, said = world.ask("GET", "/api/v1/health/detailed")
        part = said["stores"].get(store)
        if part is not None and part["refusal"] == refusal:
            return status, part
        time.sleep(0.1)
    raise AssertionError(said)


def test_a_store_that_does_not_serve_is_told_with_its_reason(world: World) -> None:
    made = {"name": "unready", "driver": "local", "settings": {"path": world.folder("unready")}}
    one = "/api/v1/stores/unready"
    assert world.ask("POST", "/api/v1/stores", made)[0] == 201
    status, said = _health_of(world, "unready", "is not activated")
    assert (status, said["connected"], said["usable"]) == (200, False, False)
    assert world.ask("POST", f"{one}/test")[1]["test"]["ok"]
    assert world.ask("POST", f"{one}/activate")[1]["takes"]
    assert _health_of(world, "unready", None)[1]["usable"]
    assert world.ask("POST", f"{one}/deactivate")[0] == 200
    assert _health_of(world, "unready", "is not activated")[1]["breaker"] == "closed"
    assert 'holdfast_store_breaker_state{state="closed",store="unready"} 1.0' in world.metrics()


def test_a_store_is_made_tested_activated_changed_and_retired(world: World) -> None:
    place = {"name": "disk", "driver": "local", "settings": {"path": world.folder("disk")}}
    status, made = world.ask("POST", "/api/v1/stores", {**place, "labels": ["cold"], "region": "cellar"})
    assert status == 201
    assert (made["tested"], made["takes"], made["origin"]) == (False, False, "catalog")
    assert (made["region"], made["labels"], made["reason"]) == ("cellar", ["cold"], "is not activated")
    assert world.ask("POST", "/api/v1/stores", place)[0] == 409
    one = "/api/v1/stores/disk"
    status, told = world.ask("POST", f"{one}/test")
    assert (status, told["test"]["ok"], told["tested"]) == (200, True, True)
    assert world.ask("POST", f"{one}/activate")[1]["takes"]
    assert world.ask("PUT", f"{one}/state", {"state": "draining"})[1]["reason"] == "is draining"
    assert world.ask("PATCH", one, {"state": "active", "labels": ["hot"]})[1]["takes"]
    assert not world.ask("PATCH", one, {"settings": {"fsync": False}})[1]["takes"]
    assert world.ask("PATCH", one, {"settings": {"fsync": None}})[1]["settings"] == place["settings"]
    assert world.ask("PATCH", one, {"settings": {"folder": "x"}})[0] == 400
    assert world.ask("PATCH", one, {"settings": {"path": "disk"}})[0] == 400  # relative to what?
    assert world.ask("PATCH", one, {"labels": ["hot", "cold"]})[0] == 400
    assert world.ask("PUT", f"{one}/state", {"state": "gone"})[0] == 400
    assert world.ask("GET", one)[1]["labels"] == ["hot"]
    assert world.ask("DELETE", one)[0] == 409
    assert not world.ask("POST", f"{one}/deactivate")[1]["active"]
    assert world.ask("DELETE", one)[0] == 204
    assert world.ask("GET", one)[0] == 404
    assert world.ask("PATCH", "/api/v1/stores/local", {"labels": []})[0] == 409  # of the file


def test_what_stores_can_be_made_of(world: World) -> None:
    status, told = world.ask("GET", "/api/v1/storage-options")
    assert status == 200
    drivers = {one["driver"]: {field["name"]: field for field in one["settings"]} for one in told["drivers"]}
    assert set(drivers) >= {"local", "memory", "s3"}
    assert drivers["s3"]["secret_key"]["secret"]
    assert drivers["s3"]["session_token"]["default"] is None
    assert not drivers["s3"]["bucket"]["secret"]
    assert drivers["s3"]["bucket"]["required"]
    assert (drivers["s3"]["allow_http"]["kind"], drivers["s3"]["addressing"]["kind"]) == (
        "switch",
        "path | virtual",
    )
    assert told["labels"] == [["internal", "external"], ["hot", "cold", "archive"]]


def test_secrets_go_in_and_never_come_out(world: World) -> None:
    world.said.clear()
    status, made = world.ask(
        "POST",
        "/api/v1/stores",
        {"name": "far", "driver": "s3", "settings": NOWHERE, "attempts": 1, "active": True, "test": True},
    )
    assert status == 201
    assert (made["test"]["ok"], made["takes"], made["secrets"]) == (False, False, ["secret_key"])
    assert (made["settings"]["secret_key"], made["settings"]["access_key"]) == ("***", "AKIA")
    world.ask("GET", "/api/v1/stores")
    world.ask("GET", "/api/v1/storages")
    world.ask("PATCH", "/api/v1/stores/far", {"settings": {"secret_key": [PLANTED]}})
    world.ask("PATCH", "/api/v1/stores/far", {"settings": {"secret_key": PLANTED, "bucket": ""}})
    world.ask("GET", "/api/v1/audit?service=true")
    world.run("store", "list")
    world.run("store", "show", "far")
    world.run("store", "rewrap")
    world.run("audit", "ls", "--service")
    assert "create-store" in world.said[-1]
    assert PLANTED not in "".join(world.said)
    catalog = world.root / "data" / "catalog.db"
    kept = b"".join(path.read_bytes() for path in catalog.parent.glob("catalog.db*"))
    assert b"secret_key" in kept
    assert PLANTED.encode() not in kept
    world.run("store", "retire", "far", "--deactivate")


def test_the_names_of_an_older_service(world: World) -> None:
    old = "/api/v1/storages"
    config = {**NOWHERE, "endpoint": "127.0.0.1:1", "secure": False}
    del config["allow_http"]
    status, made = world.ask("POST", old, {"name": "company", "type": "minio", "config": config})
    assert status == 201
    assert (made["id"], made["is_active"], made["is_tested"]) == ("company", True, False)
    assert (made["config"]["endpoint"], made["config"]["secret_key"]) == ("http://127.0.0.1:1", "***")
    assert world.ask("POST", old, {"name": "company", "type": "minio", "config": config})[0] == 409
    assert "company" in [one["name"] for one in world.ask("GET", old)[1]["storages"]]
    folder = world.folder("company")
    status, told = world.ask("POST", f"{old}/test", {"type": "local", "config": {"path": folder}})
    assert (status, told["success"], told["storage"]) == (200, True, None)
    assert world.ask("POST", f"{old}/test", {"id": "company", "type": "local"})[0] == 400
    # A form that was shown comes back as it was, masked secret and all: nothing changes.
    status, same = world.ask("PUT", f"{old}/company", {"config": made["config"]})
    assert (status, same["updated_at"]) == (200, made["updated_at"])
    world.ask("PUT", f"{old}/company", {"is_active": False})
    assert not world.ask("GET", "/api/v1/stores/company")[1]["active"]
    assert world.ask("DELETE", f"{old}/company")[0] == 204
    place = {"name": "used", "type": "local", "config": {"path": folder}}
    assert world.ask("POST", old, place)[0] == 201
    told = world.ask("POST", f"{old}/test", {"id": "used"})[1]
    assert (told["success"], told["storage"]["is_tested"], told["storage"]["test_result"]) == (
        True,
        True,
        "ok",
    )
    world.ask("PUT", f"{old}/used", {"config": {"threads": 2}})
    used = next(one for one in world.ask("GET", old)[1]["storages"] if one["id"] == "used")
    assert not used["is_tested"]
    assert world.ask("DELETE", f"{old}/local")[0] == 409


def test_only_operators_look_after_stores(world: World) -> None:
    (key,) = world.run("key", "create", "an admin", "--role", "admin")
    for method, path in (
        ("GET", "/api/v1/stores"),
        ("GET", "/api/v1/stores/local"),
        ("DELETE", "/api/v1/stores/local"),
        ("POST", "/api/v1/stores/local/test"),
        ("GET", "/api/v1/storages"),
        ("GET", "/api/v1/storage-options"),
    ):
        assert world.ask(method, path, token=key["token"])[0] == 403, path


def test_a_service_follows_what_a_command_changes(world: World) -> None:
    arguments = (
        "--driver",
        "local",
        "--set",
        f"path={world.folder('tape')}",
        "--label",
        "archive",
        "--activate",
    )
    (made,) = world.run("store", "create", "tape", *arguments)
    assert (made["ok"], made["takes"], made["labels"]) == (True, True, ["archive"])

    def stores() -> list[str]:
        found = world.ask("GET", "/api/v1/health/detailed")[1]["stores"]
        return [name for name, part in found.items() if part["refusal"] is None]

    ends = time.monotonic() + 20
    while "tape" not in stores() and time.monotonic() < ends:
        time.sleep(0.2)
    assert stores() == ["local", "tape"]
    status, told = world.ask("GET", "/api/v1/health/detailed")
    assert (status, told["stores"]["tape"]["breaker"]) == (200, "closed")
    world.run("store", "state", "tape", "down")
    world.run("store", "check", "tape", "--only", "delete_removes")
    (row,) = [row for row in world.run("store", "list") if row["store"] == "tape"]
    assert (row["state"], row["takes"], row["copies"], row["origin"]) == ("down", False, False, "catalog")
    world.run("store", "update", "tape", "--label", "none", "--price", "lto", "--max-in-flight", "9")
    (shown,) = world.run("store", "show", "tape")
    assert (shown["labels"], shown["price"], shown["max_in_flight"]) == ([], "lto", 9)
    world.run("store", "deactivate", "tape")
    world.run("store", "retire", "tape")
    world.run("store", "show", "tape", status=3)


def test_secrets_come_from_files_lines_and_variables_only(world: World) -> None:
    start = ("store", "create", "s", "--driver", "s3", "--set", "bucket=b", "--set", "access_key=a")
    world.run(*start, "--set", f"secret_key={PLANTED}", status=7)
    world.run(*start, "--secret", f"secret_key={PLANTED}", status=7)
    world.run(*start, "--secret", "secret_key", status=7)
    world.run(*start, "--secret", "secret_key=env:THE_SECRET", status=7)
    (made,) = world.run(*start, "--secret", "secret_key", stdin=f"{PLANTED}\n")
    assert made["settings"] == {"bucket": "b", "access_key": "a", "secret_key": "***"}
    file = world.root / "secret"
    file.write_text("another\n")
    file.chmod(0o600)
    update = ("store", "update", "s", "--secret")
    for source in (f"secret_key=@{file}", "secret_key=env:THE_SECRET", "secret_key=env:THE_SECRET"):
        world.run(*update, source, THE_SECRET="from-a-variable")
    changes = [
        row["detail"] for row in world.run("audit", "ls", "--service") if row["action"] == "update-store"
    ]
    assert [one for one in changes if one.get("store") == "s"] == [
        {"store": "s", "settings": "secret_key"}
    ] * 2  # the third said the same again
    world.run("store", "test", "local")
    world.run("store", "retire", "s")
    assert world.run("store", "rewrap") == []


def test_the_older_names_are_served_by_default(world: World) -> None:
    status, document = world.ask("GET", "/openapi.json")
    assert status == 200
    assert {"get", "post"} <= set(document["paths"]["/api/v1/storages"])
    assert {"put", "delete"} <= set(document["paths"]["/api/v1/storages/{storage_id}"])
