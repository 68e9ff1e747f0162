"""The routes of an older storage service: its paths, fields, bodies and statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("compat")) as running:
        yield running


def _save(service: Service, kind: str, content: bytes, filename: str = "file.pkl", **metadata: Any) -> Answer:
    told = json.dumps(metadata).encode()
    return service.form(f"/api/v1/{kind}", ("metadata", None, told), ("file", filename, content))


def test_upload_to_a_path(service: Service) -> None:
    answer = service.form("/api/v1/upload/models/deep/er/m.pkl", ("file", "x.pkl", b"weights"))
    assert answer.status == 201
    found = {name: answer.json[name] for name in ("message", "bucket", "object_name", "size", "minio_path")}
    assert found == {
        "message": "File uploaded successfully",
        "bucket": "models",
        "object_name": "deep/er/m.pkl",
        "size": 7,
        "minio_path": "s3://models/deep/er/m.pkl",
    }
    assert service.ask("GET", "/api/v1/download/models/deep/er/m.pkl").body == b"weights"
    nobody = service.form("/api/v1/upload/unheard-of/x", ("file", "x", b"1"))
    assert (nobody.status, nobody.json["code"]) == (404, "not_found")
    assert service.form("/api/v1/upload/models/x", ("other", None, b"1")).status == 400


def test_upload_and_download_by_name_alone(service: Service) -> None:
    content = noise(100_000)
    stored = service.form("/upload", ("file", "re port.csv", content))
    assert stored.status == 201
    assert (stored.json["bucket"], stored.json["key"]) == ("tensorfleet", "re port.csv")
    assert service.ask("GET", "/download/re%20port.csv").body == content
    part = service.ask("GET", "/download/re%20port.csv", headers={"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, content[1:4])
    assert service.ask("HEAD", "/download/re%20port.csv").headers["content-length"] == "100000"
    path = quote("s3://tensorfleet/re port.csv", safe="")
    assert service.ask("GET", f"/download/{path}").body == content
    assert service.ask("GET", "/download/missing.csv").status == 404
    assert service.ask("GET", "/download/s3%3A%2F%2Ftensorfleet").status == 400
    elsewhere = service.form("/upload", ("key", None, b"s3://plain/a/b"), ("file", "n", b"2"))
    assert (elsewhere.json["bucket"], elsewhere.json["key"]) == ("plain", "a/b")
    assert service.ask("GET", "/download/b?bucket=plain").status == 404


def test_several_files_are_for_another_route(service: Service) -> None:
    answer = service.form("/upload", ("file", "a", b"1"), ("file", "b", b"2"))
    assert (answer.status, "one file" in answer.json["detail"]) == (400, True)


def test_a_model_with_its_document(service: Service) -> None:
    about = {
        "job_id": "job-1",
        "name": "digits",
        "algorithm": "Random Forest",
        "job_name": "ti/ny",
        "dataset_name": "iris",
        "hyperparameters": {"depth": [1, 2], "rate": 0.5},
        "metrics": {"accuracy": 0.9},
    }
    answer = _save(service, "models", b"weights-1", **about)
    assert (answer.status, answer.json["message"]) == (201, "Model saved successfully")
    result = answer.json["result"]
    assert result["minio_path"] == f"s3://models/{result['object_name']}"
    assert result["object_name"].startswith("models/ti_ny_Random_Forest_iris_")
    assert result["object_name"].endswith(".pkl")
    assert len(result["checksum"]) == 32
    listed = service.ask("GET", "/api/v1/models?job_id=job-1").json
    assert (listed["count"], listed["truncated"]) == (1, False)
    model = listed["models"][0]
    assert (model["_id"], model["name"], model["metrics"]) == (
        result["mongo_id"],
        "digits",
        {"accuracy": 0.9},
    )
    assert (model["algorithm"], model["size_bytes"]) == ("Random Forest", 9)
    assert service.ask("GET", f"/api/v1/models/{result['mongo_id']}").body == b"weights-1"
    assert service.ask("GET", "/api/v1/models?job_id=nobody").json["models"] == []


def test_two_models_of_one_moment_are_two(service: Service) -> None:
    for content in (b"one", b"two"):
        assert _save(service, "models", content, job_id="twice").status == 201
    listed = service.ask("GET", "/api/v1/models?job_id=twice&limit=1").json
    assert (listed["count"], listed["truncated"]) == (1, True)
    assert service.ask("GET", "/api/v1/models?job_id=twice").json["count"] == 2


def test_documents_need_what_they_needed(service: Service) -> None:
    for kind in ("models", "checkpoints", "artifacts"):
        answer = _save(service, kind, b"x", name="n")
        assert (answer.status, "job_id is required" in answer.json["error"]) == (400, True)
    bad = service.form("/api/v1/models", ("metadata", None, b"{"), ("file", "f", b"x"))
    assert (bad.status, bad.json["code"]) == (400, "invalid_request")
    listed = service.form("/api/v1/models", ("metadata", None, b"[1]"), ("file", "f", b"x"))
    assert listed.status == 400
    assert service.form("/api/v1/models", ("metadata", None, b'{"job_id": "x"}')).status == 400


def test_a_small_file_may_come_before_its_metadata(service: Service) -> None:
    told = ("metadata", None, b'{"job_id": "late"}')
    assert service.form("/api/v1/models", ("file", "f.bin", b"early"), told).status == 201
    assert service.ask("GET", "/api/v1/models?job_id=late").json["count"] == 1
    large = service.form("/api/v1/models", ("file", "f.bin", bytes(9 << 20)), told)
    assert (large.status, "before a file" in large.json["detail"]) == (400, True)


def test_checkpoints_by_epoch_and_cleaned_up(service: Service) -> None:
    for epoch in (3, 1, 12, 7):
        assert _save(service, "checkpoints", b"c" * epoch, job_id="run", epoch=epoch).status == 201
    assert _save(service, "checkpoints", b"other", job_id="other", epoch=1).status == 201
    listed = service.ask("GET", "/api/v1/checkpoints/run").json
    assert [found["epoch"] for found in listed["checkpoints"]] == [12, 7, 3, 1]
    cleaned = service.ask("POST", "/api/v1/checkpoints/run/cleanup?keep=2")
    assert (cleaned.status, cleaned.json["deleted_count"]) == (200, 2)
    left = service.ask("GET", "/api/v1/checkpoints/run").json["checkpoints"]
    assert [found["epoch"] for found in left] == [12, 7]
    assert service.ask("POST", "/api/v1/checkpoints/run/cleanup").json["deleted_count"] == 0
    assert service.ask("GET", "/api/v1/checkpoints/other").json["count"] == 1
    assert service.ask("POST", "/api/v1/checkpoints/run/cleanup?keep=-1").status == 400


def test_artifacts_by_type(service: Service) -> None:
    plot = _save(
        service, "artifacts", b"png", "plot.png", job_id="art", artifact_type="plot", content_type="image/png"
    )
    assert plot.json["result"]["object_name"].endswith(".png")
    assert _save(service, "artifacts", b"log", job_id="art", artifact_type="log").status == 201
    assert service.ask("GET", "/api/v1/artifacts/art").json["count"] == 2
    found = service.ask("GET", "/api/v1/artifacts/art?type=plot").json["artifacts"]
    assert [(one["artifact_type"], one["content_type"]) for one in found] == [("plot", "image/png")]


def test_datasets_are_named_by_their_file(service: Service) -> None:
    assert _save(service, "datasets", b"a,b\n1,2\n", "iris.csv").status == 201
    assert _save(service, "datasets", b"{}", "d.json", name="named", num_rows=3).status == 201
    service.form("/api/v1/upload/datasets/raw/plain.parquet", ("file", "x", b"PAR1"))
    found = {one["name"]: one for one in service.ask("GET", "/api/v1/datasets").json["datasets"]}
    assert found["iris.csv"]["minio_path"].endswith(".csv")
    assert found["named"]["num_rows"] == 3
    assert found["plain"]["format"] == "parquet"  # came another way, and is listed all the same


def test_jobs_are_made_changed_and_listed(service: Service) -> None:
    made = service.ask(
        "POST", "/api/v1/jobs", json.dumps({"job_id": "j1", "model_type": "rf", "user_id": "u"})
    )
    assert (made.status, made.json["message"]) == (201, "Job saved successfully")
    job = service.ask("GET", "/api/v1/jobs/j1").json
    assert (job["status"], job["num_workers"], job["progress"]) == ("PENDING", 1, 0.0)
    changed = service.ask("PUT", "/api/v1/jobs/j1", json.dumps({"status": "RUNNING", "progress": 0.5}))
    assert changed.status == 200
    job = service.ask("GET", "/api/v1/jobs/j1").json
    assert (job["status"], job["progress"], job["model_type"]) == ("RUNNING", 0.5, "rf")
    service.ask("POST", "/api/v1/jobs", json.dumps({"job_id": "j2"}))
    assert {one["job_id"] for one in service.ask("GET", "/api/v1/jobs").json["jobs"]} >= {"j1", "j2"}
    running = service.ask("GET", "/api/v1/jobs?status=RUNNING").json["jobs"]
    assert [one["job_id"] for one in running] == ["j1"]
    assert [one["job_id"] for one in service.ask("GET", "/api/v1/jobs?user_id=u").json["jobs"]] == ["j1"]
    assert service.ask("GET", "/api/v1/jobs/recent?limit=1").json["count"] == 1
    assert service.ask("GET", "/api/v1/jobs/unknown").status == 404
    assert service.ask("PUT", "/api/v1/jobs/unknown", "{}").status == 404
    assert service.ask("POST", "/api/v1/jobs", "{}").status == 400
    assert service.ask("POST", "/api/v1/jobs", "[]").status == 400


def test_a_completed_job_becomes_a_model_once(service: Service) -> None:
    path = "/api/v1/jobs/done/auto-save-model"
    job = {
        "job_id": "done",
        "status": "COMPLETED",
        "model_type": "svm",
        "dataset_path": "s3://datasets/iris.csv",
    }
    assert service.ask("POST", path, json.dumps({**job, "status": "RUNNING"})).status == 400
    assert service.ask("POST", path, json.dumps({**job, "job_id": "else"})).status == 400
    made = service.ask("POST", path, json.dumps(job))
    assert made.status == 201
    assert made.json["minio_path"].endswith(".json")  # it is JSON, and says so
    again = service.ask("POST", path, json.dumps(job))
    assert (again.status, again.json["model_id"]) == (200, made.json["model_id"])
    saved = service.ask("GET", f"/api/v1/models/{made.json['model_id']}")
    assert saved.headers["content-type"] == "application/json"
    assert saved.json["dataset_path"] == "s3://datasets/iris.csv"
    model = service.ask("GET", "/api/v1/models?job_id=done").json["models"][0]
    assert model["name"] == "done_svm_iris"


def test_logs_are_streamed_line_by_line(service: Service) -> None:
    service.form("/api/v1/upload/jobs/jobs/talk.log", ("file", "x", b"one\ntwo\r\nthree"))
    answer = service.ask("GET", "/api/v1/jobs/talk/logs")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b"data: one\n\ndata: two\n\ndata: three\n\n"
    assert service.ask("GET", "/api/v1/jobs/silent/logs").status == 404


def test_nothing_has_to_be_brought_into_step(service: Service) -> None:
    before = service.ask("GET", "/api/v1/models").json["count"]
    for _ in range(2):
        answer = service.ask("POST", "/api/v1/sync", json.dumps({"create_samples": True}))
        assert answer.status == 200
        assert all(one == {"synced": 0, "errors": []} for one in answer.json["results"].values())
    assert service.ask("GET", "/api/v1/models").json["count"] == before
    found = service.ask("GET", "/api/v1/storage/validate").json["validation"]
    assert found["consistency_issues"] == []
    assert set(found["minio_buckets"]) == {"models", "datasets", "checkpoints", "artifacts", "jobs"}


def test_a_listing_has_what_older_clients_read(service: Service) -> None:
    service.form("/api/v1/upload/artifacts/listed.bin", ("file", "x", b"12345"))
    page = service.ask("GET", "/api/v1/list/artifacts?prefix=listed").json
    assert (page["count"], page["objects"][0]["name"], page["objects"][0]["size"]) == (1, "listed.bin", 5)
    gone = service.ask("DELETE", "/api/v1/delete/artifacts/listed.bin").json
    assert (gone["message"], gone["object_name"]) == ("File deleted successfully", "listed.bin")


def test_debugging_routes_are_not_served(service: Service) -> None:
    assert service.ask("GET", "/debug-routes").status == 404
    assert service.ask("GET", "/debug-test").status == 404


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with serving(tmp_path, compat=False) as service:
        assert service.form("/upload", ("file", "a", b"1")).status == 404
        assert service.ask("GET", "/api/v1/models").status == 404
        assert "/api/v1/models" not in service.ask("GET", "/openapi.json").json["paths"]
        assert service.form("/api/v1/upload", ("bucket", None, b"plain"), ("file", "a", b"1")).status == 201


def test_it_asks_for_a_token_as_everything_does(tmp_path: Path) -> None:
    def reader(engine: Any) -> Any:
        async def asks(token: str) -> Principal:
            return Principal("r", "default", "reader")

        return asks

    with serving(tmp_path, authenticate=reader) as service:
        assert service.form("/upload", ("file", "a", b"1")).status == 401
        assert service.ask("GET", "/api/v1/models").status == 401
        service.headers["Authorization"] = "Bearer x"
        assert service.ask("GET", "/api/v1/models").json["count"] == 0
        assert service.form("/upload", ("file", "a", b"1")).status in (403, 404)
        assert service.ask("POST", "/api/v1/jobs", json.dumps({"job_id": "x"})).status in (403, 404)
        assert service.ask("GET", "/api/v1/buckets").json["buckets"] != []
        assert "tensorfleet" not in service.ask("GET", "/api/v1/buckets").body.decode()
