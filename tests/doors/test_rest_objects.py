"""The plain verbs on objects: what goes in comes out, and what is wrong is refused in words."""

from __future__ import annotations

import base64
import hashlib
import threading
from urllib.parse import quote

import pytest

from tests.doors.rest_service import Answer, Service
from tests.helpers import noise

pytestmark = pytest.mark.doors

GOOD_KEYS = [
    "simple.txt",
    "a",
    "a/b",
    "a//b/",
    "/absolute",
    "back\\slash",
    "CON",
    "trailing...",
    "dots.in.name..txt",
    "Case",
    "case",
    "emoji-\N{SEAL}\N{ZERO WIDTH JOINER}.png",
    "space at end ",
    "100%25 sure",
    "a%2fb",
    "?query=no&#fragment",
    "+plus+",
    "\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    "u\N{COMBINING DIAERESIS}",
    "k" * 1024,
]
BAD_PATHS = [
    "",
    "k" * 1025,
    "%00",
    "a%00b",
    "line%0Abreak",
    "tab%09",
    "del%7F",
    "%ED%A0%80",
    "%FF%FE",
    "..",
    "../../etc/passwd",
    "a/../b",
    "./a",
    "a/.",
    "%2e%2e/a",
    "..%5cwindows",
    "%EF%BC%8E%EF%BC%8E/fullwidth",
    "%E2%80%A5/two-dot-leader",
]


@pytest.mark.parametrize("key", GOOD_KEYS, ids=lambda key: key[:20].encode("unicode_escape").decode())
def test_any_honest_key_comes_back_as_it_was_given(rest_service: Service, key: str) -> None:
    content = key.encode() + b" has this"
    made = rest_service.put(quote(key, safe=""), content)
    assert (made.status, made.json["key"]) == (201, key)
    assert rest_service.get(quote(key, safe="")).body == content


def test_keys_that_look_alike_stay_apart(rest_service: Service) -> None:
    for key in GOOD_KEYS:
        assert rest_service.put(quote(key, safe=""), key.encode()).status == 201
    listed = {item["key"] for item in rest_service.ask("GET", "/api/v1/list/plain").json["objects"]}
    assert set(GOOD_KEYS) <= listed
    assert all(rest_service.get(quote(key, safe="")).body == key.encode() for key in GOOD_KEYS)


def test_an_escape_is_decoded_exactly_once(rest_service: Service) -> None:
    assert rest_service.put("once/a%252Fb", b"x").json["key"] == "once/a%2Fb"
    assert rest_service.put("once/a%2Fb", b"x").json["key"] == "once/a/b"
    assert rest_service.put("once/a+b", b"x").json["key"] == "once/a+b"


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_key_that_cannot_be_is_refused_in_words(rest_service: Service, path: str, method: str) -> None:
    answer = rest_service.ask(method, f"/api/v1/objects/plain/{path}", b"never" if method == "PUT" else None)
    assert answer.status == 400
    assert answer.json["code"] == "invalid_request"
    assert answer.json["success"] is False
    assert answer.json["error"] == answer.json["detail"]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1 << 20, 3_000_001])
def test_bodies_of_any_size_return_whole(rest_service: Service, size: int) -> None:
    content = noise(size)
    made = rest_service.put("sized", content)
    assert made.json["size"] == size
    assert made.json["sha256"] == hashlib.sha256(content).hexdigest()
    answer = rest_service.get("sized")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["content-length"] == str(size)
    assert answer.headers["etag"] == f'"{hashlib.md5(content).hexdigest()}"'
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"


def test_a_body_of_unknown_length_is_stored(rest_service: Service) -> None:
    pieces = [noise(70_000, seed) for seed in range(5)]
    made = rest_service.ask("PUT", "/api/v1/objects/plain/chunked", iter(pieces), encode_chunked=True)
    assert made.json["size"] == 350_000
    assert rest_service.get("chunked").body == b"".join(pieces)


