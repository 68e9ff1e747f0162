"""Buckets over REST: their settings, what these refuse, what a bucket holds and may hold, removal by force."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.rest_service import Answer, Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors

LIMITED = {
    "name": "limited",
    "versioning": True,
    "visibility": "private",
    "allowed_types": [".csv", "image/*"],
    "max_object_size": "100KB",
    "max_bytes": "0.5MB",
    "max_objects": 20,
    "retention_days": 30,
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as running:
        yield running


def send(service: Service, method: str, path: str, members: Any = None) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, f"/api/v1/{path}", body)


def put(service: Service, path: str, body: bytes, **headers: str) -> Answer:
    return service.ask("PUT", f"/api/v1/objects/{path}", body, headers)


def test_a_bucket_with_all_settings(service: Service) -> None:
    made = send(service, "POST", "buckets", LIMITED)
    assert made.status == 201, made.body
    shown = made.json
    wanted = LIMITED | {"max_object_size": 100 << 10, "max_bytes": 512 << 10}
    assert {name: shown[name] for name in LIMITED} == wanted
    assert (shown["encryption"], shown["ip_allow"], shown["reserved_bytes"]) == ("none", [], 0)
    assert send(service, "GET", "buckets/limited").json == shown
    head = send(service, "HEAD", "buckets/limited")
    assert (head.status, head.body) == (200, b"")
    assert send(service, "HEAD", "buckets/nowhere").status == 404
    assert send(service, "POST", "buckets", LIMITED).status == 409
    listed = send(service, "GET", "buckets").json["buckets"]
    assert {bucket["name"]: bucket["max_bytes"] for bucket in listed}["limited"] == 512 << 10


def test_what_the_settings_refuse(service: Service) -> None:
    send(service, "POST", "buckets", LIMITED)
    assert put(service, "limited/a.csv", noise(1000)).status == 201
    assert put(service, "limited/a.exe", b"MZ").status == 400
    disguised = put(service, "limited/a.png", b"<!doctype html><html><script>")
    assert (disguised.status, disguised.json["code"]) == (400, "invalid_request")
    assert put(service, "limited/b.csv", noise((100 << 10) + 1)).status == 413
    for number in range(5):
        assert put(service, f"limited/n{number}.csv", noise(100 << 10)).status == 201
    full = put(service, "limited/n5.csv", noise(100 << 10))
    assert (full.status, full.json["code"]) == (507, "quota_exceeded")
    assert "bucket limited is 524288 bytes: 513000 are used or reserved, 102400 more" in full.json["detail"]
    shown = send(service, "GET", "buckets/limited").json
    assert (shown["bytes"], shown["objects"], shown["reserved_bytes"]) == (513_000, 6, 0)


def test_settings_are_changed_one_by_one_or_all_at_once(service: Service) -> None:
    send(service, "POST", "buckets", LIMITED)
    changed = send(service, "PATCH", "buckets/limited", {"max_objects": None, "visibility": "public"})
    assert changed.status == 200, changed.body
    assert (changed.json["max_objects"], changed.json["visibility"]) == (None, "public")
    assert (changed.json["max_bytes"], changed.json["versioning"]) == (512 << 10, True)
    replaced = send(service, "PUT", "buckets/limited", {"retention_days": 5})
    assert replaced.status == 200
    assert (replaced.json["retention_days"], replaced.json["max_bytes"]) == (5, None)
    assert (replaced.json["visibility"], replaced.json["versioning"]) == ("private", False)
    assert send(service, "PUT", "buckets/fresh", {"max_bytes": 9}).status == 201
    assert send(service, "PUT", "buckets/fresh").json["max_bytes"] is None
    assert send(service, "PATCH", "buckets/nowhere", {"max_bytes": 9}).status == 404


@pytest.mark.parametrize(
    "members",
    [
        {"colour": "red"},
        {"max_bytes": "lots"},
        {"max_bytes": -1},
        {"max_bytes": True},
        {"max_bytes": 1 << 64},
        {"max_objects": 1.5},
        {"retention_days": 0},
        {"visibility": "shy"},
        {"visibility": None},
        {"allowed_types": "image/*"},
        {"allowed_types": ["image"]},
        {"ip_allow": ["10.0.0.0/99"]},
        {"encryption": "rot13"},
        {"versioning": "yes"},
        [],
        None,
    ],
)
def test_settings_that_cannot_be_are_refused(service: Service, members: Any) -> None:
    before = send(service, "GET", "buckets/plain").json
    assert send(service, "PATCH", "buckets/plain", members).status == 400
    if isinstance(members, dict):
        assert send(service, "POST", "buckets", {"name": "other", **members}).status == 400
    assert send(service, "GET", "buckets/plain").json == before
    assert send(service, "GET", "buckets/other").status == 404


def test_a_store_that_does_not_encrypt_is_not_enough(service: Service) -> None:
    refused = send(service, "POST", "buckets", {"name": "vault", "encryption": "store"})
    assert (refused.status, refused.json["code"]) == (501, "unsupported")
    assert "no label 'encrypted'" in refused.json["detail"]


def test_what_buckets_hold_and_may_hold(service: Service) -> None:
    send(service, "POST", "buckets", LIMITED)
    put(service, "limited/a.csv", noise(50 << 10))
    put(service, "limited/a.csv", noise(50 << 10))
    stats = send(service, "GET", "storage/buckets/limited/stats").json
    assert stats.pop("created_at")
    assert stats == {
        "bucket_name": "limited",
        "bucket_type": "versioned",
        "retention_days": 30,
        "max_object_size": 100 << 10,
        "total_size_limit": 512 << 10,
        "current_size": 100 << 10,
        "size": "100.0 KB",
        "size_limit": "512.0 KB",
        "usage_percentage": 19.53,
        "object_count": 1,
        "version_count": 2,
        "upload_bytes": 0,
        "lifecycle_policy": {"expiration_days": 30},
        "encryption_enabled": False,
        "versioning_enabled": True,
        "public_access": False,
        "reserved_bytes": 0,
        "reserved_objects": 0,
    }
    listed = send(service, "GET", "storage/buckets").json
    assert listed["total"] == len(listed["buckets"])
    sizes = {bucket["bucket_name"]: bucket["current_size"] for bucket in listed["buckets"]}
    assert sizes["limited"] == 100 << 10
    assert send(service, "GET", "storage/buckets/nowhere/stats").status == 404
    quota = send(service, "GET", "storage/quota").json
    assert (quota["max_bytes"], quota["bytes"], quota["objects"]) == (None, 100 << 10, 2)


def test_a_bucket_is_removed_empty_or_by_force(service: Service) -> None:
    send(service, "PUT", "buckets/full", {"versioning": True})
    for _ in range(3):
        put(service, "full/a", b"x")
    refused = send(service, "DELETE", "buckets/full")
    assert refused.status == 409
    assert "1 objects and 2 older versions" in refused.json["detail"]
    assert send(service, "DELETE", "buckets/full?force=maybe").status == 400
    assert send(service, "DELETE", "buckets/full?force=false").status == 409
    assert send(service, "DELETE", "buckets/full?force=true").status == 200
    assert send(service, "GET", "buckets/full").status == 404
    assert send(service, "DELETE", "buckets/full?force=true").status == 404
