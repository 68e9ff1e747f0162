"""Every request leaves exactly one record: a change its row, all else what the door saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import UnauthenticatedError
from holdfast.core.types import AuditEntry, Principal
from holdfast.engine.engine import Engine
from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors

_WHO = {
    "admin-token": Principal("alice", "default", "admin"),
    "reader-token": Principal("rita", "default", "reader"),
    "operator-token": Principal("oscar", "default", "operator"),
    "stranger-token": Principal("steve", "elsewhere", "admin"),
}


def _tokens(engine: Engine) -> Any:
    async def authenticate(token: str) -> Principal:
        if token not in _WHO:
            raise UnauthenticatedError("the token is unknown")
        return _WHO[token]

    return authenticate


def _as(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-token"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, authenticate=_tokens) as made:
        made.headers = _as("admin")
        made.run(_sealed(made))
        yield made


async def _sealed(service: Service) -> None:
    report = await service.engine.audit.seal()
    assert not report.failed


def seen(service: Service, tenant: str = "default") -> list[AuditEntry]:
    """What the audit holds of requests (not of what the test set up)."""
    service.run(_sealed(service))
    entries = service.run(service.engine.catalog.audit(tenant))
    return [entry for entry in entries if entry.request_id]


def test_changes_have_one_row_and_reads_one_record(service: Service) -> None:
    assert service.put("a%20b/%C3%BC", b"12345", X_Request_ID="r1").status == 201
    assert service.get("a%20b/%C3%BC", X_Request_ID="r2", User_Agent="tool/9").body == b"12345"
    assert service.get("gone", X_Request_ID="r3").status == 404
    assert (
        service.ask("HEAD", "/api/v1/objects/plain/a%20b/%C3%BC", headers={"X-Request-ID": "r4"}).status
        == 200
    )
    assert (
        service.ask("GET", "/api/v1/buckets/plain/files?prefix=a", headers={"X-Request-ID": "r5"}).status
        == 200
    )
    assert (
        service.ask("DELETE", "/api/v1/objects/plain/nothing", headers={"X-Request-ID": "r6"}).status == 204
    )
    assert (
        service.ask("DELETE", "/api/v1/objects/plain/a%20b/%C3%BC", headers={"X-Request-ID": "r7"}).status
        == 204
    )
    entries = {entry.request_id: entry for entry in seen(service)}
    assert list(entries) == ["r1", "r2", "r3", "r4", "r5", "r6", "r7"]
    assert len(seen(service)) == 7
    told = {
        name: (entry.principal, entry.action, entry.bucket, entry.key, entry.status, entry.bytes, entry.error)
        for name, entry in entries.items()
    }
    assert told == {
        "r1": ("alice", "put", "plain", "a b/ü", 0, 5, ""),
        "r2": ("alice", "get", "plain", "a b/ü", 200, 5, ""),
        "r3": ("alice", "get", "plain", "gone", 404, entries["r3"].bytes, "not_found"),
        "r4": ("alice", "head", "plain", "a b/ü", 200, 0, ""),
        "r5": ("alice", "list", "plain", "a", 200, entries["r5"].bytes, ""),
        "r6": ("alice", "delete", "plain", "nothing", 204, 0, ""),
        "r7": ("alice", "delete", "plain", "a b/ü", 0, entries["r7"].bytes, ""),
    }
    assert {entry.address for entry in entries.values()} == {"127.0.0.1"}
    assert entries["r2"].agent == "tool/9"
    assert entries["r2"].version_id == entries["r1"].version_id


def test_the_bytes_of_refused_bodies_are_counted(service: Service) -> None:
    answer = service.put("k", b"x" * 1000, Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==", X_Request_ID="bad")
    assert answer.status == 400
    (entry,) = seen(service)
    assert (entry.action, entry.status, entry.received, entry.error) == ("put", 400, 1000, "digest_mismatch")
    assert entry.bytes == 1000 + len(answer.body)


def test_the_refused_are_recorded_where_they_belong(service: Service) -> None:
    assert service.put("k", Authorization="Bearer reader-token", X_Request_ID="r1").status == 403
    assert service.get("k", Authorization="Bearer wrong", X_Request_ID="r2").status == 401
    assert service.get("k", Authorization="Bearer stranger-token", X_Request_ID="r3").status == 404
    assert service.ask("GET", "/nowhere/at%20all", headers={"X-Request-ID": "r4"}).status == 404
    assert service.ask("POST", "/api/v1/buckets", b"{", {"X-Request-ID": "r5"}).status == 400
    here = {entry.request_id: entry for entry in seen(service)}
    assert (here["r1"].principal, here["r1"].action, here["r1"].status) == ("rita", "put", 403)
    assert (here["r1"].bucket, here["r1"].key, here["r1"].error) == ("plain", "k", "permission_denied")
    assert (here["r5"].principal, here["r5"].status) == ("alice", 400)
    assert here["r5"].action == "POST /api/v1/buckets"
    assert "r2" not in here
    assert "r3" not in here
    (elsewhere,) = seen(service, "elsewhere")
    assert (elsewhere.request_id, elsewhere.principal, elsewhere.status) == ("r3", "steve", 404)
    nobodys = {entry.request_id: entry for entry in seen(service, "")}
    assert (nobodys["r2"].status, nobodys["r2"].error, nobodys["r2"].key) == (401, "unauthenticated", "k")
    unfound = nobodys.get("r4") or here["r4"]
    assert unfound.detail == {"path": "/nowhere/at%20all"}


def test_pages_that_everybody_may_see_leave_nothing(service: Service) -> None:
    service.headers = {}
    for _ in range(3):
        assert service.ask("GET", "/health").status == 200
        assert service.ask("GET", "/openapi.json").status == 200
    assert seen(service, "") == []


def test_reads_can_be_left_out(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=_tokens, audit_reads=False) as service:
        service.headers = _as("admin")
        assert service.put("k", X_Request_ID="r1").status == 201
        assert service.get("k", X_Request_ID="r2").status == 200
        assert service.get("gone", X_Request_ID="r3").status == 404
        assert [entry.request_id for entry in seen(service)] == ["r1", "r3"]


@pytest.mark.parametrize("reads", [True, False])
def test_a_signed_url_is_recorded_as_one(tmp_path: Path, reads: bool) -> None:
    with serving(tmp_path, authenticate=_tokens, audit_reads=reads) as service:
        service.headers = _as("admin")
        for method in ("PUT", "GET"):
            wish = json.dumps({"bucket": "plain", "key": "k", "method": method, "expires_in": 60})
            assert service.ask("POST", "/api/v1/sign", wish).status == 201
        wish = json.dumps({"bucket": "plain", "key": "k", "method": "GET"})
        assert service.ask("POST", "/api/v1/sign", wish, _as("reader")).status in (201, 403)
        put, get, other = seen(service)
        told = [(one.action, one.bucket, one.key, one.status) for one in (put, get)]
        assert told == [("presign", "plain", "k", 201)] * 2
        assert other.action == "presign"
        assert [one.detail["method"] for one in (put, get)] == ["PUT", "GET"]
        assert 0 < int(put.detail["expires"]) - put.at <= 61_000_000
        assert set(put.detail) == {"method", "expires"}


def test_records_in_pages_and_by_filter(service: Service) -> None:
    for number in range(7):
        assert service.put(f"dir/{number}").status == 201
    assert service.put("other").status == 201
    service.run(_sealed(service))
    keys, after = [], 0
    while True:
        page = service.ask(
            "GET", f"/api/v1/audit?bucket=plain&prefix=dir/&principal=alice&limit=3&after={after}"
        )
        assert page.status == 200
        keys += [record["key"] for record in page.json["records"]]
        if not page.json["truncated"]:
            break
        assert len(page.json["records"]) == 3
        after = page.json["next_after"]
    assert keys == [f"dir/{number}" for number in range(7)]
    everything = service.ask("GET", "/api/v1/audit?limit=1000").json["records"]
    assert [record["number"] for record in everything] == list(range(1, len(everything) + 1))
    moment = everything[3]["at"]
    later = service.ask("GET", f"/api/v1/audit?since={moment.replace('+', '%2B')}").json["records"]
    assert later[0]["number"] == min(one["number"] for one in everything if one["at"] >= moment)
    assert service.ask("GET", "/api/v1/audit?since=yesterday").status == 400
    assert service.ask("GET", "/api/v1/audit?limit=0").status == 400


def test_who_may_see_the_audit(service: Service) -> None:
    for path in ("/api/v1/audit", "/api/v1/audit/verify"):
        assert service.ask("GET", path, headers=_as("admin")).status == 200
        assert service.ask("GET", path, headers=_as("reader")).status == 403
        assert service.ask("GET", path, headers=_as("nobody")).status == 401
        assert service.ask("GET", f"{path}?service=true", headers=_as("admin")).status == 403
        assert service.ask("GET", f"{path}?service=true", headers=_as("operator")).status == 200
    stranger = service.ask("GET", "/api/v1/audit", headers=_as("stranger")).json
    assert {record["principal"] for record in stranger["records"]} <= {"steve"}


def test_a_verification_finds_what_was_changed(service: Service) -> None:
    for number in range(3):
        service.put(f"k{number}")
        service.run(_sealed(service))
    whole = service.ask("GET", "/api/v1/audit/verify").json
    assert whole["whole"]
    assert whole["segments"] >= 3
    held = service.ask("GET", f"/api/v1/audit/verify?expect={whole['head']}").json
    assert held["whole"]
    assert service.ask("GET", "/api/v1/audit/verify?expect=nonsense").status == 400
    service.run(service.engine.audit.restart("default", actor=_nobody()))
    given_up = service.ask("GET", f"/api/v1/audit/verify?expect={whole['head']}").json
    assert given_up["problem"] == "rolled-back"


def _nobody() -> Any:
    from holdfast.catalog.contract import Actor

    return Actor("op")


def test_a_service_seals_by_itself_and_at_its_end(tmp_path: Path) -> None:
    """The whole program: what was asked in its last moment is in the audit when it is opened again."""
    from holdfast.app import open_engine, running
    from holdfast.config import load

    settings = load(None, dev=True, data=str(tmp_path))

    async def story() -> None:
        async with running(settings, lambda text: None) as door:
            for path in (b"/api/v1/buckets", b"/api/v1/objects/none/k"):
                await door(_scope(path), _silence, _ignore)  # type: ignore[operator]
        engine = await open_engine(settings)
        try:
            entries = await engine.catalog.audit("default")
            assert [entry.status for entry in entries if entry.status] == [200, 404]
            assert await engine.catalog.audit_open_tenants() in ([], [""])
            assert (await engine.audit.verify("default")).whole
        finally:
            await engine.close()

    asyncio.run(story())


def _scope(path: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }


async def _silence() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _ignore(message: Any) -> None:
    return None
