"""Forms in which a field comes too late, and the ways to write tags: what is answered is what was done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doors.rest_service import Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors

DOORS = ("/api/v1/files/upload", "/api/v1/batch/upload", "/api/v1/upload", "/api/v1/upload/stream")
FIELDS = ("bucket", "key", "path", "tags", "metadata", "content_type", "sha256", "md5")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("forms"), default_bucket="plain") as running:
        yield running


def there(service: Service, key: str, bucket: str = "plain") -> int:
    return service.ask("HEAD", f"/api/v1/objects/{bucket}/{key}").status


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_after_the_last_file_is_refused_and_nothing_stored(
    service: Service, door: str, size: int, field: str
) -> None:
    answer = service.form(
        f"{door}?bucket=plain", ("file", f"late-{field}-{size}", noise(size)), (field, None, b"late")
    )
    assert answer.status == 400, answer.body
    assert f"'{field}'" in answer.json["detail"]
    assert there(service, f"late-{field}-{size}") == 404


def test_the_older_upload_refuses_it_too(service: Service) -> None:
    for size in (3, 300_000):
        answer = service.form("/upload", ("file", "older", noise(size)), ("bucket", None, b"kept"))
        assert (answer.status, there(service, "older"), there(service, "older", "kept")) == (400, 404, 404)


def test_it_does_not_overwrite_what_was_there(service: Service) -> None:
    service.ask("PUT", "/api/v1/objects/plain/precious", b"old")
    assert service.form(DOORS[0], ("file", "precious", b"new"), ("bucket", None, b"kept")).status == 400
    assert service.ask("GET", "/api/v1/objects/plain/precious").body == b"old"


def test_files_before_the_last_are_told(service: Service) -> None:
    answer = service.form(
        DOORS[0],
        *(("file", "told-1", b"1"), ("file", "told-2", b"2"), ("key", None, b"late")),
    )
    assert answer.status == 400
    assert [item["key"] for item in answer.json["files"]] == ["told-1"]
    assert (there(service, "told-1"), there(service, "told-2")) == (200, 404)


def test_fields_between_files_are_of_the_next(service: Service) -> None:
    answer = service.form(
        DOORS[0],
        *(("key", None, b"between-1"), ("file", "x", b"1")),
        *(
            ("bucket", None, b"kept"),
            ("key", None, b"between-2"),
            ("tags", None, b"a=1"),
            ("file", "x", b"2"),
        ),
        ("comment", None, b"of no meaning"),
    )
    assert answer.status == 201, answer.body
    assert [(item["bucket"], item["key"]) for item in answer.json["files"]] == [
        ("plain", "between-1"),
        ("kept", "between-2"),
    ]
    assert answer.json["bucket"] == ""
    one = service.form(DOORS[0], ("bucket", None, b"kept"), ("file", "one", b"1"))
    assert (one.json["bucket"], there(service, "one", "kept")) == ("kept", 200)


def test_fields_behind_a_file_are_bounded(service: Service) -> None:
    many = [("comment", None, b"x" * 60_000)] * 20
    answer = service.form(DOORS[0], ("file", "crowded", b"1"), *many, ("file", "next", b"2"))
    assert answer.status == 400
    assert there(service, "crowded") == 404


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (b'{"a": "1", "b": "x=y"}', {"a": "1", "b": "x=y"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1, b=2", {"a": "1", "b": "2"}),
        (b"a=1,2&b=%26", {"a": "1,2", "b": "&"}),
        (b"a=", {"a": ""}),
    ],
)
def test_ways_to_write_tags(service: Service, door: str, text: bytes, tags: dict[str, str]) -> None:
    answer = service.form(f"{door}?bucket=plain", ("tags", None, text), ("file", "tagged", b"1"))
    assert answer.status == 201, answer.body
    found = service.ask("GET", "/api/v1/files?bucket=plain&prefix=tagged").json["files"]
    assert [item["tags"] for item in found] == [tags]


@pytest.mark.parametrize(
    "text", [b"a", b"a=1&b", b"a=1,b", b"=1", b'["a"]', b'{"a": 1}', b"{a=1}", b"a=1&a=2"]
)
def test_tags_that_are_none(service: Service, text: bytes) -> None:
    answer = service.form(DOORS[0], ("tags", None, text), ("file", "untagged", b"1"))
    assert answer.status == 400
    assert there(service, "untagged") == 404
