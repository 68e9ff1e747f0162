"""Upstreams over REST, for operators alone: attached, followed by jobs, asked about, changed, let go of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.core.adopted import foreign_name
from holdfast.core.body import Body
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.types import Principal
from tests.doors.cli_tools import Place
from tests.doors.rest_service import Answer, Service, serving
from tests.helpers import memory_store

pytestmark = pytest.mark.doors

ONE = "/api/v1/upstreams/live"


def roles(engine: Any) -> Any:
    async def authenticate(token: str) -> Principal:
        return Principal(f"a-{token}", "default", token)

    return authenticate


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("upstreams"), authenticate=roles) as running:
        running.headers["Authorization"] = "Bearer operator"
        theirs = memory_store("theirs", running.engine.context.environment)
        running.engine.stores.own["theirs"] = theirs
        for key in ("in/k", "more/k"):
            asyncio.run(theirs.backend.put(foreign_name(key), Body.of_bytes(b"theirs")))
        yield running


def send(service: Service, method: str, path: str, members: Any = None, **headers: str) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, path, body, headers)


def test_a_bucket_follows_a_store_and_lets_go(service: Service) -> None:
    assert send(service, "POST", "/api/v1/buckets", {"name": "live"}).status in (200, 201)
    assert send(service, "GET", ONE).status == 404
    for wish, status in (({"store": "nowhere"}, 400), ({"store": "theirs", "more": 1}, 400), ({}, 400)):
        assert send(service, "PUT", ONE, wish).status == status
    made = send(service, "PUT", ONE, {"store": "theirs", "prefix": "in/", "dual_write": True})
    assert made.status == 200, made.body
    assert (made.json["phase"], made.json["complete"], made.json["owed"]) == ("following", False, 0)
    assert send(service, "PUT", ONE, {"store": "theirs"}).status == 409
    assert service.ask("GET", "/api/v1/objects/live/k").body == b"theirs"
    assert service.ask("PUT", "/api/v1/objects/live/ours", b"ours").status in (200, 201)
    told = send(service, "GET", ONE).json
    assert (told["owed"], told["away"], told["dual_write"]) == (1, 1, True)
    assert [one["bucket"] for one in send(service, "GET", "/api/v1/upstreams").json["upstreams"]] == ["live"]
    assert send(service, "DELETE", ONE).status == 409
    assert send(service, "PATCH", ONE, {"dual_write": False, "fresh": False}).json["fresh"] is False
    assert send(service, "POST", f"{ONE}/back").json["phase"] == "back"
    assert send(service, "DELETE", ONE).status == 409
    assert send(service, "PATCH", ONE, {"phase": "cutover"}).status == 400


def test_the_same_from_python_and_on_the_command_line(service: Service, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{service.port}"
    place = Place(tmp_path, ["--server", url, "--token", "operator"])
    assert send(service, "POST", "/api/v1/buckets", {"name": "other"}).status in (200, 201)
    made = place.run("upstream", "attach", "other", "theirs", "more/", "--dual-write", "--lazy").out
    assert made == "other: following theirs/more/; listings are complete after the first pass\n"
    with holdfast.open(url, token="operator") as client:
        held = client.upstream("other")
        assert held.upstream == replace(
            held.upstream, tenant="default", store="theirs", prefix="more/", dual_write=True, fresh=False
        )
        assert client.get("other", "k") == b"theirs"
        client.put("other", "ours", b"ours")
        assert [one.owing.count for one in client.upstreams() if one.upstream.bucket == "other"] == [1]
        with pytest.raises(ConflictError, match="still to be written out"):
            client.detach_upstream("other")
        assert client.change_upstream("other", fresh=True).upstream.fresh
        job = place.run("upstream", "follow", "other", "--passes", "1", "--no-wait", "--json").records[0]
        assert job["spec"]["tenant"] == "default"
        assert client.take_upstream_back("other", tenant="default").upstream.phase == "back"
        place.run("upstream", "detach", "other", "--force")
        with pytest.raises(NotFoundError):
            client.upstream("other")
    assert "upstream status" in place.run("upstream", "verify", "other", status=3).err


@pytest.mark.parametrize("role", ["reader", "writer", "admin"])
def test_others_may_do_none_of_it(service: Service, role: str) -> None:
    for method, path, members in (
        ("GET", "/api/v1/upstreams", None),
        ("GET", ONE, None),
        ("PUT", ONE, {"store": "theirs"}),
        ("PATCH", ONE, {"fresh": True}),
        ("POST", f"{ONE}/back", None),
        ("DELETE", ONE, None),
    ):
        assert send(service, method, path, members, Authorization=f"Bearer {role}").status == 403, path
    spec = {"kind": "adopt", "spec": {"store": "theirs", "tenant": "default", "bucket": "live"}}
    refused = send(service, "POST", "/api/v1/background-jobs", spec, Authorization=f"Bearer {role}")
    assert refused.status == 403
