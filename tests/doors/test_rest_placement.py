"""Placement over REST: rules, explanations and simulations, for operators alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, serving
from tests.helpers import memory_store

pytestmark = pytest.mark.doors

RULES = "/api/v1/placement/rules"
EXPLAIN = "/api/v1/placement/explain"
SIMULATE = "/api/v1/placement/simulate"
ZIPS = {"name": "zips", "stores": ["cold"], "match": {"keys": ["*.zip"], "max_size": "1MB"}}


def roles(engine: Any) -> Any:
    async def authenticate(token: str) -> Principal:
        return Principal(f"a-{token}", "default", token)

    return authenticate


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("placement"), authenticate=roles) as running:
        running.headers["Authorization"] = "Bearer operator"
        running.engine.stores.own["cold"] = memory_store("cold", running.engine.context.environment)
        yield running


def send(service: Service, method: str, path: str, members: Any = None, **headers: str) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, path, body, headers)


def test_rules_are_replaced_and_shown(service: Service) -> None:
    before = send(service, "GET", RULES).json
    made = send(service, "PUT", RULES, {"rules": [ZIPS], "generation": before["generation"]})
    assert made.status == 200, made.body
    assert made.json == send(service, "GET", RULES).json
    (rule,) = made.json["rules"]
    assert (rule["match"]["max_size"], rule["acknowledge"], rule["inline"]) == (1 << 20, 1, None)
    assert (made.json["default"]["stores"], made.json["of_file"]) == (["local"], False)
    assert made.json["generation"] == before["generation"] + 1
    stale = send(service, "PUT", RULES, {"rules": [], "generation": before["generation"]})
    assert (stale.status, stale.json["code"]) == (409, "conflict")
    for wrong, said in (
        ({**ZIPS, "stores": ["nowhere"]}, "no store 'nowhere'; there is: cold, local"),
        ({**ZIPS, "stores": ["catalog"]}, "inline = SIZE"),
        ({**ZIPS, "shops": 1}, "shops"),
    ):
        refused = send(service, "PUT", RULES, {"rules": [wrong]})
        assert (refused.status, said in refused.json["detail"]) == (400, True), refused.body
    assert service.put("a.zip").status == 201
    found = send(service, "GET", f"{EXPLAIN}?bucket=plain&key=a.zip").json
    assert (found["home"], found["plan"]["rule"], found["owed"]) == (True, "zips", "")
    (copy,) = found["copies"]
    assert copy == {"store": "cold", "pieces": 1, "whole": True, "suspect": False, "encrypted": False}


def test_as_many_rules_as_may_be_fit_in_one_request_and_more_are_refused(service: Service) -> None:
    def rules(count: int) -> dict[str, Any]:
        keys = [f"{'k' * 95}{number:05}/*" for number in range(count)]
        return {
            "rules": [
                {"name": f"r{at}", "stores": ["cold"], "match": {"keys": keys[at::1000]}}
                for at in range(1000)
            ]
        }

    most = rules(10_000)
    assert len(json.dumps(most)) > 1 << 20
    try:
        made = send(service, "PUT", RULES, most)
        assert (made.status, len(made.json["rules"])) == (200, 1000), made.body[:500]
        refused = send(service, "PUT", RULES, rules(10_001))
        assert (refused.status, "at most 10000" in refused.json["detail"]) == (400, True), refused.body[:500]
    finally:
        assert send(service, "PUT", RULES, {"rules": []}).status == 200


def test_facts_are_explained(service: Service) -> None:
    send(service, "PUT", RULES, {"rules": [ZIPS]})
    wish = {"bucket": "plain", "key": "b.zip", "size": "2MB", "content_type": "application/zip"}
    found = send(service, "POST", EXPLAIN, wish).json
    assert (found["plan"]["stores"], found["plan"]["rule"]) == (["local"], "default")
    assert [(one["rule"], one["matched"]) for one in found["asked"]] == [("zips", False), ("default", True)]
    assert found["asked"][0]["reason"] == "the size of 2097152 bytes is not below 1048576"
    assert (found["copies"], found["home"], found["version_id"]) == (None, None, None)
    inline = send(service, "POST", EXPLAIN, {**wish, "size": 5, "inline": 6}).json
    assert (inline["plan"]["inline"], inline["plan"]["stores"]) == (True, ["catalog"])
    assert send(service, "POST", EXPLAIN, {**wish, "size": -1}).status == 400
    assert send(service, "GET", f"{EXPLAIN}?bucket=plain").status == 400
    assert send(service, "GET", f"{EXPLAIN}?bucket=plain&key=none").status == 404


def test_the_storage_class_travels(service: Service) -> None:
    glacier = {"name": "frozen", "stores": ["cold"], "match": {"storage_classes": ["GLACIER"]}}
    send(service, "PUT", RULES, {"rules": [glacier]})
    made = service.put("frozen", **{"x-amz-storage-class": "GLACIER"})
    assert (made.status, made.headers["x-amz-storage-class"]) == (201, "GLACIER")
    assert service.get("frozen").headers["x-amz-storage-class"] == "GLACIER"
    found = send(service, "GET", f"{EXPLAIN}?bucket=plain&key=frozen").json
    assert (found["plan"]["rule"], found["home"], found["facts"]["storage_class"]) == (
        "frozen",
        True,
        "GLACIER",
    )
    assert "x-amz-storage-class" not in service.put("warm").headers
    assert service.put("k", **{"x-amz-storage-class": "no class"}).status == 400
    opened = send(
        service, "POST", "/api/v1/uploads", {"bucket": "plain", "key": "up", "storage_class": "GLACIER"}
    )
    upload = opened.json["upload_id"]
    place = f"/api/v1/uploads/{upload}/parts/1?bucket=plain&key=up"
    part = service.ask("PUT", place, b"piece")
    done = send(
        service,
        "POST",
        f"/api/v1/uploads/{upload}/complete?bucket=plain&key=up",
        {"parts": [{"number": 1, "etag": part.json["etag"]}]},
    )
    assert done.status in (200, 201), done.body
    assert service.get("up").headers["x-amz-storage-class"] == "GLACIER"
    found = send(service, "GET", f"{EXPLAIN}?bucket=plain&key=up").json
    assert [copy["store"] for copy in found["copies"]] == ["cold"]


def test_other_rules_are_simulated_and_nothing_is_changed(service: Service) -> None:
    send(service, "PUT", RULES, {"rules": []})
    for number in range(3):
        assert service.put(f"sim/{number}.bin", b"x" * 100).status == 201
    before = send(service, "GET", RULES).json
    wish = {
        "rules": [{"name": "sims", "stores": ["later", "local"], "match": {"keys": ["sim/*"]}}],
        "stores": {"later": "free"},
    }
    found = send(service, "POST", SIMULATE, wish)
    assert found.status == 200, found.body
    told = found.json
    move = next(move for move in told["moves"] if "later" in move["to"])
    assert move == {"from": ["local"], "to": ["later", "local"], "objects": 3, "pieces": 3, "bytes": 300}
    later = next(store for store in told["stores"] if store["store"] == "later")
    assert (later["price"], later["writes"], later["written"]) == ("free", 3, 300)
    assert (told["month_after"]["total"], told["currency"]) == (None, "USD")  # `local` has no price
    assert send(service, "GET", RULES).json == before
    nothing = send(service, "POST", SIMULATE, {}).json
    assert nothing["every"] == told["every"]
    assert send(service, "POST", SIMULATE, {"rules": [ZIPS | {"stores": ["nowhere"]}]}).status == 400


@pytest.mark.parametrize("role", ["reader", "writer", "admin"])
def test_only_operators_may(service: Service, role: str) -> None:
    token = {"Authorization": f"Bearer {role}"}
    for method, path, members in (
        ("GET", RULES, None),
        ("PUT", RULES, {"rules": []}),
        ("GET", f"{EXPLAIN}?bucket=plain&key=k", None),
        ("POST", EXPLAIN, {"bucket": "plain", "key": "k"}),
        ("POST", SIMULATE, {}),
    ):
        assert send(service, method, path, members, **token).status == 403, (method, path)


def test_thresholds_of_buckets_and_tenants_travel(service: Service) -> None:
    made = send(service, "POST", "/api/v1/buckets", {"name": "tiny", "inline": "1KB"})
    assert (made.status, made.json["inline"]) == (201, 1024)
    changed = send(service, "PATCH", "/api/v1/buckets/tiny", {"inline": None})
    assert (changed.status, changed.json["inline"]) == (200, None)
    assert send(service, "PATCH", "/api/v1/buckets/tiny", {"inline": "1GB"}).status == 400
    tenant = send(service, "PATCH", "/api/v1/tenants/default", {"inline": "2KB"})
    assert (tenant.status, tenant.json["inline"]) == (200, 2048)
    assert send(service, "PATCH", "/api/v1/tenants/default", {"inline": None}).json["inline"] is None
    assert send(service, "POST", "/api/v1/tenants", {"name": "other", "inline": 0}).json["inline"] == 0
