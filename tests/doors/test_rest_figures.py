"""Stats, health, metrics: what they say, to whom, and that it is equal to what the catalog holds."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Room, Store
from holdfast.core.errors import ConfigError, UnauthenticatedError, UnavailableError
from holdfast.core.sizes import readable
from holdfast.core.types import BlobInfo, BucketSettings, Principal, Quota
from holdfast.layers.base import Layer
from tests.doors.rest_service import Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("figures")) as running:
        running.ask("POST", "/api/v1/buckets", json.dumps({"name": "counted"}))
        for number in range(3):
            running.ask("PUT", f"/api/v1/objects/counted/k{number}", noise(1000 + number))
        running.ask("PUT", "/api/v1/objects/counted/k0", b"shorter")
        running.ask("PUT", "/api/v1/objects/kept/v", b"one")
        running.ask("PUT", "/api/v1/objects/kept/v", b"two")
        yield running


def _samples(service: Service) -> dict[str, float]:
    """All samples of the metrics page, by name and labels."""
    text = service.ask("GET", "/metrics").body.decode()
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _label(name: str, **labels: str) -> str:
    return name + json.dumps(labels, sort_keys=True)


# -- stats ------------------------------------------------------------------------------------------------------------
def test_stats_in_the_shape_of_the_contract(service: Service) -> None:
    answer = service.ask("GET", "/api/v1/stats")
    assert answer.status == 200
    said = answer.json
    assert {"total_buckets", "total_objects", "total_size", "buckets", "storage_usage"} <= set(said)
    assert said["total_buckets"] == 3
    assert said["buckets"]["counted"]["objects"] == 3
    assert said["buckets"]["counted"]["size"] == readable(7 + 1001 + 1002)
    assert {"used_space", "free_space", "usage_percentage"} <= set(said["storage_usage"])
    assert re.fullmatch(r"\d+(\.\d)? (B|KB|MB|GB|TB)", said["storage_usage"]["free_space"])
    assert said["storage_usage"]["limited_by"] == "disk"
    assert said["storage_usage"]["free_bytes"] > 0
    assert 0 <= said["storage_usage"]["usage_percentage"] <= 100
    older = said["buckets"]["counted"]
    assert (older["object_count"], older["total_size_bytes"]) == (3, older["bytes"])


def test_both_paths_say_the_same_and_equal_a_recount(service: Service) -> None:
    said = [service.ask("GET", f"/api/v1{path}").json for path in ("/stats", "/storage/stats")]
    for one in said:
        one.pop("timestamp")
        one["storage_usage"] = {name: one["storage_usage"][name] for name in ("used_bytes", "used_space")}
    assert said[0] == said[1]
    total = 0
    for name, bucket in said[0]["buckets"].items():
        counted = service.run(service.engine.catalog.recount("default", name))
        assert (bucket["objects"], bucket["versions"], bucket["bytes"]) == (
            counted.objects,
            counted.versions,
            counted.bytes,
        )
        total += counted.bytes
    assert (said[0]["total_bytes"], said[0]["total_size"]) == (total, readable(total))


def test_free_space_is_what_the_quota_leaves(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.put("x", b"x" * 600)
        service.run(service.engine.catalog.set_quota("default", None, Quota(max_bytes=1000)))
        usage = service.ask("GET", "/api/v1/stats").json["storage_usage"]
        assert (usage["limited_by"], usage["used_bytes"], usage["free_bytes"]) == ("quota", 600, 400)
        assert (usage["free_space"], usage["usage_percentage"]) == ("400 B", 60.0)
        found = _samples(service)
        assert found[_label("holdfast_quota_limit_bytes", tenant="default", bucket="")] == 1000
        assert found[_label("holdfast_quota_used_bytes", tenant="default", bucket="")] == 600
        assert found[_label("holdfast_quota_used_bytes", tenant="default", bucket="plain")] == 600
        assert _label("holdfast_quota_limit_bytes", tenant="default", bucket="plain") not in found


# -- health -----------------------------------------------------------------------------------------------------------
def test_health_in_detail(service: Service) -> None:
    for path in ("/api/v1/health/detailed", "/api/v1/storage/health"):
        answer = service.ask("GET", path)
        said = answer.json
        assert (answer.status, said["service"]) == (200, "storage")
        assert {"minio_connection", "bucket_access", "disk_space", "response_time"} <= set(said["checks"])
        assert {said["checks"][name] for name in ("minio_connection", "bucket_access", "catalog")} == {
            "healthy"
        }
        assert set(said["checks"].values()) <= {"healthy", "degraded", "unhealthy", "unknown"}
        assert said["stores"]["local"]["usable"] is True
        assert said["stores"]["local"]["response_ms"] > 0
        assert said["disks"]["local"]["free_bytes"] <= said["disks"]["local"]["total_bytes"]
        assert "catalog" in said["disks"]


def test_a_store_that_knows_its_room_is_shown_beside_the_disks(tmp_path: Path) -> None:
    class Drive(MemoryBackend):
        async def room(self) -> Room:
            return Room(100 << 30, 9 << 30)

    with serving(tmp_path) as service:
        service.engine.stores.own["drive"] = Store("drive", Layer(Drive("drive")))
        answer = service.ask("GET", "/api/v1/health/detailed")
        assert answer.json["disks"]["drive"] == {
            "free_bytes": 9 << 30,
            "total_bytes": 100 << 30,
            "status": "degraded",
        }
        assert answer.status == 200
        assert answer.json["checks"]["disk_space"] in ("degraded", "unhealthy")


def _fail(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, path: str, status: int = 503
) -> Any:
    """Let the store fail with `error`, and return what `path` says once it has noticed."""

    async def down(prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        raise error
        yield

    monkeypatch.setattr(service.engine.stores["local"].backend, "list", down)
    until = time.monotonic() + 10
    while (answer := service.ask("GET", path)).status != status and time.monotonic() < until:
        time.sleep(0.1)
    assert answer.status == status
    return answer.json


def test_a_store_that_is_gone_is_told_from_a_missing_bucket(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/health/detailed"
    with monkeypatch.context() as patch:
        said = _fail(service, patch, UnavailableError("nobody answers"), path)
        assert (said["status"], said["checks"]["minio_connection"]) == ("unhealthy", "unhealthy")
        ready = _fail(service, patch, UnavailableError("nobody answers"), "/health/ready")
        assert (ready["status"], ready["problems"]) == ("not ready", ["store local: nobody answers"])
        assert service.ask("GET", "/health/live").status == 200
        assert service.ask("GET", "/health").status == 503
    _well_again(service)
    with monkeypatch.context() as patch:
        said = _fail(service, patch, ConfigError("the bucket does not exist; make it"), path)
        assert (said["checks"]["minio_connection"], said["checks"]["bucket_access"]) == (
            "healthy",
            "unhealthy",
        )
        assert said["stores"]["local"]["problem"] == "the bucket does not exist; make it"
    _well_again(service)


def _well_again(service: Service) -> None:
    until = time.monotonic() + 10
    while service.ask("GET", "/health/ready").status != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert service.ask("GET", "/health/ready").json == {
        "status": "ready",
        "problems": [],
        "service": "storage",
    }


def test_a_service_that_stops_is_not_ready_but_lives(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        assert service.ask("GET", "/health/ready").status == 200
        service.server.gate.draining = True
        ready = service.ask("GET", "/health/ready")
        assert (ready.status, ready.json["problems"]) == (503, ["the service is stopping"])
        assert service.ask("GET", "/health/live").json["status"] == "alive"


def _by_token(engine: Any) -> Any:
    """Tokens that are their role; `other` is of another tenant."""

    async def asks(token: str) -> Principal:
        if token in ("operator", "admin", "reader"):
            return Principal(token, "default", token)
        if token == "other":
            return Principal(token, "other", "admin")
        raise UnauthenticatedError("no such token")

    return asks


def test_counts_are_shown_to_whoever_brings_a_token(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=_by_token) as service:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            said = service.ask("GET", "/health", headers=headers)
            assert (said.status, said.json["status"]) == (200, "healthy")
            assert (said.json["buckets_available"], said.json["total_objects"]) == (None, None)
        said = service.ask("GET", "/health", headers={"Authorization": "Bearer reader"})
        assert (said.json["buckets_available"], said.json["total_objects"]) == (2, 0)
        assert service.ask("GET", "/api/v1/health/detailed").status == 401
        assert service.ask("GET", "/api/v1/stats").status == 401


def test_counts_can_be_shown_to_all(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=_by_token, health_counts=True) as service:
        assert service.ask("GET", "/health").json["buckets_available"] == 2


# -- metrics ----------------------------------------------------------------------------------------------------------
def test_the_series_of_the_contract(service: Service) -> None:
    service.ask("GET", "/api/v1/objects/counted/k1")
    service.ask("GET", "/api/v1/objects/counted/k1")
    time.sleep(0)
    found = _samples(service)
    place = {"tenant": "default", "bucket": "counted"}
    assert found[_label("storage_uploads_total", **place)] == 4
    assert found[_label("storage_downloads_total", **place)] == 2
    usage = service.run(service.engine.catalog.recount("default", "counted"))
    assert found[_label("storage_usage_bytes", **place)] == usage.bytes
    assert found[_label("storage_objects", **place)] == usage.objects
    assert found[_label("storage_operation_seconds_count", operation="download")] >= 2
    assert found[_label("storage_operation_seconds_count", operation="upload")] >= 6


def test_names_and_labels_follow_the_rules_of_prometheus(service: Service) -> None:
    text = service.ask("GET", "/metrics").body.decode()
    names = set()
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.name not in names
        names.add(family.name)
        for sample in family.samples:
            assert not sample.name.endswith("_created")
            if family.type == "counter":
                assert sample.name.endswith("_total")
            if family.name.startswith(("holdfast_", "storage_")):
                assert set(sample.labels) <= {
                    *("tenant", "bucket", "operation", "method", "route", "status", "le"),
                    *("store", "outcome", "direction", "kind", "reason", "to", "state"),
                }
    assert "# HELP storage_uploads_total" in text
    assert "k1" not in text  # no name of an object


def test_buckets_beyond_the_largest_are_shown_as_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.api import backlog
    from holdfast.catalog.contract import Backlog
    from holdfast.core.types import Usage

    monkeypatch.setattr(backlog, "MOST", 2)
    usages = [("t", f"b{number}", Usage(1, 1, number, 0)) for number in range(5)]
    found = {
        (sample.name, sample.labels.get("bucket", "")): sample.value
        for metric in backlog.catalog_figures(usages, [], Backlog())
        for sample in metric.samples
    }
    shown = {bucket: value for (name, bucket), value in found.items() if name == "storage_usage_bytes"}
    assert shown == {"b4": 4, "b3": 3, "other": 3}


def test_metrics_in_short(service: Service) -> None:
    service.ask(
        "GET", "/api/v1/objects/counted/k2"
    )  # the figures are of the whole process, which other tests share
    before = service.ask("GET", "/api/v1/storage/metrics").json["operations"]["download"]
    service.ask("GET", "/api/v1/objects/counted/k2")
    service.ask("GET", "/api/v1/objects/counted/missing")
    said = service.ask("GET", "/api/v1/storage/metrics").json
    download = said["operations"]["download"]
    assert download["count"] == before["count"] + 2
    assert download["refused"] == before["refused"] + 1
    assert download["errors"] == before["errors"]
    assert 0 < download["latency_ms"]["p50"] <= download["latency_ms"]["p95"] <= download["latency_ms"]["p99"]
    assert said["stores"]["local"]["active"] is True
    assert said["uploads"]["counted"] == 4
    assert said["backlog"]["doomed_blobs"] == 1  # what the second upload of k0 replaced


def test_who_sees_which_figures(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=_by_token) as service:
        service.run(service.engine.catalog.create_tenant("other"))
        service.run(service.engine.catalog.create_bucket("other", "secret-plans", settings=BucketSettings()))
        assert service.ask("GET", "/metrics").status == 401
        pages = {
            who: service.ask("GET", "/metrics", headers={"Authorization": f"Bearer {who}"}).body.decode()
            for who in ("operator", "admin", "reader", "other")
        }
        for who, page in pages.items():
            assert ('bucket="secret-plans"' in page) == (who in ("operator", "other")), who
            assert ('bucket="plain"' in page) == (who != "other"), who
        cleaned = service.ask("POST", "/api/v1/storage/cleanup", headers={"Authorization": "Bearer admin"})
        assert cleaned.status == 403
        cleaned = service.ask("POST", "/api/v1/storage/cleanup", headers={"Authorization": "Bearer operator"})
        assert (cleaned.status, cleaned.json["success"]) == (200, True)
        assert (cleaned.json["waiting_blobs"], cleaned.json["waiting_until"]) == (0, None)
        boss = {"Authorization": "Bearer operator"}
        for _ in range(2):
            assert service.ask("PUT", "/api/v1/objects/plain/k", b"x" * 70_000, boss).status == 201
        cleaned = service.ask("POST", "/api/v1/storage/cleanup", headers=boss)
        assert (cleaned.json["deleted_blobs"], cleaned.json["waiting_blobs"]) == (0, 1)
        assert cleaned.json["waiting_until"] > "2020"


def test_a_catalog_that_is_gone_does_not_take_the_page_with_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> Any:
        raise UnavailableError("down")

    with monkeypatch.context() as patch:
        patch.setattr(service.engine.catalog, "usages", down)
        until = time.monotonic() + 15
        while _samples(service)["holdfast_catalog_up{}"] != 0 and time.monotonic() < until:
            time.sleep(0.2)
        found = _samples(service)
        assert found["holdfast_catalog_up{}"] == 0
        assert not [name for name in found if name.startswith("storage_usage_bytes")]
        assert [name for name in found if name.startswith("holdfast_http_requests_total")]
