"""Uploads by form, listings, buckets, health: the bodies that clients of the storage service expect."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator

import pytest

from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo
from tests.doors.rest_service import Service, encode_form
from tests.helpers import noise

pytestmark = pytest.mark.doors
UPLOAD = "/api/v1/upload"


def test_one_file_by_form(rest_service: Service) -> None:
    content = noise(1 << 20)
    answer = rest_service.form(
        UPLOAD,
        ("bucket", None, b"plain"),
        ("key", None, b"user1/model_v1.pkl"),
        ("metadata", None, b'{"epoch": "3"}'),
        ("file", "model.pkl", content),
    )
    assert answer.status == 201
    said = answer.json
    assert {name: said[name] for name in ("success", "message", "bucket", "key", "size")} == {
        "success": True,
        "message": "File uploaded successfully",
        "bucket": "plain",
        "key": "user1/model_v1.pkl",
        "size": 1 << 20,
    }
    got = rest_service.ask("GET", "/api/v1/download/plain/user1/model_v1.pkl")
    assert (got.body, got.headers["etag"]) == (content, f'"{said["etag"]}"')
    assert got.headers["content-disposition"] == 'attachment; filename="model_v1.pkl"'
    assert got.headers["x-holdfast-meta-epoch"] == "3"
    head = rest_service.ask("HEAD", "/api/v1/download/plain/user1/model_v1.pkl")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(1 << 20), b"")


def test_many_files_by_form(rest_service: Service) -> None:
    answer = rest_service.form(
        UPLOAD,
        ("bucket", None, b"plain"),
        ("key", None, b"set/"),
        ("file", "a.csv", b"1"),
        ("file", "dir/b.csv", b"22"),
        ("file", "C:\\temp\\c.csv", b"333"),
    )
    assert answer.status == 201
    assert answer.json["message"] == "3 files uploaded successfully"
    found = [(item["key"], item["size"]) for item in answer.json["files"]]
    assert found == [("set/a.csv", 1), ("set/b.csv", 2), ("set/c.csv", 3)]


def test_each_file_may_have_its_own_key(rest_service: Service) -> None:
    answer = rest_service.form(
        UPLOAD + "?bucket=plain",
        ("key", None, b"own/1"),
        ("file", "x", b"1"),
        ("key", None, b"own/2"),
        ("file", "y", b"2"),
        ("file", "named-by-file", b"3"),
    )
    assert [item["key"] for item in answer.json["files"]] == ["own/1", "own/2", "named-by-file"]


def test_the_first_failure_ends_a_form_and_says_what_was_stored(rest_service: Service) -> None:
    answer = rest_service.form(
        UPLOAD + "?bucket=plain",
        ("key", None, b"partly/1"),
        ("file", "x", b"1"),
        ("key", None, b"../2"),
        ("file", "y", b"2"),
    )
    assert (answer.status, answer.json["success"]) == (400, False)
    assert [item["key"] for item in answer.json["files"]] == ["partly/1"]


def test_a_forms_checksum_is_checked(rest_service: Service) -> None:
    answer = rest_service.form(
        UPLOAD,
        ("bucket", None, b"plain"),
        ("key", None, b"s"),
        ("sha256", None, b"0" * 64),
        ("file", "x", b"1"),
    )
    assert (answer.status, answer.json["code"]) == (400, "digest_mismatch")


BAD_FORMS = [
    (("file", "x", b"1"), ("bucket", None, b"plain"), ("key", None, b"late")),
    (("bucket", None, b"plain"), ("key", None, b"no-file")),
    (("bucket", None, b"plain"), ("file", "", b"no name")),
    (("bucket", None, b"plain"), ("key", None, b"\xff\xfe"), ("file", "x", b"1")),
    (("bucket", None, b"plain"), ("key", None, b"k" * 100_000), ("file", "x", b"1")),
    (("bucket", None, b"plain"), ("metadata", None, b"[1]"), ("file", "x", b"1")),
    (("bucket", None, b"plain"), ("sha256", None, b"zz"), ("file", "x", b"1")),
    tuple(("junk", None, b"") for _ in range(1001)),
    (),
]


@pytest.mark.parametrize("parts", BAD_FORMS, ids=range(len(BAD_FORMS)))
def test_a_form_that_cannot_be_is_refused_in_words(
    rest_service: Service, parts: tuple[tuple[str, str | None, bytes], ...]
) -> None:
    answer = rest_service.form(UPLOAD, *parts)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=" + "b" * 71, b"x", 400),
        ("multipart/form-data; boundary=edge", b"", 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\n", 400),
        ("multipart/form-data; boundary=edge", b"\r" * 300_000, 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\n" + b"X: y\r\n" * 99 + b"\r\n\r\n--edge--", 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\nX: " + b"y" * 99_999 + b"\r\n\r\n--edge--", 400),
        ("multipart/form-data; boundary=edge", b"--edge\r\n\r\nno name\r\n--edge--\r\n", 400),
        ("multipart/form-data; boundary=edge", encode_form(("file", "x", b"1"))[:-8], 400),
        ("application/json", b"{}", 415),
    ],
)
def test_malformed_forms(rest_service: Service, kind: str, body: bytes, status: int) -> None:
    answer = rest_service.ask("POST", UPLOAD + "?bucket=plain&key=malformed", body, {"Content-Type": kind})
    assert answer.status == status
    assert rest_service.get("malformed").status == 404


def test_a_form_that_ends_early_stores_nothing(rest_service: Service) -> None:
    whole = encode_form(("bucket", None, b"plain"), ("key", None, b"early"), ("file", "x", noise(100_000)))
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    assert rest_service.ask("POST", UPLOAD, whole[:50_000], kind).status == 400
    assert rest_service.get("early").status == 404


def test_streams_by_form_and_raw(rest_service: Service) -> None:
    url = "/api/v1/upload/stream"
    form = encode_form(("bucket", None, b"plain"), ("key", None, b"streamed"), ("file", "x", noise(300_000)))
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    by_form = rest_service.ask("POST", url, iter([form[:777], form[777:]]), kind, encode_chunked=True)
    assert (by_form.status, by_form.json["size"]) == (201, 300_000)
    raw = rest_service.ask(
        "POST", f"{url}?bucket=plain&key=raw.bin", iter([b"a" * 70_000, b"b"]), encode_chunked=True
    )
    assert raw.json["success"] is True
    assert rest_service.get("raw.bin").body == b"a" * 70_000 + b"b"
    assert rest_service.ask("POST", url, b"x").status == 400


def test_listing_pages(rest_service: Service) -> None:
    for key in ("l/a", "l/b/1", "l/b/2", "l/c"):
        rest_service.put(key, b"x")
    page = rest_service.ask("GET", "/api/v1/list/plain?prefix=l/&delimiter=/&limit=2").json
    assert [item["key"] for item in page["objects"]] == ["l/a"]
    assert (page["bucket"], page["prefix"], page["prefixes"]) == ("plain", "l/", ["l/b/"])
    assert (page["truncated"], page["next_marker"]) == (True, "l/b/")
    rest = rest_service.ask("GET", "/api/v1/list/plain?prefix=l/&delimiter=/&marker=l/b/").json
    assert [item["key"] for item in rest["objects"]] == ["l/c"]
    assert (rest["truncated"], rest["next_marker"]) == (False, "")
    item = rest["objects"][0]
    assert {"key", "size", "last_modified", "etag", "content_type"} <= set(item)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["last_modified"])
    files = rest_service.ask("GET", "/api/v1/buckets/plain/files?prefix=l/b/").json
    assert [item["key"] for item in files["objects"]] == ["l/b/1", "l/b/2"]


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "limit=1.5", "prefix=%ff", "prefix=%00", "prefix=a&prefix=b", "limit=٣"]
)
def test_a_listing_that_cannot_be_is_refused(rest_service: Service, query: str) -> None:
    url = f"/api/v1/list/plain?{query}".encode().decode("latin-1").replace("\xd9\xa3", "%D9%A3")
    answer = rest_service.ask("GET", url)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


def test_deleting_a_file_says_so(rest_service: Service) -> None:
    rest_service.put("doomed/x", b"x")
    answer = rest_service.ask("DELETE", "/api/v1/delete/plain/doomed/x")
    assert answer.json == {
        "success": True,
        "message": "File deleted successfully",
        "bucket": "plain",
        "key": "doomed/x",
        "deleted": True,
        "object_name": "doomed/x",
    }
    assert rest_service.get("doomed/x").status == 404


def test_buckets(rest_service: Service) -> None:
    made = rest_service.ask("POST", "/api/v1/buckets", b'{"name": "models"}')
    assert (made.status, made.json["objects"]) == (201, 0)
    rest_service.ask("PUT", "/api/v1/objects/models/x", b"x" * 2048)
    listed = {item["name"]: item for item in rest_service.ask("GET", "/api/v1/buckets").json["buckets"]}
    assert (listed["models"]["objects"], listed["models"]["size"]) == (1, "2.0 KB")
    assert listed["kept"]["versioning"] is True
    full = rest_service.ask("DELETE", "/api/v1/buckets/models")
    assert (full.status, full.json["code"]) == (409, "conflict")
    rest_service.ask("DELETE", "/api/v1/objects/models/x")
    assert rest_service.ask("DELETE", "/api/v1/buckets/models").json["success"] is True
    assert rest_service.ask("DELETE", "/api/v1/buckets/models").status == 404
    assert rest_service.ask("POST", "/api/v1/buckets", b'{"name": "plain"}').status == 409


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "Bad"}', b'{"name":"abc","x":1}', b"[" * 100_000]
)
def test_a_bucket_that_cannot_be_is_refused(rest_service: Service, body: bytes) -> None:
    answer = rest_service.ask("POST", "/api/v1/buckets", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


def test_multipart_uploads(rest_service: Service) -> None:
    opened = rest_service.ask("POST", "/api/v1/uploads", b'{"bucket":"plain","key":"big \xc3\xa9"}')
    assert opened.status == 201
    base = f"/api/v1/uploads/{opened.json['upload_id']}"
    place = "?bucket=plain&key=big%20%C3%A9"
    parts = [noise(5 << 20, 1), noise(1000, 2)]
    tags = {}
    for number in (2, 1, 2):
        answer = rest_service.ask("PUT", f"{base}/parts/{number}{place}", parts[number - 1])
        assert answer.status == 200
        tags[number] = answer.json["etag"]
    listed = rest_service.ask("GET", f"{base}/parts{place}").json["parts"]
    assert [(item["number"], item["size"]) for item in listed] == [(1, 5 << 20), (2, 1000)]
    open_now = rest_service.ask("GET", "/api/v1/uploads?bucket=plain").json["uploads"]
    assert [item["upload_id"] for item in open_now] == [opened.json["upload_id"]]
    wish = json.dumps({"parts": [{"number": number, "etag": tags[number]} for number in (1, 2)]})
    made = rest_service.ask("POST", f"{base}/complete{place}", wish.encode())
    assert (made.status, made.json["size"]) == (201, (5 << 20) + 1000)
    assert rest_service.get("big%20%C3%A9").body == b"".join(parts)
    (item,) = rest_service.ask("GET", "/api/v1/list/plain?prefix=big").json["objects"]
    assert (item["checksum_type"], item["parts"]) == ("COMPOSITE", 2)  # its sha256 is not that of the content


def test_multipart_uploads_refuse_what_cannot_be(rest_service: Service) -> None:
    opened = rest_service.ask("POST", "/api/v1/uploads", b'{"bucket":"plain","key":"never"}').json[
        "upload_id"
    ]
    base, place = f"/api/v1/uploads/{opened}", "?bucket=plain&key=never"
    assert rest_service.ask("PUT", f"{base}/parts/0{place}", b"x").status == 400
    assert rest_service.ask("PUT", f"{base}/parts/10001{place}", b"x").status == 400
    assert rest_service.ask("PUT", f"{base}/parts/1", b"x").status == 400
    assert rest_service.ask("POST", f"{base}/complete{place}", b'{"parts":[]}').status == 400
    wrong = b'{"parts":[{"number":1,"etag":"00"}]}'
    assert rest_service.ask("POST", f"{base}/complete{place}", wrong).status in (400, 409)
    assert rest_service.ask("DELETE", f"{base}{place}").status == 204
    assert rest_service.ask("DELETE", f"{base}{place}").status == 404
    assert rest_service.ask("PUT", f"{base}/parts/1{place}", b"x").status == 404


def test_health_tells_of_the_default_store(rest_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    well = rest_service.ask("GET", "/health")
    assert well.status == 200
    assert (well.json["status"], well.json["service"], well.json["minio_connected"]) == (
        "healthy",
        "storage",
        True,
    )
    assert well.json["buckets_available"] >= 2
    assert well.json["timestamp"].endswith("Z")

    async def down(prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        raise UnavailableError("down")
        yield

    monkeypatch.setattr(rest_service.engine.stores["local"].backend, "list", down)
    for _ in range(40):
        ill = rest_service.ask("GET", "/health")
        if ill.status == 503:
            break
        time.sleep(0.1)
    assert (ill.status, ill.json["status"], ill.json["minio_connected"]) == (503, "degraded", False)


def test_metrics_count_by_route_and_never_by_name(rest_service: Service) -> None:
    rest_service.put("secret-name", b"x")
    rest_service.get("secret-name")
    page = rest_service.ask("GET", "/metrics").body.decode()
    line = 'holdfast_http_requests_total{method="GET",route="/api/v1/objects/{bucket}/{key...}",status="200"}'
    assert line in page
    assert "secret-name" not in page
