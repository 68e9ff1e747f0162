"""Files by id over HTTP: upload, read, describe, versions, search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from holdfast.core.types import Principal, Scope
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors

FILES = "/api/v1/files"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("files"), default_bucket="plain") as running:
        yield running


def send(service: Service, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = None if body is None else json.dumps(body)
    return service.ask(method, f"/api/v1/{path}", raw, named)


def stored(
    service: Service, key: str, body: bytes = b"content", bucket: str = "plain", **headers: str
) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = service.ask("PUT", f"/api/v1/objects/{bucket}/{key}", body, named)
    assert answer.status == 201, answer.body
    return str(answer.json["version_id"])


# -- upload -----------------------------------------------------------------------------------------------------------
def test_one_file_goes_to_the_default_bucket_and_its_id_leads_back(service: Service) -> None:
    answer = service.form(
        f"{FILES}/upload",
        ("path", None, b"docs/report.csv"),
        ("metadata", None, b'{"job": "7"}'),
        ("tags", None, b"kind=report&year=2026"),
        ("file", "local.csv", b"a,b\n1,2\n"),
    )
    assert answer.status == 201, answer.body
    said = answer.json
    assert said["success"] is True
    assert said["files"] == [
        said["files"][0]
        | {"bucket": "plain", "key": "docs/report.csv", "size": 8, "content_type": "text/csv"}
    ]
    assert said["file_id"] == said["files"][0]["file_id"]
    back = service.ask("GET", f"{FILES}/download/{said['file_id']}")
    assert (back.status, back.body) == (200, b"a,b\n1,2\n")
    assert back.headers["content-disposition"] == 'attachment; filename="report.csv"'
    about = service.ask("GET", f"{FILES}/{said['file_id']}").json
    assert about["metadata"] == {"job": "7"}
    assert about["tags"] == {"kind": "report", "year": "2026"}
    assert (about["versions"], about["replicas"], about["expires"]) == (1, 1, None)
    assert len(about["sha256"]) == 64
    assert len(about["md5"]) == 32


def test_many_files_each_with_its_id(service: Service) -> None:
    answer = service.form(
        f"{FILES}/upload?key=many/",
        ("files", "a.txt", b"A"),
        ("files", "b.txt", b"BB"),
        ("files", "c.txt", b""),
    )
    assert answer.status == 201
    ids = {item["key"]: item["file_id"] for item in answer.json["files"]}
    assert list(ids) == ["many/a.txt", "many/b.txt", "many/c.txt"]
    assert "file_id" not in answer.json
    assert service.ask("GET", f"{FILES}/download/{ids['many/b.txt']}").body == b"BB"


def test_one_of_many_files_may_fail(service: Service) -> None:
    answer = service.form(
        f"{FILES}/upload",
        ("key", None, b"partly/good.txt"),
        ("file", "x", b"fine"),
        ("key", None, b"partly/../bad.txt"),
        ("file", "y", b"z" * 300_000),
        ("key", None, b"partly/wrong.txt"),
        ("sha256", None, b"0" * 64),
        ("file", "z", b"not that"),
        ("key", None, b"partly/last.txt"),
        ("file", "w", b"last"),
    )
    assert answer.status == 207, answer.body
    said = answer.json
    assert said["success"] is False
    assert [(item["success"], item.get("code")) for item in said["files"]] == [
        (True, None),
        (False, "invalid_request"),
        (False, "digest_mismatch"),
        (True, None),
    ]
    assert said["files"][1]["key"] == "partly/../bad.txt"
    assert said["files"][1]["status"] == 400
    assert service.get("partly/last.txt").body == b"last"
    assert service.get("partly/wrong.txt").status == 404


def test_a_single_file_that_fails_is_an_error(service: Service) -> None:
    answer = service.form(f"{FILES}/upload?bucket=nowhere", ("file", "a.txt", b"A"))
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert service.form(f"{FILES}/upload", ("key", None, b"k")).status == 400


def test_a_form_that_breaks_off_tells_what_was_stored(service: Service) -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="broken1"\r\n\r\none\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="broken2"\r\n\r\ntwo'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    answer = service.ask("POST", f"{FILES}/upload", body, kind)
    assert answer.status == 400
    assert [item["key"] for item in answer.json["files"]] == ["broken1"]
    assert service.get("broken1").body == b"one"
    assert service.get("broken2").status == 404


# -- reading ----------------------------------------------------------------------------------------------------------
def test_ranges_conditions_and_disposition_are_those_of_objects(service: Service) -> None:
    file_id = stored(service, "read/me.txt", b"0123456789")
    url = f"{FILES}/download/{file_id}"
    part = service.ask("GET", url, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert service.ask("GET", url, headers={"Range": "bytes=20-"}).status == 416
    etag = part.headers["etag"]
    assert service.ask("GET", url, headers={"If-None-Match": etag}).status == 304
    assert service.ask("GET", url, headers={"If-Match": '"other"'}).status == 412
    kept = service.ask("GET", url, headers={"If-Range": etag, "Range": "bytes=0-0"})
    assert (kept.status, kept.body) == (206, b"0")
    head = service.ask("HEAD", url)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
    shown = service.ask("GET", url + "?disposition=inline")
    assert shown.headers["content-disposition"].startswith("inline")


def test_an_id_that_leads_nowhere(service: Service) -> None:
    old = stored(service, "over/written", b"old")
    new = stored(service, "over/written", b"new")
    for file_id in (old, "no-such-id", "%00", "x" * 100, quote("..%2f..")):
        for path in (f"{FILES}/download/{file_id}", f"{FILES}/{file_id}", f"{FILES}/{file_id}/versions"):
            answer = service.ask("GET", path)
            assert (answer.status, answer.json["code"]) == (404, "not_found"), path
            assert "overwritten" in answer.json["detail"]
    assert service.ask("GET", f"{FILES}/download/{new}").body == b"new"


def test_delete_by_id(service: Service) -> None:
    file_id = stored(service, "to/delete")
    refused = send(service, "DELETE", f"files/{file_id}", If_Match='"other"')
    assert refused.status == 412
    done = send(service, "DELETE", f"files/{file_id}")
    assert (done.status, done.json["deleted"], done.json["key"]) == (200, True, "to/delete")
    assert send(service, "DELETE", f"files/{file_id}").status == 404
    assert service.get("to/delete").status == 404


def test_a_delete_of_nothing_does_not_claim_one(service: Service) -> None:
    answer = send(service, "DELETE", "delete/plain/never/there")
    assert answer.status == 200
    assert answer.json["deleted"] is False
    assert "deleted successfully" not in answer.json["message"]
    stored(service, "was/there")
    done = send(service, "DELETE", "delete/plain/was/there").json
    assert (done["deleted"], done["message"]) == (True, "File deleted successfully")


# -- what is said -----------------------------------------------------------------------------------------------------
def test_put_replaces_and_patch_merges(service: Service) -> None:
    file_id = stored(
        service, "said.bin", x_holdfast_meta_a="1", x_holdfast_meta_b="2", x_holdfast_tagging="t=1"
    )
    put = send(service, "PUT", f"files/{file_id}", {"metadata": {"c": "3"}, "content_type": "text/plain"})
    assert (put.status, put.json["metadata"], put.json["tags"]) == (200, {"c": "3"}, {"t": "1"})
    patched = send(
        service, "PATCH", f"files/{file_id}", {"metadata": {"d": "4", "c": None}, "tags": {"u": "ü"}}
    )
    assert (patched.json["metadata"], patched.json["tags"]) == ({"d": "4"}, {"t": "1", "u": "ü"})
    read = service.get("said.bin")  # the object tells the same at once
    assert read.headers["content-type"] == "text/plain"
    assert read.headers["x-holdfast-meta-d"] == "4"
    assert read.headers["x-holdfast-tagging"] == "t=1&u=%C3%BC"
    assert read.headers["etag"].strip('"') == patched.json["etag"]
    assert read.body == b"content"


def test_editors_do_not_overwrite_each_other_unseen(service: Service) -> None:
    file_id = stored(service, "shared.txt")
    seen = service.ask("GET", f"{FILES}/{file_id}")
    etag = seen.headers["etag"]
    assert etag.strip('"') == seen.json["metadata_etag"]
    assert service.ask("GET", f"{FILES}/{file_id}", headers={"If-None-Match": etag}).status == 304
    first = send(service, "PUT", f"files/{file_id}", {"tags": {"by": "one"}}, If_Match=etag)
    assert first.status == 200
    second = send(service, "PUT", f"files/{file_id}", {"tags": {"by": "two"}}, If_Match=etag)
    assert (second.status, second.json["code"]) == (412, "precondition_failed")
    third = send(service, "PUT", f"files/{file_id}", {"tags": {"by": "two"}}, If_Match=first.headers["etag"])
    assert third.status == 200
    by_id = send(service, "PATCH", f"files/{file_id}", {"tags": {"x": "y"}}, If_Match=f'"{file_id}"')
    assert by_id.json["tags"] == {"by": "two", "x": "y"}


def test_merges_at_the_same_time_are_all_kept(service: Service) -> None:
    file_id = stored(service, "merged.txt")
    with ThreadPoolExecutor(8) as pool:
        ends = list(
            pool.map(
                lambda n: send(service, "PATCH", f"files/{file_id}", {"tags": {f"t{n}": "x"}}), range(16)
            )
        )
    assert {end.status for end in ends} == {200}
    assert len(service.ask("GET", f"{FILES}/{file_id}").json["tags"]) == 16


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"a": "x" * 9000}},
        {"tags": {f"t{n}": "x" for n in range(51)}},
        {"content_type": "no type"},
        {"metadata": {"a": "line\nbreak"}},
        {"size": 5},
        {"tags": {"a": None}},
        [],
    ],
)
def test_what_cannot_be_said(service: Service, body: Any) -> None:
    file_id = stored(service, "unsaid.txt")
    before = service.ask("GET", f"{FILES}/{file_id}").json
    assert send(service, "PUT", f"files/{file_id}", body).status == 400
    assert service.ask("GET", f"{FILES}/{file_id}").json == before


# -- versions ---------------------------------------------------------------------------------------------------------
def test_versions_of_a_key(service: Service) -> None:
    ids = [stored(service, "v/key", f"content {n}".encode(), "kept") for n in range(5)]
    stored(service, "v/key2", b"another key", "kept")
    page = send(service, "GET", f"files/{ids[2]}/versions?limit=2").json
    assert [item["file_id"] for item in page["versions"]] == ids[:2:-1]
    assert page["truncated"] is True
    rest = send(service, "GET", f"files/{ids[2]}/versions?limit=10&after={page['next_after']}").json
    assert [item["file_id"] for item in rest["versions"]] == ids[2::-1]
    assert rest["truncated"] is False
    assert send(service, "GET", f"files/{ids[0]}/versions/{ids[3]}").json["size"] == 9
    assert service.ask("GET", f"{FILES}/{ids[0]}").json["versions"] == 5
    other = stored(service, "v/other", b"x", "kept")
    assert send(service, "GET", f"files/{ids[0]}/versions/{other}").status == 404


def test_restore_makes_an_old_version_current_again(service: Service) -> None:
    old = stored(service, "back", b"old", "kept", x_holdfast_meta_a="1")
    stored(service, "back", b"new", "kept")
    send(service, "DELETE", "objects/kept/back")
    assert service.ask("GET", "/api/v1/objects/kept/back").status == 404
    restored = send(service, "POST", f"files/{old}/versions/{old}/restore")
    assert (restored.status, restored.json["restored"]) == (201, True)
    assert restored.json["file_id"] != old
    assert restored.json["metadata"] == {"a": "1"}
    assert service.ask("GET", "/api/v1/objects/kept/back").body == b"old"
    again = send(service, "POST", f"files/{old}/versions/{restored.json['file_id']}/restore")
    assert (again.status, again.json["restored"]) == (200, False)


def test_delete_of_one_version(service: Service) -> None:
    old, new = stored(service, "d", b"old", "kept"), stored(service, "d", b"new", "kept")
    assert send(service, "DELETE", f"files/{old}/versions/{new}").json["deleted"] is True
    assert service.ask("GET", "/api/v1/objects/kept/d").body == b"old"
    assert service.ask("GET", f"{FILES}/download/{new}").status == 404


# -- search -----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def library(service: Service) -> Service:
    for number in range(12):
        stored(
            service,
            f"lib/{number:02}.txt",
            b"x" * number,
            "kept" if number % 2 else "plain",
            x_holdfast_tagging=f"third={number % 3}&lib=a%20b",
            x_holdfast_meta_number=str(number),
            content_type="image/png" if number > 8 else "text/plain",
        )
    return service


def find(service: Service, query: str) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = service.ask("GET", f"{FILES}?{query}&cursor={cursor}").json
        found += [item["key"] for item in page["files"]]
        assert all(item["file_id"] == item["version_id"] for item in page["files"])
        if not page["truncated"]:
            return found
        cursor = page["cursor"]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("tag=lib=a b", [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]),
        ("tag.third=1&bucket=plain", [4, 10]),
        ("tag.third=1&tag.lib=a b", [4, 10, 1, 7]),
        ("tag.third=1&metadata.number=7", [7]),
        ("metadata=number=3", [3]),
        ("prefix=lib/1", [10, 11]),
        ("tag=lib=a b&content_type=image/*", [10, 9, 11]),
        ("prefix=lib/&min_size=5&max_size=6", [6, 5]),
        ("prefix=lib/&suffix=7.txt", [7]),
        ("prefix=lib/&since=2020-01-01&until=2021-01-01T00:00:00%2B02:00", []),
        ("prefix=lib/&max_size=1KB&bucket=kept", [1, 3, 5, 7, 9, 11]),
    ],
)
@pytest.mark.parametrize("limit", [1, 100])
def test_search(library: Service, query: str, numbers: list[int], limit: int) -> None:
    found = find(library, quote(query, safe="=&/*.%") + f"&limit={limit}")
    in_order = sorted(numbers, key=lambda number: (number % 2 == 0, number))  # by bucket, then by key
    assert found == [f"lib/{number:02}.txt" for number in in_order]


@pytest.mark.parametrize(
    "query",
    [
        "tags=a",
        "min_size=big",
        "since=yesterday",
        "cursor=abc",
        "tag=noequals",
        "limit=0",
        "content_type=[a]",
        "tag.=1",
    ],
)
def test_a_search_that_makes_no_sense(library: Service, query: str) -> None:
    answer = library.ask("GET", f"{FILES}?{query}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


# -- who --------------------------------------------------------------------------------------------------------------
WHO = {
    "all": Principal("all", "default", "admin"),
    "reader": Principal("reader", "default", "reader"),
    "lib": Principal("lib", "default", "writer", scopes=(Scope("plain", "lib/"),)),
    "foreign": Principal("foreign", "other", "admin"),
}


async def by_name(token: str) -> Principal:
    return WHO[token]


def test_an_id_opens_no_door_that_is_closed(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=lambda engine: by_name, default_bucket="plain") as service:
        service.run(service.engine.catalog.create_tenant("other"))

        def ask(who: str, method: str, path: str, body: Any = None) -> Answer:
            raw = None if body is None else json.dumps(body)
            return service.ask(method, f"/api/v1/{path}", raw, {"Authorization": f"Bearer {who}"})

        ids = {}
        for key in ("lib/a", "secret/b"):
            made = service.ask("PUT", f"/api/v1/objects/plain/{key}", b"x", {"Authorization": "Bearer all"})
            ids[key] = made.json["version_id"]
        for path in (
            f"files/{ids['secret/b']}",
            f"files/download/{ids['secret/b']}",
            f"files/{ids['secret/b']}/versions",
        ):
            assert ask("all", "GET", path).status == 200
            assert ask("lib", "GET", path).status == 404
            assert ask("foreign", "GET", path).status == 404
        assert ask("lib", "GET", f"files/{ids['lib/a']}").status == 200
        assert ask("reader", "PUT", f"files/{ids['lib/a']}", {"tags": {}}).status == 403
        assert ask("reader", "DELETE", f"files/{ids['lib/a']}").status == 403
        assert ask("foreign", "DELETE", f"files/{ids['lib/a']}").status == 404
        assert ask("lib", "DELETE", f"files/{ids['secret/b']}").status == 404
        assert [item["key"] for item in ask("lib", "GET", "files?prefix=lib/").json["files"]] == ["lib/a"]
        assert ask("lib", "GET", "files").status == 403
        assert ask("lib", "GET", "files?bucket=plain").status == 403
        assert ask("foreign", "GET", "files").json["files"] == []
        assert service.ask("GET", "/api/v1/files").status == 401


# -- copies -----------------------------------------------------------------------------------------------------------
def test_a_copy_under_an_idempotency_key_is_made_once(service: Service) -> None:
    stored(service, "once/source", b"first")
    wish = {
        "source": {"bucket": "plain", "key": "once/source"},
        "target": {"bucket": "kept", "key": "once/target"},
    }
    first = send(service, "POST", "copy", wish, Idempotency_Key="copy-1")
    stored(service, "once/source", b"second")
    again = send(service, "POST", "copy", wish, Idempotency_Key="copy-1")
    assert (first.status, again.status) == (201, 201)
    assert again.json["version_id"] == first.json["version_id"]
    assert service.ask("GET", "/api/v1/objects/kept/once/target").body == b"first"
    other = {**wish, "target": {"bucket": "kept", "key": "once/other"}}
    assert send(service, "POST", "copy", other, Idempotency_Key="copy-1").status == 409
    headers = {"x-holdfast-copy-source": "plain/once/source", "Idempotency-Key": "copy-2"}
    made = [service.ask("PUT", "/api/v1/objects/kept/once/header", None, headers).json for _ in range(2)]
    assert made[0]["version_id"] == made[1]["version_id"]
    headers["x-holdfast-copy-source"] = "plain/said.bin"
    assert service.ask("PUT", "/api/v1/objects/kept/once/header", None, headers).status == 409


def test_a_type_that_the_bucket_does_not_take_cannot_be_said(service: Service) -> None:
    made = send(service, "POST", "buckets", {"name": "pictures", "allowed_types": ["image/*"]})
    assert made.status == 201, made.body
    answer = service.ask(
        "PUT",
        "/api/v1/objects/pictures/a.png",
        b"\x89PNG\r\n\x1a\n" + b"x" * 20,
        {"Content-Type": "image/png"},
    )
    assert answer.status == 201, answer.body
    file_id = answer.json["version_id"]
    refused = send(service, "PUT", f"files/{file_id}", {"content_type": "text/html"})
    assert refused.status in (400, 415), refused.body
    assert send(service, "PUT", f"files/{file_id}", {"content_type": "image/gif"}).status == 200