RANGES = [
    ("bytes=0-0", 206, (0, 1)),
    ("bytes=10-19", 206, (10, 20)),
    ("bytes=99990-", 206, (99_990, 100_000)),
    ("bytes=-10", 206, (99_990, 100_000)),
    ("bytes=-999999", 206, (0, 100_000)),
    ("bytes=0-999999999999999999", 206, (0, 100_000)),
    ("bytes=5-90000", 206, (5, 90_001)),
    ("bytes=100000-", 416, None),
    ("bytes=9999999999999999999-", 416, None),
    ("bytes=-0", 416, None),
    ("bytes=20-10", 200, None),
    ("bytes=0-1,5-6", 200, None),
    ("bytes=0-18446744073709551616000", 200, None),
    ("bytes=", 200, None),
    ("bytes=a-b", 200, None),
    ("lines=0-1", 200, None),
    ("bytes=-", 200, None),
]


@pytest.mark.parametrize(("wish", "status", "span"), RANGES)
def test_ranges(rest_service: Service, wish: str, status: int, span: tuple[int, int] | None) -> None:
    content = noise(100_000)
    rest_service.put("ranged", content)
    answer = rest_service.get("ranged", Range=wish)
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */100000"
        assert answer.json["code"] == "invalid_range"
    else:
        first, end = span or (0, 100_000)
        assert answer.body == content[first:end]
        expected = f"bytes {first}-{end - 1}/100000" if span else None
        assert answer.headers.get("content-range") == expected


def test_if_range_sends_the_range_only_of_the_same_object(rest_service: Service) -> None:
    made = rest_service.put("resumed", b"0123456789")
    etag, date = made.headers["etag"], made.headers["last-modified"]
    wish = {"Range": "bytes=2-4"}
    assert rest_service.get("resumed", **wish, If_Range=etag).body == b"234"
    assert rest_service.get("resumed", **wish, If_Range=date).body == b"234"
    assert rest_service.get("resumed", **wish, If_Range='"other"').body == b"0123456789"
    assert rest_service.get("resumed", **wish, If_Range=f"W/{etag}").body == b"0123456789"
    past = rest_service.get("resumed", Range="bytes=99-", If_Range=etag)
    assert (past.status, past.headers["content-range"]) == (416, "bytes */10")


