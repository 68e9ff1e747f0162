"""Snapshots, the past and clones over REST, from Python on both sides of it, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import holdfast
from holdfast.core.errors import AlreadyExistsError, ConflictError, InvalidRequestError, NotFoundError
from holdfast.policy.moments import text_of
from tests.doors.cli_tools import embedded
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("snapshots")) as running:
        yield running


def send(service: Service, method: str, path: str, members: Any = None) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, f"/api/v1/{path}", body)


def put(service: Service, path: str, text: bytes) -> None:
    assert service.ask("PUT", f"/api/v1/objects/{path}", text).status == 201


def test_the_past_over_rest(service: Service) -> None:
    put(service, "kept/a/one", b"first")
    put(service, "kept/b", b"bee")
    made = send(service, "PUT", "snapshots/kept/s1", {"note": "why"})
    assert (made.status, made.json["note"], made.json["bucket"]) == (201, "why", "kept")
    assert send(service, "PUT", "snapshots/kept/s1").status == 409
    at = quote(made.json["at"])
    put(service, "kept/a/one", b"second!")
    put(service, "kept/c", b"sea")
    assert service.ask("DELETE", "/api/v1/objects/kept/b").status == 204
    listed = send(service, "GET", f"list/kept?at={at}").json["objects"]
    assert [item["key"] for item in listed] == ["a/one", "b"]
    assert service.ask("GET", f"/api/v1/objects/kept/a/one?at={at}").body == b"first"
    assert service.ask("HEAD", f"/api/v1/objects/kept/b?at={at}").headers["content-length"] == "3"
    assert service.ask("GET", f"/api/v1/objects/kept/c?at={at}").status == 404
    assert service.ask("GET", f"/api/v1/objects/kept/a/one?at={at}&version_id=x").status == 400
    assert send(service, "GET", "list/kept?at=yesterday").status == 400
    assert send(service, "GET", f"list/plain?at={at}").status == 409
    found = send(service, "GET", f"differences/kept?at={at}").json
    changes = [(one["key"], one["change"]) for one in found["changes"]]
    assert changes == [("a/one", "changed"), ("b", "removed"), ("c", "added")]
    assert (found["next_marker"], found["changes"][0]["then"]["size"]) == ("", 5)
    first = send(service, "GET", f"differences/kept?at={at}&limit=1").json
    assert (len(first["changes"]), first["next_marker"]) == (1, "a/one")
    every = send(service, "GET", "differences/kept").json["changes"]  # since before there was anything
    assert [one["change"] for one in every] == ["added", "added"]
    assert [one["name"] for one in send(service, "GET", "snapshots/kept").json["snapshots"]] == ["s1"]
    refused = send(service, "DELETE", "buckets/kept?force=true")
    assert (refused.status, "s1" in refused.json["error"]) == (409, True)
    assert send(service, "DELETE", "snapshots/kept/s1").status == 204
    assert send(service, "GET", "snapshots/kept/s1").status == 404


def test_python_sees_the_same_on_both_sides(service: Service, tmp_path: Path) -> None:
    here = holdfast.open(str(tmp_path / "data"))
    there = holdfast.open(f"http://127.0.0.1:{service.port}", token="id.secret")
    for client in (here, there):
        with client:
            client.create_bucket("past", versioning=True)
            client.put("past", "k", b"1")
            early = client.create_snapshot("past", "early", note="n")
            client.put("past", "k", b"22")
            client.put("past", "new/x", b"3")
            late = client.create_snapshot("past", "late")
            assert [one.name for one in client.snapshots("past")] == ["early", "late"]
            assert client.snapshot("past", "early").at == early.at
            page = client.page_at("past", early.at)
            assert [(item.ref.key, item.size) for item in page.items] == [("k", 1)]
            assert list(client.page_at("past", late.at, delimiter="/").prefixes) == ["new/"]
            assert client.get("past", "k", version_id=client.version_at("past", "k", early.at)) == b"1"
            with pytest.raises(NotFoundError):
                client.version_at("past", "new/x", early.at)
            found = client.compare("past", early.at, late.at)
            assert [(one.key, str(one.change)) for one in found.changes] == [
                ("k", "changed"),
                ("new/x", "added"),
            ]
            with pytest.raises(AlreadyExistsError):
                client.create_snapshot("past", "late")
            with pytest.raises(ConflictError, match="early"):
                client.delete("past", "k", version_id=client.version_at("past", "k", early.at))
            with pytest.raises(InvalidRequestError):
                client.create_snapshot("past", "not a name")
            client.delete_snapshot("past", "early")
            again = client.create_snapshot("past", "again", at=early.at)
            assert text_of(again.at) == text_of(early.at)


def test_what_the_command_line_refuses(tmp_path: Path) -> None:
    """The rest is in the guide, whose commands are run."""
    place = embedded(tmp_path)
    place.run("mb", "diary", "--versioning")
    place.run("snapshot", "create", "diary", "s")
    assert "delete it first" in place.run("rb", "diary", "--force", status=6).err
    place.run("ls", "diary", "--snapshot", "s", "--at", "2027-01-31", status=7)
