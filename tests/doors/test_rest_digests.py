"""Checksums that clients announce: compared before anything appears, or refused; never passed over."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from awscrt.checksums import crc32c, crc64nvme

from tests.doors.rest_service import Answer, Service
from tests.helpers import noise

pytestmark = pytest.mark.doors

SMALL, LARGE = b"content", noise(700_000)
COMPUTED: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: int(crc32c(data)).to_bytes(4, "big"),
    "crc64nvme": lambda data: int(crc64nvme(data)).to_bytes(8, "big"),
    "md5": lambda data: hashlib.md5(data).digest(),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def amz(name: str) -> Callable[[bytes], dict[str, str]]:
    return lambda data: {f"x-amz-checksum-{name}": b64(COMPUTED[name](data))}


def field(header: str, label: str, name: str) -> Callable[[bytes], dict[str, str]]:
    return lambda data: {header: f"{label}=:{b64(COMPUTED[name](data))}:"}


ANNOUNCED: dict[str, Callable[[bytes], dict[str, str]]] = {
    **{f"amz {name}": amz(name) for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")},
    "amz with its algorithm": lambda data: {"x-amz-sdk-checksum-algorithm": "CRC32C", **amz("crc32c")(data)},
    "content-md5": lambda data: {"Content-MD5": b64(COMPUTED["md5"](data))},
    "repr sha-256": field("Repr-Digest", "sha-256", "sha256"),
    "repr sha-512": field("Repr-Digest", "sha-512", "sha512"),
    "content-digest md5": field("Content-Digest", "md5", "md5"),
    "several": lambda data: {
        "Repr-Digest": f"unixsum=:AAA=:, sha-512=:{b64(COMPUTED['sha512'](data))}:",
        **amz("crc32")(data),
    },
    "the older field": lambda data: {"Digest": f"SHA-256={b64(COMPUTED['sha256'](data))}"},
    "payload hash": lambda data: {"x-amz-content-sha256": COMPUTED["sha256"](data).hex()},
}


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("name", ANNOUNCED)
def test_a_right_checksum_passes_and_a_wrong_one_stores_nothing(
    rest_service: Service, name: str, content: bytes
) -> None:
    key = f"digest-{name.replace(' ', '-')}-{len(content)}"
    path = f"/api/v1/objects/plain/{key}"
    wrong = rest_service.ask("PUT", path, content, ANNOUNCED[name](content + b"!"))
    assert (wrong.status, wrong.json["code"]) == (400, "digest_mismatch")
    assert rest_service.get(key).status == 404
    right = rest_service.ask("PUT", path, content, ANNOUNCED[name](content))
    assert right.status == 201, right.body
    assert rest_service.get(key).body == content


@pytest.mark.parametrize("name", ANNOUNCED)
def test_bodies_of_unknown_length_are_compared_too(rest_service: Service, name: str) -> None:
    def send(announced: bytes) -> Answer:
        return rest_service.ask(
            "POST",
            f"/api/v1/upload/stream?bucket=plain&key=stream-{name.replace(' ', '-')}",
            iter([LARGE[:300_000], LARGE[300_000:]]),
            {"Content-Type": "application/octet-stream", **ANNOUNCED[name](announced)},
            encode_chunked=True,
        )

    assert send(LARGE[1:]).json["code"] == "digest_mismatch"
    assert send(LARGE).status == 201


def test_parts_are_compared(rest_service: Service) -> None:
    opened = rest_service.ask("POST", "/api/v1/uploads", '{"bucket": "plain", "key": "digest-parts"}')
    part = f"/api/v1/uploads/{opened.json['upload_id']}/parts/1?bucket=plain&key=digest-parts"
    for name, announce in ANNOUNCED.items():
        wrong = rest_service.ask("PUT", part, SMALL, announce(b"other"))
        assert (name, wrong.json["code"]) == (name, "digest_mismatch")
        assert rest_service.ask("PUT", part, SMALL, announce(SMALL)).status == 200, name


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_forms_fields_are_compared(rest_service: Service, name: str) -> None:
    def send(value: str) -> Answer:
        return rest_service.form(
            "/api/v1/upload",
            ("bucket", None, b"plain"),
            ("key", None, f"form-{name}".encode()),
            (name, None, value.encode()),
            ("file", "a.txt", SMALL),
        )

    assert send(COMPUTED[name](b"other").hex()).json["code"] == "digest_mismatch"
    assert send("abc").json["code"] == "invalid_request"
    assert send(COMPUTED[name](SMALL).hex()).status == 201


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "an unknown algorithm": ({"x-amz-checksum-md4": "AAAA"}, "x-amz-checksum-crc32c"),
    "an unknown digest": ({"Repr-Digest": "unixsum=:AAA=:"}, "sha-512"),
    "no dictionary": ({"Repr-Digest": "sha-256"}, "sha-256=:BASE64:"),
    "without colons": ({"Content-Digest": "sha-256=AAAA"}, "sha-256=:BASE64:"),
    "too short": ({"x-amz-checksum-crc32": "AAA="}, "4 bytes"),
    "no Base64": ({"Content-MD5": "%%%%"}, "16 bytes"),
    "sent twice": ({"Content-MD5": f"{b64(bytes(16))}, {b64(bytes(16))}"}, "16 bytes"),
    "in disagreement": (
        {"x-amz-checksum-sha256": b64(bytes(32)), "x-amz-content-sha256": "11" * 32},
        "two different values",
    ),
    "promised only": ({"x-amz-sdk-checksum-algorithm": "SHA256"}, "not in the headers"),
    "promised and unknown": ({"x-amz-sdk-checksum-algorithm": "XXHASH"}, "x-amz-checksum-crc64nvme"),
    "in a trailer": ({"x-amz-trailer": "x-amz-checksum-crc32"}, "trailer"),
    "in a plain trailer": ({"Trailer": "Expires, Repr-Digest"}, "trailer"),
    "in signed chunks": ({"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}, "signed chunks"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(rest_service: Service, name: str) -> None:
    headers, said = REFUSED[name]
    answer = rest_service.ask("PUT", "/api/v1/objects/plain/refused-digest", SMALL, headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert said in answer.json["detail"]
    assert rest_service.get("refused-digest").status == 404


def test_an_unsigned_payload_announces_nothing(rest_service: Service) -> None:
    assert rest_service.put("unsigned", x_amz_content_sha256="UNSIGNED-PAYLOAD").status == 201


@pytest.mark.parametrize("trailer", [b"x-amz-checksum-crc32: AAAAAA==", b"Repr-Digest: sha-256=:AA:"])
def test_a_checksum_in_an_unannounced_trailer_is_refused(rest_service: Service, trailer: bytes) -> None:
    head = (
        b"PUT /api/v1/objects/plain/trailed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = rest_service.raw(head + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert rest_service.get("trailed").status == 404


def test_a_copy_takes_no_digests(rest_service: Service) -> None:
    rest_service.put("digest-source")
    headers: dict[str, Any] = {"x-holdfast-copy-source": "plain/digest-source", **amz("crc32")(SMALL)}
    answer = rest_service.ask("PUT", "/api/v1/objects/plain/digest-copy", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


FORMS = {
    "/api/v1/upload": "plain/formed",
    "/api/v1/upload/stream": "plain/formed",
    "/api/v1/files/upload": "plain/formed",
    "/api/v1/batch/upload": "plain/formed",
    "/upload": "plain/formed",
    "/api/v1/upload/plain/formed": "plain/formed",
    "/api/v1/models": None,
}
FIELDS: tuple[tuple[str, str | None, bytes], ...] = (
    ("bucket", None, b"plain"),
    ("key", None, b"formed"),
    ("metadata", None, b'{"job_id": "j"}'),
)


@pytest.mark.parametrize("name", ANNOUNCED)
@pytest.mark.parametrize("path", FORMS)
def test_a_form_takes_its_digests_as_fields(rest_service: Service, path: str, name: str) -> None:
    body = (
        b'--e\r\nContent-Disposition: form-data; name="file"; filename="formed"\r\n\r\ncontent\r\n--e--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=e", **ANNOUNCED[name](body)}
    answer = rest_service.ask("POST", f"{path}?bucket=plain&key=formed", body, headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert "fields sha256 and md5" in answer.json["detail"]
    assert rest_service.get("formed").status == 404


@pytest.mark.parametrize("path", FORMS)
def test_the_digest_fields_of_every_form_are_compared(rest_service: Service, path: str) -> None:
    def send(digest: bytes, *, late: bool = False) -> Answer:
        told = ("sha256", None, COMPUTED["sha256"](digest).hex().encode())
        file = ("file", "formed", SMALL)
        return rest_service.form(path, *FIELDS, *((file, told) if late else (told, file)))

    assert send(b"other").json["code"] == "digest_mismatch"
    assert rest_service.get("formed").status == 404
    late = send(SMALL, late=True)
    assert late.status == 400
    assert "before the file" in late.json["detail"]
    assert send(SMALL).status == 201
    if FORMS[path] is not None:
        assert rest_service.ask("DELETE", f"/api/v1/objects/{FORMS[path]}").status in (200, 204)


@pytest.mark.parametrize("name", ANNOUNCED)
def test_the_bodies_of_resumable_uploads_are_compared(rest_service: Service, name: str) -> None:
    key = f"digest-tus-{name.replace(' ', '-')}"
    tus = {"Tus-Resumable": "1.0.0"}
    about = {**tus, "Upload-Length": str(len(SMALL))}
    kind = {"Content-Type": "application/offset+octet-stream"}
    place = f"/api/v1/tus?bucket=plain&key={key}"
    assert rest_service.ask("POST", place, None, {**about, **ANNOUNCED[name](SMALL)}).status == 460
    assert rest_service.ask("POST", place, SMALL, {**about, **kind, **ANNOUNCED[name](b"-")}).status == 460
    assert rest_service.get(key).status == 404
    made = rest_service.ask("POST", place, None, about)
    assert made.status == 201, made.body

    def patch(**announced: str) -> Answer:
        headers = {**tus, **kind, "Upload-Offset": "0", **announced}
        return rest_service.ask("PATCH", made.headers["location"], SMALL, headers)

    assert patch(**ANNOUNCED[name](b"other")).status == 460
    right = f"sha1 {b64(COMPUTED['sha1'](SMALL))}"
    assert patch(**{"Upload-Checksum": right}, **ANNOUNCED[name](b"other")).status == 460
    assert patch(**{"x-amz-checksum-md4": "AAAA"}).status == 400
    assert rest_service.ask("HEAD", made.headers["location"], headers=tus).headers["upload-offset"] == "0"
    assert patch(**{"Upload-Checksum": right}, **ANNOUNCED[name](SMALL)).status == 204
    assert rest_service.get(key).body == SMALL


def test_a_failed_create_says_that_the_object_exists(rest_service: Service) -> None:
    rest_service.put("exists")
    answer = rest_service.put("exists", If_None_Match="*")
    assert answer.status == 412
    assert "exists already" in answer.json["detail"]