def test_conditional_reads(rest_service: Service) -> None:
    made = rest_service.put("known", b"known")
    etag, date = made.headers["etag"], made.headers["last-modified"]
    long_ago, far = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for method in ("GET", "HEAD"):

        def status(method: str = method, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return rest_service.ask(method, "/api/v1/objects/plain/known", headers=named).status

        assert status(If_None_Match=etag) == 304
        assert status(If_None_Match=f"W/{etag}") == 304
        assert status(If_None_Match=f'"x", {etag}') == 304
        assert status(If_None_Match="*") == 304
        assert status(If_None_Match='"x"') == 200
        assert status(If_None_Match='"x"', If_Modified_Since=far) == 200
        assert status(If_Modified_Since=date) == 304
        assert status(If_Modified_Since=long_ago) == 200
        assert status(If_Modified_Since="not a date") == 200
        assert status(If_Match=etag) == 200
        assert status(If_Match=f"W/{etag}") == 412
        assert status(If_Match='"x"') == 412
        assert status(If_Unmodified_Since=long_ago) == 412
        assert status(If_Unmodified_Since=far) == 200
        assert status(If_Match="nonsense") == 400
    unchanged = rest_service.get("known", If_None_Match=etag)
    assert (unchanged.body, unchanged.headers["etag"]) == (b"", etag)
    assert "content-length" not in unchanged.headers


def test_conditional_writes(rest_service: Service) -> None:
    assert rest_service.put("guarded", b"1", If_None_Match="*").status == 201
    refused = rest_service.put("guarded", b"2", If_None_Match="*")
    assert (refused.status, refused.json["code"]) == (412, "precondition_failed")
    etag = rest_service.get("guarded").headers["etag"]
    assert rest_service.put("guarded", b"3", If_Match='"stale"').status == 412
    assert rest_service.put("guarded", b"4", If_Match=etag).status == 201
    assert rest_service.put("never-there", b"5", If_Match="*").status == 412
    gone = rest_service.ask("DELETE", "/api/v1/objects/plain/guarded", headers={"If-Match": etag})
    assert gone.status == 412
    assert rest_service.get("guarded").body == b"4"


def test_announced_checksums_are_checked(rest_service: Service) -> None:
    content = noise(200_000)
    sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    zeros = base64.b64encode(bytes(32)).decode()
    good = [
        {"Content_MD5": md5},
        {"x_amz_checksum_sha256": sha256},
        {"Repr_Digest": f"sha-256=:{sha256}:"},
        {"Content_Digest": f"sha-256=:{sha256}:, unknown=:AAAA:"},
    ]
    for headers in good:
        assert rest_service.put("summed", content, **headers).status == 201
    rest_service.put("summed-wrong", b"old")
    for headers in (
        {"x_amz_checksum_sha256": zeros},
        {"Repr_Digest": f"sha-256=:{zeros}:"},
        {"Content_MD5": base64.b64encode(bytes(16)).decode()},
        {"x_amz_checksum_crc64nvme": base64.b64encode(bytes(8)).decode()},
    ):
        answer = rest_service.put("summed-wrong", content, **headers)
        assert (answer.status, answer.json["code"]) == (400, "digest_mismatch")
    for headers in (
        {"x_amz_checksum_sha256": "short"},
        {"Repr_Digest": "sha-256=nonsense"},
        {"Content_MD5": "%%%"},
        {"x_amz_checksum_sha256": sha256, "Repr_Digest": f"sha-256=:{zeros}:"},
    ):
        assert rest_service.put("summed-wrong", content, **headers).json["code"] == "invalid_request"
    assert rest_service.get("summed-wrong").body == b"old"


def test_metadata_and_tags_travel_in_any_script(rest_service: Service) -> None:
    headers = {
        "x-holdfast-meta-owner": "%E5%B1%B1 at 100%25",
        "x-holdfast-meta-na%C3%AFve": "yes",
        "x-holdfast-meta-spaced": "%20both ends%20",
        "x-holdfast-tagging": "team=a%26b&empty=",
        "Content-Type": "text/x-special",
    }
    rest_service.ask("PUT", "/api/v1/objects/plain/described", b"x", headers)
    found = rest_service.ask("HEAD", "/api/v1/objects/plain/described").headers
    assert found["x-holdfast-meta-owner"] == "%E5%B1%B1 at 100%25"
    assert found["x-holdfast-meta-na%c3%afve"] == "yes"
    assert found["x-holdfast-meta-spaced"] == "%20both ends%20"
    assert found["x-holdfast-tagging"] == "team=a%26b&empty="
    assert found["content-type"] == "text/x-special"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-holdfast-meta-a": "line%0d%0aSet-Cookie: x=1"},
        {"x-holdfast-meta-a": "nul%00"},
        {"x-holdfast-meta-a%0a": "x"},
        {"x-holdfast-meta-a": b"\xff\xfe"},
        {"x-holdfast-tagging": "a=%0d%0ax"},
        {"x-holdfast-tagging": "a=1&a=2"},
        {"x-holdfast-meta-a": "v" * 9000},
        {"Content-Type": "no-slash"},
        {"Idempotency-Key": "k" * 256},
    ],
)
def test_what_could_break_a_header_is_refused_at_the_way_in(
    rest_service: Service, headers: dict[str, str]
) -> None:
    answer = rest_service.ask("PUT", "/api/v1/objects/plain/injected", b"x", headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert rest_service.get("injected").status == 404


def test_a_download_is_an_attachment_that_no_browser_runs(rest_service: Service) -> None:
    for key, kind in (("page.html", "text/html"), ("i.svg", "image/svg+xml"), ("d.pdf", "application/pdf")):
        rest_service.put(key, b"<script>", Content_Type=kind)
        for tail in ("", "?disposition=inline"):
            headers = rest_service.get(key + tail).headers
            assert headers["content-disposition"].startswith("attachment")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "sandbox; default-src 'none'"
            assert headers["cross-origin-resource-policy"] == "same-origin"
    rest_service.put("p.png", b"png", Content_Type="image/png")
    assert rest_service.get("p.png?disposition=inline").headers["content-disposition"].startswith("inline")
    assert rest_service.get("p.png").headers["content-disposition"].startswith("attachment")
    assert rest_service.get("p.png?disposition=loud").status == 400


def test_a_files_name_survives_the_header(rest_service: Service) -> None:
    key = 'dir/quo"te;\N{EURO SIGN} 100%.txt'
    rest_service.put(quote(key, safe=""), b"x")
    value = rest_service.get(quote(key, safe="")).headers["content-disposition"]
    assert (
        value
        == "attachment; filename=\"quo_te;_ 100_.txt\"; filename*=UTF-8''quo%22te%3B%E2%82%AC%20100%25.txt"
    )


def test_curls_default_type_is_not_taken_for_the_objects(rest_service: Service) -> None:
    made = rest_service.put("data.json", b"{}", Content_Type="application/x-www-form-urlencoded")
    assert made.json["content_type"] == "application/json"


def test_encoded_bodies_are_not_inflated(rest_service: Service) -> None:
    answer = rest_service.put("bomb", b"x", Content_Encoding="gzip")
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")
    assert rest_service.put("bomb", b"x", Content_Encoding="identity").status == 201


def test_versions_are_named_read_and_removed(rest_service: Service) -> None:
    url = "/api/v1/objects/kept/doc"
    ids = [rest_service.ask("PUT", url, body).json["version_id"] for body in (b"one", b"two")]
    assert rest_service.ask("GET", url).body == b"two"
    assert rest_service.ask("GET", f"{url}?version_id={ids[0]}").body == b"one"
    marker = rest_service.ask("DELETE", url)
    assert (marker.status, marker.headers["x-holdfast-delete-marker"]) == (204, "true")
    assert rest_service.ask("GET", url).status == 404
    page = rest_service.ask("GET", "/api/v1/versions/kept?prefix=doc").json
    assert [item["delete_marker"] for item in page["versions"]] == [True, False, False]
    marker_id = marker.headers["x-holdfast-version-id"]
    assert rest_service.ask("DELETE", f"{url}?version_id={marker_id}").status == 204
    assert rest_service.ask("GET", url).body == b"two"
    assert rest_service.ask("GET", f"{url}?version_id=nonsense").status == 404
    assert rest_service.ask("GET", f"{url}?version_id=a&version_id=b").status == 400


def test_copies_by_header_and_by_json(rest_service: Service) -> None:
    rest_service.put("origin/%C3%A4", b"copied", x_holdfast_meta_a="1")
    by_header = rest_service.ask(
        "PUT",
        "/api/v1/objects/kept/copy1",
        headers={"x-holdfast-copy-source": "/plain/origin/%C3%A4"},
    )
    assert by_header.status == 201
    wish = b'{"source":{"bucket":"plain","key":"origin/\xc3\xa4"},"target":{"bucket":"kept","key":"copy2"}}'
    assert rest_service.ask("POST", "/api/v1/copy", wish).status == 201
    for key in ("copy1", "copy2"):
        answer = rest_service.ask("GET", f"/api/v1/objects/kept/{key}")
        assert (answer.body, answer.headers["x-holdfast-meta-a"]) == (b"copied", "1")
    for source in ("plain", "plain/no-such", "plain/a?other=1", "%ff/x"):
        answer = rest_service.ask(
            "PUT", "/api/v1/objects/kept/copy3", headers={"x-holdfast-copy-source": source}
        )
        assert answer.status in (400, 404)


def test_the_same_request_sent_twice_is_done_once(rest_service: Service) -> None:
    first, again = (
        rest_service.ask("PUT", "/api/v1/objects/kept/paid", b"x", {"Idempotency-Key": "k-1"})
        for _ in range(2)
    )
    assert first.json["version_id"] == again.json["version_id"]
    other = rest_service.ask("PUT", "/api/v1/objects/kept/else", b"x", {"Idempotency-Key": "k-1"})
    assert (other.status, other.json["code"]) == (409, "conflict")


def test_two_writers_and_a_deleter_never_show_half_an_object(rest_service: Service) -> None:
    bodies = [noise(300_000, seed) for seed in range(2)]
    answers: list[Answer] = []
    problems: list[Answer] = []

    def write(body: bytes) -> None:
        for _ in range(12):
            answer = rest_service.put("raced", body)
            if answer.status != 201:
                problems.append(answer)

    def remove() -> None:
        for _ in range(12):
            rest_service.ask("DELETE", "/api/v1/objects/plain/raced")

    def read() -> None:
        for _ in range(25):
            answers.append(rest_service.get("raced"))

    jobs = [threading.Thread(target=write, args=(body,)) for body in bodies]
    jobs += [threading.Thread(target=remove), threading.Thread(target=read), threading.Thread(target=read)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert not problems
    assert all(answer.status == 404 or answer.body in bodies for answer in answers)
    assert any(answer.status == 200 for answer in answers)
