"""The life of a tenant over REST: its hierarchy, what it holds, its deletion and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, serving
from tests.doors.test_access_matrix import bearer

pytestmark = pytest.mark.doors
TENANTS = "/api/v1/tenants"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("tenants"), authenticate=bearer) as found:
        found.headers = {"Authorization": f"Bearer {found.run(key(found, 'default', 'operator'))}"}
        yield found


async def key(service: Service, tenant: str, role: str) -> str:
    admin = service.engine.session(Principal("boss", "default", "operator")).admin
    return (await admin.create_key("k", role, tenant=tenant))[1]


def ask(service: Service, method: str, path: str, said: Any = None, token: str = "") -> Answer:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return service.ask(method, TENANTS + path, None if said is None else json.dumps(said), headers)


def test_a_hierarchy_is_made_and_seen_while_it_is_empty(service: Service) -> None:
    ask(service, "POST", "", {"name": "acme", "quota": {"max_bytes": "1GB"}})
    wish = {"content_types": ["portraits", "videos"], "categories": ["summer"]}
    made = ask(service, "POST", "/acme/provision", wish)
    assert made.status == 200, made.body
    assert made.json["success"] is True
    assert made.json["buckets_made"] == ["portraits", "videos"]
    assert len(made.json["folders_made"]) == 8
    assert made.json["stores"] == {"local": {"offered": False, "made": 0, "there": 0, "trouble": None}}
    again = ask(service, "POST", "/acme/provision", {"content_types": ["portraits", "videos"]}).json
    assert (again["buckets_made"], again["folders_made"], again["folders_there"]) == ([], [], 8)
    admin = service.run(key(service, "acme", "admin"))
    headers = {"Authorization": f"Bearer {admin}"}
    listed = service.ask("GET", "/api/v1/list/portraits?prefix=summer/&delimiter=/", headers=headers).json
    assert listed["prefixes"] == [f"summer/{name}/" for name in ("Image", "QR", "nft_cache", "nft_markers")]
    assert ask(service, "POST", "/acme/provision", {"categories": ["own"]}, admin).status == 200
    assert ask(service, "POST", "/default/provision", {}, admin).status == 403
    assert ask(service, "POST", "/nobody/provision", {}).status == 404
    assert ask(service, "POST", "/acme/provision", {"categories": ["a/b"]}).status == 400


def test_a_tenant_is_shown_with_quota_and_buckets(service: Service) -> None:
    ask(service, "POST", "", {"name": "shown", "quota": {"max_bytes": "1KB"}})

    async def put() -> None:
        session = service.engine.session(Principal("p", "shown", "admin"))
        await session.create_bucket("notes")
        await session.put("notes", "k", Body.of_bytes(b"12345"))

    service.run(put())
    shown = ask(service, "GET", "/shown").json
    assert (shown["quota"]["max_bytes"], shown["bytes"], shown["objects"]) == (1024, 5, 1)
    assert shown["buckets"] == [{"name": "notes", "objects": 1, "versions": 1, "bytes": 5, "upload_bytes": 0}]
    assert "delete_after" not in shown
    listed = {tenant["name"]: tenant for tenant in ask(service, "GET", "").json["tenants"]}
    assert "buckets" not in listed["shown"]


def test_a_tenant_is_deleted_with_grace_and_restored(service: Service) -> None:
    ask(service, "POST", "", {"name": "gone"})
    token = service.run(key(service, "gone", "admin"))
    made = ask(service, "DELETE", "/gone?grace=2h")
    assert (made.status, made.json["state"]) == (202, "deleting")
    assert made.json["delete_after"] > made.json["created"]
    buckets = service.ask("GET", "/api/v1/buckets", headers={"Authorization": f"Bearer {token}"})
    assert buckets.status == 403
    assert b"being deleted" in buckets.body
    assert ask(service, "PATCH", "/gone", {"state": "active"}).status == 409
    back = ask(service, "POST", "/gone/restore")
    assert (back.status, back.json["state"]) == (200, "active")
    assert "delete_after" not in back.json
    for path, status in (
        ("/default", 409),
        ("/nobody", 404),
        ("/gone?grace=soon", 400),
        ("/gone?grace=-1", 400),
        ("/gone?grace=20000d", 400),
    ):
        assert ask(service, "DELETE", path).status == status, path


def test_cleanup_removes_a_tenant_whose_time_is_over(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.removing.NOTICED", 0)
    ask(service, "POST", "", {"name": "over"})
    ask(service, "POST", "/over/provision", {"content_types": ["notes"], "categories": ["a"]})
    assert service.ask("POST", "/api/v1/storage/cleanup").json["removed_tenants"] == []
    assert ask(service, "DELETE", "/over?grace=0").status == 202
    assert service.ask("POST", "/api/v1/storage/cleanup").json["removed_tenants"] == ["over"]
    assert ask(service, "GET", "/over").status == 404
    assert ask(service, "POST", "/over/restore").status == 404
    taken = ask(service, "POST", "", {"name": "over"})
    assert taken.status == 409
    assert b"choose another name" in taken.body
