"""Moves of stores over REST, for operators alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import ConflictError
from tests.doors.cli_tools import Place
from tests.doors.rest_service import Service, serving
from tests.doors.test_rest_placement import roles, send
from tests.helpers import memory_store

pytestmark = pytest.mark.doors

MOVES = "/api/v1/moves"
ONE = f"{MOVES}/local"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("moves"), authenticate=roles) as running:
        running.headers["Authorization"] = "Bearer operator"
        running.engine.stores.own["other"] = memory_store("other", running.engine.context.environment)
        yield running


def test_a_move_from_its_beginning_to_its_end(service: Service) -> None:
    before = b"x" * 100_000
    assert service.ask("PUT", "/api/v1/objects/plain/before", before, {}).status in (200, 201)
    begun = send(service, "POST", MOVES, {"source": "local", "target": "other"})
    assert (begun.status, begun.json["phase"], begun.json["finish_at"]) == (200, "copying", None)
    (shown,) = send(service, "GET", MOVES).json["moves"]
    assert shown["source_holds"] == {"live": 1, "bytes": 100_000, "pending": 0, "doomed": 0, "until": None}
    left = send(service, "GET", f"{ONE}/difference").json
    assert (left["concerned"], left["versions"], left["bytes"]) == (1, 1, 100_000)
    assert (left["samples"][0]["name"], left["samples"][0]["wanted"]) == ("plain/before", ["local", "other"])
    refused = send(service, "POST", f"{ONE}/cutover", {"keep": 60})
    assert (refused.status, "plain/before (in local)" in refused.json["detail"]) == (409, True)
    job = send(service, "POST", "/api/v1/background-jobs", {"kind": "mirror", "spec": {}, "dry_run": True})
    assert job.status == 200, job.body
    assert (job.status, job.json["objects"], job.json["bytes"]) == (200, 1, 100_000)
    service.ask("DELETE", "/api/v1/objects/plain/before", b"", {})
    made = send(service, "POST", f"{ONE}/cutover", {"keep": 60})
    assert made.json["phase"] == "cutover"
    assert made.json["finish_at"] > made.json["updated"]
    assert send(service, "POST", f"{ONE}/finish").json["phase"] == "done"
    assert send(service, "DELETE", ONE).status == 409
    assert send(service, "POST", f"{ONE}/back").json["phase"] == "back"
    assert send(service, "DELETE", ONE).status == 204
    assert send(service, "GET", MOVES).json == {"moves": []}
    assert send(service, "GET", f"{ONE}/difference").status == 404


def test_the_same_from_python_and_on_the_command_line(service: Service, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{service.port}"
    place = Place(tmp_path, ["--server", url, "--token", "operator"])
    assert service.ask("PUT", "/api/v1/objects/plain/one", b"x" * 100_000, {}).status in (200, 201)
    assert place.run("move", "begin", "local", "other").out == "local to other: copying\n"
    (listed,) = place.run("move", "list", "--json").records
    assert (listed["source"], listed["target"], listed["phase"]) == ("local", "other", "copying")
    assert place.run("move", "verify", "local", "--json", status=15).records[0]["versions"] == 1
    with holdfast.open(url, token="operator") as client:
        (status,) = client.moves()
        assert (status.source.live, status.source.bytes, status.target.live) == (1, 100_000, 0)
        left = client.verify_move("local")
        assert (left.versions, left.samples[0].held) == (1, ("local",))
        with pytest.raises(ConflictError, match="plain/one"):
            client.cut_over_move("local")
        client.delete("plain", "one")
        assert "the source is kept until 20" in place.run("move", "cutover", "local", "--keep", "7d").out
        (status,) = client.moves()
        assert status.move.finish_at is not None
        assert abs(status.move.finish_at - status.move.updated - 7 * 86_400_000_000) < 60_000_000
        assert client.begin_move("local", "other").phase == "cutover"
        assert client.take_move_back("local").phase == "back"
        assert place.run("move", "list", "--json").records == []
        client.forget_move("local")
        assert client.moves() == []


def test_a_slip_in_a_job_is_told_before_there_is_one(service: Service) -> None:
    for kind, spec in (
        ("migrate", {"source": "local", "target": "nowhere"}),
        ("lifecycle", {"bucket": "nowhere"}),
    ):
        refused = send(service, "POST", "/api/v1/background-jobs", {"kind": kind, "spec": spec})
        assert (refused.status, "nowhere" in refused.json["detail"]) == (404, True)
    assert send(service, "GET", "/api/v1/background-jobs").json["jobs"] == []


def test_nonsense_and_strangers_are_refused(service: Service) -> None:
    assert send(service, "POST", MOVES, {"source": "local", "target": "local"}).status == 400
    assert send(service, "POST", MOVES, {"source": "local"}).status == 400
    assert send(service, "POST", MOVES, {"source": "local", "target": "nowhere"}).status == 404
    assert send(service, "POST", f"{ONE}/cutover", {"keep": -1}).status == 400
    for role in ("admin", "writer", "reader"):
        headers = {"Authorization": f"Bearer {role}"}
        assert send(service, "GET", MOVES, None, **headers).status == 403
        assert send(service, "POST", f"{ONE}/back", None, **headers).status == 403
        wish = {"source": "local", "target": "other"}
        assert send(service, "POST", MOVES, wish, **headers).status == 403
