"""Scrub, fsck, findings and a rebuild as an operator meets them: commands beside the catalog, and the same over REST."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.core.types import Principal
from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors

CONFIG = """
[stores.disk]
driver = "local"
path = "{root}/disk"
create = true

[placement]
stores = ["disk"]
inline = 0
"""
DARK = "default/2023111422/018bd0a2-7c00-7000-8000-000000000001"


class Place:
    """A configuration file and what it describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "holdfast.toml"
        path.write_text(CONFIG.format(root=folder))
        path.chmod(0o600)

    def run(self, *arguments: str, status: int = 0, stdin: bytes = b"") -> Any:
        where = ("--data", str(self.folder / "data"), "--config", str(self.folder / "holdfast.toml"))
        done = CliRunner().invoke(app, [*arguments, *where], input=stdin, env={"COLUMNS": "300"})
        assert done.exit_code == status, (arguments, done.exit_code, done.output, done.exception)
        return done

    def records(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def plant(self) -> Path:
        folder, _, name = DARK.rpartition("/")
        path = self.folder / "disk" / folder / f"%{name}"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"nobody's")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.run("mb", "docs")
    made.run("put", "-", "docs/a", stdin=b"some words")
    return made


def test_the_way_of_a_finding(place: Place) -> None:
    path = place.plant()
    place.run("fsck", "-q")
    (told,) = place.records("findings", "list")
    assert (told["store"], told["blob"], told["kind"], told["state"], told["sightings"]) == (
        "disk",
        DARK,
        "dark",
        "seen",
        1,
    )
    assert "no row knows it" in place.run("findings", "show", "disk", DARK).stdout
    place.run("findings", "remove", "disk", DARK, status=6)
    assert "quarantined until" in place.run("findings", "quarantine", "disk", DARK, "--hold", "1h").stdout
    place.run("findings", "quarantine", "disk", DARK, status=6)
    assert place.records("findings", "release", "disk", DARK)[0]["state"] == "released"
    place.run("findings", "quarantine", "disk", DARK)
    assert "next sweep" in place.run("findings", "remove", "disk", DARK).stdout
    place.run("findings", "release", "disk", DARK, status=6)
    assert path.exists()
    place.run("sweep", "-q")
    assert not path.exists()
    place.run("findings", "show", "disk", "nothing/of/the/kind", status=3)
    place.run("findings", "list", "--kind", "odd", status=7)


def test_a_scrub_tells_what_it_proved_and_what_is_lost(place: Place) -> None:
    place.run("scrub", "-q")
    (proved,) = place.records("store", "proved")
    assert (proved["store"], proved["copies"], proved["proved"], proved["never"]) == ("disk", 1, 1, 0)
    (blob,) = (path for path in (place.folder / "disk").rglob("%*"))
    blob.write_bytes(b"same words")
    place.run("scrub", "--max-age", "0s", "-q", status=15)
    (told,) = place.records("findings", "list")
    assert (told["kind"], told["state"]) == ("wrong-hash", "seen")
    place.run("findings", "quarantine", "disk", told["blob"], status=7)
    blob.write_bytes(b"some words")
    place.run("scrub", "-q")
    assert place.records("findings", "list") == []
    assert "100.0%" in place.run("store", "proved").stdout
    told = place.records("scrub", "--dry-run", "--budget", "5")[0]
    assert (told["objects"], told["bytes"]) == (0, 5)


def test_a_catalog_that_is_lost_is_made_anew(place: Place) -> None:
    (place.folder / "data").rename(place.folder / "lost")
    place.run("ls", "docs", status=19)
    assert place.records("catalog", "rebuild", "--dry-run")[0]["objects"] == 1
    refused = place.run("mb", "other", status=19)
    assert "holdfast catalog rebuild" in refused.output
    place.run("catalog", "rebuild", "--from", "disk", "-q")
    place.run("get", "docs/a", str(place.folder / "got"))
    assert (place.folder / "got").read_bytes() == b"some words"
    assert place.records("fsck")[0]["failed"] == 0


def roles(engine: Any) -> Any:
    async def authenticate(token: str) -> Principal:
        return Principal(f"a-{token}", "default", token)

    return authenticate


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, authenticate=roles) as running:
        running.headers["Authorization"] = "Bearer operator"
        yield running


def test_over_rest(service: Service) -> None:
    listed = service.ask("GET", "/api/v1/findings")
    assert (listed.status, listed.json) == (200, {"findings": [], "next_after": ""})
    proved = service.ask("GET", "/api/v1/proved?days=7")
    assert proved.status == 200
    assert {"since", "stores"} == set(proved.json)
    wish = json.dumps({"store": "disk", "blob": "x"}).encode()
    for verb in ("quarantine", "release", "remove"):
        assert service.ask("POST", f"/api/v1/findings/{verb}", wish).status == 404
    assert service.ask("GET", "/api/v1/findings?kind=odd").status == 400
    assert service.ask("GET", "/api/v1/findings?store=disk&blob=x").status == 404
    for method, path in (("GET", "findings"), ("GET", "proved"), ("POST", "findings/remove")):
        who = {"Authorization": "Bearer admin"}
        assert service.ask(method, f"/api/v1/{path}", wish, who).status == 403
    figures = service.ask("GET", "/metrics")
    assert b"holdfast_findings" in figures.body
