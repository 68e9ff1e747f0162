"""`holdfast placement`: rules, explanations and simulations beside the catalog, and rules of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.cli.exit import ending
from holdfast.core.errors import BY_CODE

pytestmark = pytest.mark.doors

CONFIG = """
[stores.near]
driver = "local"
path = "{root}/near"
create = true

[stores.far]
driver = "local"
path = "{root}/far"
create = true
price = "free"

[placement]
stores = ["near"]
inline = 0
"""
ZIPS = """
[[rules]]
name = "zips"
stores = ["far"]
match.keys = ["*.zip"]
match.max_size = "10MB"
"""


class Place:
    """A configuration file and what it describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("holdfast.toml", CONFIG.format(root=folder))

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def run(self, *arguments: str, status: int = 0, stdin: bytes = b"") -> Any:
        """Run a command in this process and check its exit status."""
        where = ("--data", str(self.folder / "data"), "--config", str(self.folder / "holdfast.toml"))
        done = CliRunner().invoke(app, [*arguments, *where], input=stdin, env={"COLUMNS": "300"})
        assert done.exit_code == status, (arguments, done.exit_code, done.output, done.exception)
        return done

    def records(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def put(self, key: str, *options: str) -> None:
        self.run("put", "-", f"docs/{key}", *options, stdin=b"content")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.run("mb", "docs")
    return found


def test_rules_are_added_changed_and_removed(place: Place) -> None:
    zips = place.write("zips.toml", ZIPS)
    place.run("placement", "rules", "set", zips)
    other = {
        "name": "first",
        "stores": ["near", "far"],
        "acknowledge": 2,
        "match": {"tags": {"keep": "twice"}},
    }
    place.run("placement", "rules", "add", place.write("one.json", json.dumps(other)), "--before", "zips")
    listed = place.records("placement", "rules", "list")
    assert [rule["name"] for rule in listed] == ["first", "zips", "default"]
    shown = place.run("placement", "rules", "list")
    assert "keys=*.zip max_size=10485760" in shown.stdout
    assert "of the catalog, generation 2" in shown.stderr
    place.run("placement", "rules", "add", zips, status=place_status("already_exists"))
    place.run("placement", "rules", "add", zips, "--replace", "--before", "first")
    place.run("placement", "rules", "remove", "first", "--generation", "1", status=place_status("conflict"))
    place.run("placement", "rules", "remove", "first", "--generation", "3")
    place.run("placement", "rules", "remove", "first", status=place_status("not_found"))
    assert [rule["name"] for rule in place.records("placement", "rules", "list")] == ["zips", "default"]
    wrong = place.run(
        "placement", "rules", "set", place.write("bad.toml", ZIPS.replace('"far"', '"mars"')),
        status=place_status("invalid_request"),
    )  # fmt: skip
    assert "rule 'zips': there is no store 'mars'; there is: far, near" in wrong.stderr


def place_status(code: str) -> int:
    """Return the exit status of an error."""
    return ending(BY_CODE[code]("x")).status


def test_objects_are_explained_and_other_rules_simulated(place: Place) -> None:
    place.put("a.zip")
    place.put("b.txt", "--storage-class", "COLD")
    zips = place.write("zips.toml", ZIPS)
    (told,) = place.records("placement", "simulate", zips)
    assert (told["moving"], told["every"]["objects"]) == ({"objects": 1, "pieces": 1, "bytes": 7}, 2)
    assert told["moves"] == [{"from": ["near"], "to": ["far"], "objects": 1, "pieces": 1, "bytes": 7}]
    shown = place.run("placement", "simulate", zips)
    assert "1 of 2 objects would move, 7 B of 14 B" in shown.stderr
    assert "per month: unknown (what is known:" in shown.stderr  # `near` has no price
    place.run("placement", "rules", "set", zips)
    (found,) = place.records("placement", "explain", "docs/a.zip")
    assert (found["home"], found["plan"]["stores"], [copy["store"] for copy in found["copies"]]) == (
        *(False, ["far"]),
        ["near"],
    )
    shown = place.run("placement", "explain", "docs/a.zip").stdout
    assert "belongs to: far" in shown
    assert "that is not where it belongs" in shown
    (found,) = place.records("placement", "explain", "docs/b.txt")
    assert (found["home"], found["facts"]["storage_class"]) == (True, "COLD")
    options = ("--would", "--size", "11MB", "--content-type", "application/zip", "--tag", "a=b")
    (found,) = place.records("placement", "explain", "docs/new.zip", *options)
    assert (found["plan"]["rule"], found["asked"][0]["reason"]) == (
        "default",
        "the size of 11534336 bytes is not below 10485760",
    )
    place.run("placement", "explain", "docs/a.zip", "--size", "1", status=place_status("invalid_request"))


def test_a_store_that_is_not_there_yet_is_supposed(place: Place) -> None:
    place.put("a.zip")
    later = place.write("later.toml", ZIPS.replace('"far"', '"later"'))
    place.run("placement", "simulate", later, status=place_status("invalid_request"))
    (told,) = place.records("placement", "simulate", later, "--store", "later=free")
    assert told["stores"][0]["store"] == "later"
    default = place.write("default.json", json.dumps({"stores": ["far"], "rules": []}))
    (told,) = place.records("placement", "simulate", default)
    assert told["moves"][0]["to"] == ["far"]
    assert told["month_after"]["total"] == "0"


def test_rules_of_the_file_are_checked_and_win(place: Place) -> None:
    held = (place.folder / "holdfast.toml").read_text()
    place.write("holdfast.toml", held + ZIPS.replace("[[rules]]", "[[placement.rules]]"))
    place.put("a.zip")
    (found,) = place.records("placement", "explain", "docs/a.zip")
    assert (found["home"], found["plan"]["rule"], found["of_file"]) == (True, "zips", True)
    zips = place.write("zips.toml", ZIPS)
    refused = place.run("placement", "rules", "set", zips, status=place_status("conflict"))
    assert "in its file" in refused.stderr
    for wrong, said in (
        ('stores = ["mars"]', "placement: rule 'zips': there is no store 'mars'"),
        ('stores = ["catalog"]', "inline = SIZE"),
        ('stores = ["far"]\ninline = "much"', "is not a size"),
        ('stores = ["far"]\nshops = 1', "shops"),
    ):
        rules = ZIPS.replace("[[rules]]", "[[placement.rules]]").replace('stores = ["far"]', wrong)
        place.write("holdfast.toml", held + rules)
        failed = place.run("ls", "docs", status=place_status("config"))
        assert said in failed.stderr, failed.stderr


def test_thresholds_are_set_and_shown(place: Place) -> None:
    (shown,) = place.records("bucket", "set", "docs", "--inline", "1KB")
    assert shown["inline"] == 1024
    place.put("small")
    (found,) = place.records("placement", "explain", "docs/small")
    assert (found["plan"]["inline"], [copy["store"] for copy in found["copies"]]) == (True, ["catalog"])
    (shown,) = place.records("bucket", "set", "docs", "--inline", "none")
    assert shown["inline"] is None
    (shown,) = place.records("tenant", "set", "default", "--inline", "2KB")
    assert shown["inline"] == 2048
    assert "inline: as the service says" in place.run("tenant", "set", "default", "--inline", "none").stdout
