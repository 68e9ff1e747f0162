"""Moves of stores over REST, for operators alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
