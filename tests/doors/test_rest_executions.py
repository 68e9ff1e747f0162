"""Executions and artifacts over REST: how they come in, where they are, and how to get them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, serving
from tests.doors.test_access_matrix import bearer

pytestmark = pytest.mark.doors
RUNS = "/api/v1/executions"
BIG = bytes(range(256)) * 16
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("old")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Service]:
    flags: dict[str, Any] = {"artifacts": {"roots": [str(root)]}, "placement": {"inline": 1024}}
    with serving(tmp_path_factory.mktemp("runs"), authenticate=bearer, **flags) as found:
        found.headers = {"Authorization": f"Bearer {found.run(operator_key(found))}"}
        yield found


async def operator_key(service: Service) -> str:
    admin = service.engine.session(Principal("boss", "default", "operator")).admin
    return (await admin.create_key("boss", "operator"))[1]


def post(service: Service, path: str, said: Any, method: str = "POST") -> Answer:
    return service.ask(method, path, json.dumps(said), JSON)


@pytest.fixture
def run(service: Service, request: pytest.FixtureRequest) -> str:
    name = request.node.name[:60].rstrip("_[]")
    assert post(service, RUNS, {"execution_id": name}).status == 201
    return name


def test_executions_are_recorded_changed_listed_and_removed(service: Service) -> None:
    said = {"execution_id": "run-1", "name": "nightly", "status": "running", "metadata": {"host": "a"}}
    made = post(service, RUNS, said)
    assert made.status == 201, made.body
    assert {name: made.json[name] for name in said} == said
    assert post(service, RUNS, said).status == 409
    fresh = post(service, RUNS, {}).json["execution_id"]
    changed = post(service, f"{RUNS}/run-1", {"status": "completed"}, "PATCH")
    assert (changed.json["status"], changed.json["name"]) == ("completed", "nightly")
    first = service.ask("GET", f"{RUNS}?limit=1").json
    assert [one["execution_id"] for one in first["executions"]] == [fresh]
    rest = service.ask("GET", f"{RUNS}?limit=1&cursor={first['next_cursor']}").json
    assert [one["execution_id"] for one in rest["executions"]] == ["run-1"]
    last = service.ask("GET", f"{RUNS}?cursor={rest['next_cursor']}").json
    assert last == {"executions": [], "next_cursor": ""}
    assert service.ask("GET", f"{RUNS}?cursor=x").status == 400
    for name in (fresh, "run-1"):
        assert service.ask("DELETE", f"{RUNS}/{name}").json["artifacts"] == 0
    assert service.ask("GET", f"{RUNS}/run-1").status == 404
    assert post(service, RUNS, {"execution_id": "../x"}).status == 400


def test_an_execution_with_all_its_artifacts(service: Service, run: str) -> None:
    digest = hashlib.sha256(BIG).hexdigest()
    form = service.form(
        f"{RUNS}/{run}/artifacts",
        ("artifact_type", None, b"report"),
        ("artifact_id", None, b"form"),
        ("compression", None, b"gzip"),
        ("encryption_key_ref", None, b"kms/key-7"),
        ("metadata", None, b'{"step": "3"}'),
        ("checksum", None, digest.encode()),
        ("file", "report.bin", BIG),
    )
    assert form.status == 201, form.body
    assert form.json | {"created_at": "", "expires_at": "", "storage_url": "", "version_id": ""} == {
        "artifact_id": "form",
        "execution_id": run,
        "name": "report.bin",
        "artifact_type": "report",
        "storage_type": "object_storage",
        "file_path": None,
        "object_key": f"{run}/form/report.bin",
        "bucket_name": "opsconductor-artifacts",
        "version_id": "",
        "storage_url": "",
        "content_type": "application/octet-stream",
        "size": 4096,
        "checksum": digest,
        "compression": "gzip",
        "encryption_key_ref": "kms/key-7",
        "retention_policy": "permanent",
        "expires_at": "",
        "access_count": 0,
        "last_accessed_at": None,
        "metadata": {"step": "3"},
        "created_at": "",
    }
    small = {"name": "out.txt", "artifact_type": "output", "content": "hällo"}
    assert post(service, f"{RUNS}/{run}/artifacts", small).json["storage_type"] == "database"
    raw = service.ask(
        "POST",
        f"{RUNS}/{run}/artifacts?name=raw.csv&artifact_type=log&retention_policy=temporary",
        b"a,b\n" * 300,
        {"Content-Type": "text/csv"},
    )
    assert (raw.status, raw.json["bucket_name"], raw.json["content_type"]) == (
        201,
        "opsconductor-temp",
        "text/csv",
    )
    found = service.ask("GET", f"{RUNS}/{run}").json
    assert sorted(one["name"] for one in found["artifacts"]) == ["out.txt", "raw.csv", "report.bin"]
    url = urlsplit(next(one["storage_url"] for one in found["artifacts"] if one["artifact_id"] == "form"))
    assert service.ask("GET", f"{url.path}?{url.query}").body == BIG


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"name": "x"}, 400),
        ({"name": "x", "content": "a", "file_path": "/a"}, 400),
        ({"name": "x", "content": "no base64!", "encoding": "base64"}, 400),
        ({"name": "x", "content": "a", "checksum": "00"}, 400),
        ({"name": "x", "content": "a", "checksum": "0" * 64}, 400),
        ({"name": "x", "content": "a", "retention_policy": "long"}, 400),
        ({"name": "x", "content": "a", "expires_in": "1d"}, 400),
        ({"name": "", "content": "a"}, 400),
        ({"name": "x", "file_path": "/etc/passwd", "expires_in": -5}, 400),
        ({"name": "x", "file_path": "/etc/passwd", "expires_in": "-5s"}, 400),
        ({"name": "x", "file_path": "/etc/passwd"}, 403),
    ],
)
def test_what_is_wrong_is_refused(service: Service, said: dict[str, Any], status: int) -> None:
    post(service, RUNS, {"execution_id": "wrong"})
    answer = post(service, f"{RUNS}/wrong/artifacts", said)
    assert answer.status == status, answer.body


def test_forms_and_bytes_that_are_wrong(service: Service, run: str) -> None:
    path = f"{RUNS}/{run}/artifacts"
    assert service.form(path, ("name", None, b"x")).status == 400
    assert service.form(path, ("bucket", None, b"x"), ("file", "f", b"x")).status == 400
    assert service.form(path, ("file", "f", b"x"), ("name", None, b"late")).status == 400
    assert service.ask("POST", path, b"x", {"Content-Type": "text/plain"}).status == 400
    assert service.ask("POST", f"{RUNS}/nowhere/artifacts?name=x", b"x").status == 404
    assert [one["name"] for one in service.ask("GET", f"{RUNS}/{run}").json["artifacts"]] == ["f"]


def test_metadata_of_one_artifact_and_how_often_it_was_read(service: Service, run: str) -> None:
    path = f"{RUNS}/{run}/artifacts"
    made = post(service, path, {"artifact_id": "a", "name": "a.txt", "content": "x"}).json
    shown = service.ask("GET", f"{path}/a")
    assert shown.json == made
    assert service.ask("GET", f"{path}/b").status == 404
    for way in ("download", "stream", "stream"):
        assert service.ask("GET", f"{path}/a/{way}").status == 200
    shown = service.ask("GET", f"{path}/a").json
    assert shown["access_count"] == 3
    assert shown["last_accessed_at"] >= made["created_at"]
    assert service.ask("DELETE", f"{path}/a").status == 204
    assert service.ask("GET", f"{path}/a").status == 404


def test_a_download_is_a_signed_url_or_the_content_itself(service: Service, run: str) -> None:
    path = f"{RUNS}/{run}/artifacts"
    post(service, path, {"artifact_id": "text", "name": "t.txt", "content": "hällo"})
    binary = {
        "artifact_id": "bin",
        "name": "b",
        "content": b64encode(b"\xff\0").decode(),
        "encoding": "base64",
    }
    post(service, path, binary)
    service.ask("POST", f"{path}?name=big.bin&artifact_id=big", BIG)
    text = service.ask("GET", f"{path}/text/download").json
    assert (text["storage_type"], text["content"], text["encoding"]) == ("database", "hällo", "utf-8")
    found = service.ask("GET", f"{path}/bin/download").json
    assert (found["content"], found["encoding"]) == (b64encode(b"\xff\0").decode(), "base64")
    big = service.ask("GET", f"{path}/big/download").json
    assert (big["storage_type"], big["filename"], big["size"]) == ("object_storage", "big.bin", len(BIG))
    assert "content" not in big
    for location in (
        big["download_url"],
        service.ask("GET", f"{path}/big/download?redirect=true").headers["location"],
    ):
        url = urlsplit(location)
        answer = without_token(service, f"{url.path}?{url.query}")
        assert (answer.status, answer.body) == (200, BIG)
        assert without_token(service, url.path).status == 401
    assert service.ask("GET", f"{path}/text/download?redirect=1").status == 302
    assert service.ask("GET", f"{path}/big/download?redirect=maybe").status == 400


def without_token(service: Service, path: str) -> Answer:
    before, service.headers = service.headers, {}
    try:
        return service.ask("GET", path)
    finally:
        service.headers = before


def test_a_stream_is_the_bytes_or_a_range_of_them(service: Service, run: str) -> None:
    path = f"{RUNS}/{run}/artifacts"
    service.ask("POST", f"{path}?name=big.bin&artifact_id=big", BIG)
    post(service, path, {"artifact_id": "text", "name": "t.txt", "content": "0123456789"})
    assert service.ask("GET", f"{path}/big/stream").body == BIG
    part = service.ask("GET", f"{path}/text/stream", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert service.ask("GET", f"{path}/text/stream", headers={"Range": "bytes=20-"}).status == 416
    assert 'filename="t.txt"' in part.headers["content-disposition"]


def test_files_of_before_are_read_in_place(service: Service, run: str, root: Path) -> None:
    data = BIG * 200
    (root / "old.log").write_bytes(data)
    path = f"{RUNS}/{run}/artifacts"
    said = {
        "name": "old.log",
        "artifact_id": "f",
        "file_path": str(root / "old.log"),
        "checksum": hashlib.sha256(data).hexdigest(),
        "expires_in": "90d",
    }
    made = post(service, path, said)
    assert made.status == 201, made.body
    assert (made.json["storage_type"], made.json["file_path"]) == ("filesystem", str(root / "old.log"))
    assert made.json["bucket_name"] is None
    url = urlsplit(made.json["storage_url"])
    for where in (f"{path}/f/download", f"{path}/f/stream", url.path):
        answer = service.ask("GET", where)
        assert (answer.status, answer.body == data) == (200, True)
    part = service.ask("GET", f"{path}/f/stream", headers={"Range": "bytes=-5"})
    assert (part.status, part.body) == (206, data[-5:])
    assert part.headers["content-range"] == f"bytes {len(data) - 5}-{len(data) - 1}/{len(data)}"
    past = service.ask("GET", f"{path}/f/stream", headers={"Range": f"bytes={len(data)}-"})
    assert (past.status, past.headers["content-range"]) == (416, f"bytes */{len(data)}")
    head = service.ask("HEAD", f"{path}/f/stream")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
    (root / "old.log").write_bytes(b"short")
    assert service.ask("GET", f"{path}/f/stream").status == 502
    assert service.ask("DELETE", f"{path}/f").status == 204
    assert (root / "old.log").exists()


def test_what_buckets_hold_and_may_hold_and_of_which_kind_they_are(service: Service, run: str) -> None:
    post(service, f"{RUNS}/{run}/artifacts", {"name": "a", "artifact_type": "backup", "content": "x"})
    found = service.ask("GET", "/api/v1/storage/buckets/opsconductor-backups/stats").json
    told = {
        "bucket_name": "opsconductor-backups",
        "bucket_type": "backups",
        "retention_days": 2555,
        "max_object_size": 10 << 30,
        "total_size_limit": 1 << 40,
        "current_size": 1,
        "object_count": 1,
        "lifecycle_policy": {"expiration_days": 2555},
        "encryption_enabled": False,
        "versioning_enabled": True,
        "public_access": False,
    }
    assert {name: found[name] for name in told} == told
    listed = service.ask("GET", "/api/v1/storage/buckets").json["buckets"]
    kinds = {one["bucket_name"]: one["bucket_type"] for one in listed}
    assert (kinds["plain"], kinds["kept"]) == ("plain", "versioned")
    assert kinds["opsconductor-backups"] == "backups"
