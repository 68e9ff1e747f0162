"""Encryption as an operator meets it: a configuration file, `holdfast encryption`, and the same over REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.app import _look_around, open_engine
from holdfast.cli.app import app
from holdfast.config import load
from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, serving
from tests.engine.encrypted import K1, K2

pytestmark = pytest.mark.doors

CONFIG = """
{keys}

[stores.disk]
driver = "local"
path = "{root}/disk"
create = true

[placement]
stores = ["disk"]
encrypt = true
"""
WORDS = b"words that nobody may read"


class Place:
    """A configuration file and what it describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys(f'seal_keys = "{K1}"')

    def keys(self, text: str) -> None:
        path = self.folder / "holdfast.toml"
        path.write_text(CONFIG.format(root=self.folder, keys=text))
        path.chmod(0o600)

    def run(self, *arguments: str, status: int = 0, stdin: bytes = b"") -> Any:
        where = ("--data", str(self.folder / "data"), "--config", str(self.folder / "holdfast.toml"))
        done = CliRunner().invoke(app, [*arguments, *where], input=stdin, env={"COLUMNS": "300"})
        assert done.exit_code == status, (arguments, done.exit_code, done.output, done.exception)
        return done

    def content(self, key: str) -> bytes:
        self.run("get", f"docs/{key}", str(self.folder / "got"))
        return (self.folder / "got").read_bytes()

    def record(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.run("mb", "docs")
    made.run("put", "-", "docs/a", stdin=WORDS)
    return made


def test_what_is_put_is_encrypted_and_keys_are_looked_after(place: Place) -> None:
    (blob,) = list((place.folder / "disk").rglob("*.floe1"))
    assert WORDS not in blob.read_bytes()
    assert place.content("a") == WORDS
    status = place.record("encryption", "status")
    assert status["root_keys"] == ["k1", "root"]
    (key,) = status["keys"]
    assert (key["tenant"], key["generation"], key["state"], key["root_key"], key["blobs"]) == (
        "default",
        1,
        "active",
        "k1",
        1,
    )
    done = place.record("encryption", "rotate", "--tenant", "default", "--drop")
    assert (done["generation"], done["rewrapped"], done["dropped"]) == (2, 1, 1)
    assert "generation 1  destroyed" in place.run("encryption", "status").stdout
    place.run("encryption", "rotate", status=7)
    place.run("encryption", "rotate", "--root", "--tenant", "default", status=7)
    place.keys(f"seal_keys_command = \"printf '%s %s' {K2} {K1}\"")
    assert place.record("encryption", "rotate", "--root")["rewrapped"] == 1
    place.keys(f'seal_keys = "{K2}"')
    assert place.content("a") == WORDS


def test_keys_are_exported_restored_and_destroyed(place: Place) -> None:
    kept = place.folder / "keys.json"
    place.run("encryption", "export", str(kept))
    assert kept.stat().st_mode & 0o777 == 0o600
    place.run("encryption", "export", str(kept), status=7)
    assert json.loads(place.run("encryption", "export").stdout) == json.loads(kept.read_text())
    assert place.record("encryption", "restore", str(kept))["restored"] == 0
    place.run("encryption", "shred", "default", status=7)
    assert place.content("a") == WORDS
    assert place.record("encryption", "shred", "default", "--yes")["destroyed"] == 1
    gone = place.run("get", "docs/a", str(place.folder / "no"), status=3).output
    assert "was destroyed" in gone
    assert "generation" not in gone
    place.run("put", "-", "docs/b", stdin=b"under a new key")
    assert place.content("b") == b"under a new key"


def test_a_command_that_gives_no_keys_stops_the_start(place: Place) -> None:
    place.keys('seal_keys_command = "false"')
    assert "seal_keys_command: false failed" in place.run("encryption", "status", status=19).output


def test_keys_that_do_not_open_are_said_at_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        for keys, made in ((K1, 7), ("k1:" + "33" * 32, 0)):
            settings, said = load(None, data=tmp_path / "data", seal_keys=keys), list[str]()
            engine = await open_engine(settings)
            try:
                assert engine.context.keys is not None
                for number in range(made):
                    await engine.context.keys.make("main", f"t{number}/x.floe1")
                await _look_around(engine, settings, said.append)
            finally:
                await engine.close()
            if made:
                assert said == []
        assert said[0].startswith("WARNING: the key of tenant t0, generation 1, cannot be opened")
        assert said[5:] == ["WARNING: 2 more keys of tenants do not open"]

    asyncio.run(story())


def roles(engine: Any) -> Any:
    async def authenticate(token: str) -> Principal:
        return Principal(f"a-{token}", "default", token)

    return authenticate


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, authenticate=roles) as running:
        running.headers["Authorization"] = "Bearer operator"
        yield running


def send(service: Service, method: str, path: str, members: Any = None, **headers: str) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, path, body, headers)


def test_the_same_over_rest(service: Service) -> None:
    encryption = "/api/v1/encryption"
    rule = {"name": "private", "stores": ["local"], "match": {"keys": ["private/*"]}, "encrypt": True}
    made = send(service, "PUT", "/api/v1/placement/rules", {"rules": [rule]})
    assert (made.status, made.json["rules"][0]["encrypt"]) == (200, True), made.body
    wrong = send(service, "PUT", "/api/v1/placement/rules", {"rules": [{**rule, "inline": 5}]})
    assert (wrong.status, "never lives in the catalog" in wrong.json["detail"]) == (400, True)
    send(service, "POST", "/api/v1/buckets", {"name": "docs"})
    assert send(service, "PUT", "/api/v1/objects/docs/private/a", {"words": 1}).status in (200, 201)
    found = send(service, "GET", "/api/v1/placement/explain?bucket=docs&key=private/a").json
    assert (found["plan"]["encrypt"], found["home"], found["copies"][0]["encrypted"]) == (True, True, True)
    (key,) = send(service, "GET", encryption).json["keys"]
    assert (key["tenant"], key["generation"], key["state"], key["blobs"]) == ("default", 1, "active", 1)
    done = send(service, "POST", f"{encryption}/rotate", {"tenant": "default", "drop": True}).json
    assert (done["generation"], done["rewrapped"], done["dropped"], done["troubles"]) == (2, 1, 1, [])
    assert send(service, "POST", f"{encryption}/rotate", {"root": True}).json["rewrapped"] == 0
    for members in ({}, {"root": True, "tenant": "x"}, {"root": True, "drop": True}):
        assert send(service, "POST", f"{encryption}/rotate", members).status == 400
    assert send(service, "GET", "/api/v1/objects/docs/private/a").json == {"words": 1}
    shred = {"tenant": "default", "confirm": "defautl"}
    assert send(service, "POST", f"{encryption}/shred", shred).status == 400
    for role in ("admin", "writer", "reader"):
        token = {"Authorization": f"Bearer {role}"}
        assert send(service, "GET", encryption, None, **token).status == 403
        assert (
            send(service, "POST", f"{encryption}/shred", {**shred, "confirm": "default"}, **token).status
            == 403
        )
    done = send(service, "POST", f"{encryption}/shred", {**shred, "confirm": "default"}).json
    assert done == {"tenant": "default", "destroyed": 1}
    gone = send(service, "GET", "/api/v1/objects/docs/private/a")
    assert (gone.status, gone.json["code"]) == (404, "not_found")
    assert "was destroyed" in gone.json["detail"]
    audit = send(service, "GET", "/api/v1/audit").body.decode()
    assert "destroy-tenant-keys" in audit
