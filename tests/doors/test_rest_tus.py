"""The tus door: every extension that it offers, and every way in which it must refuse."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.api.tus import Tus, _Writer
from holdfast.core.errors import ConflictError
from tests.doors.rest_service import Answer, Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors
TUS = "/api/v1/tus"
KIND = "application/offset+octet-stream"
MIB = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("tus"), limits={"max_object_size": 64 * MIB}) as running:
        yield running


def meta(**pairs: str) -> str:
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in pairs.items())


def tus(service: Service, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.ask(method, path, body, {"Tus-Resumable": "1.0.0", **named})


def create(
    service: Service, key: str, length: int | None, body: bytes | None = None, **headers: str
) -> Answer:
    about = {"Upload_Length": str(length)} if length is not None else {"Upload_Defer_Length": "1"}
    if body is not None:
        about["Content_Type"] = KIND
    about["Upload_Metadata"] = meta(bucket="plain", key=key)
    return tus(service, "POST", TUS, body, **{**about, **headers})


def patch(service: Service, place: str, offset: int, body: bytes, **headers: str) -> Answer:
    return tus(service, "PATCH", place, body, Upload_Offset=str(offset), Content_Type=KIND, **headers)


def offset_of(service: Service, place: str) -> int:
    return int(tus(service, "HEAD", place).headers["upload-offset"])


def test_it_tells_what_it_offers(service: Service) -> None:
    for path in (TUS, TUS + "/anything"):
        answer = service.ask("OPTIONS", path)
        assert answer.status == 204
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-max-size"] == str(64 * MIB)
        assert set(answer.headers["tus-extension"].split(",")) == {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "checksum",
            "expiration",
            "termination",
            "concatenation",
        }
        assert {"sha1", "sha256", "md5", "crc32"} <= set(answer.headers["tus-checksum-algorithm"].split(","))


def test_an_upload_grows_and_becomes_an_object(service: Service) -> None:
    whole = noise(10 * MIB + 17, 1)
    made = create(
        service,
        "big",
        len(whole),
        Upload_Metadata=meta(
            bucket="plain", key="a/big.bin", filetype="text/csv", colour="grün", filename="b.csv"
        ),
    )
    assert (made.status, made.body, made.headers["upload-offset"]) == (201, b"", "0")
    place = made.headers["location"]
    assert place.startswith(TUS + "/")
    assert "upload-expires" in made.headers
    assert service.get("a/big.bin").status == 404
    for start in range(0, len(whole), 3 * MIB):
        piece = whole[start : start + 3 * MIB]
        answer = patch(service, place, start, piece)
        assert (answer.status, answer.headers["upload-offset"]) == (204, str(start + len(piece)))
        head = tus(service, "HEAD", place)
        assert head.status == 200
        assert head.headers["upload-offset"] == str(start + len(piece))
        assert head.headers["upload-length"] == str(len(whole))
        assert head.headers["cache-control"] == "no-store"
    found = service.get("a/big.bin")
    assert found.body == whole
    assert found.headers["content-type"] == "text/csv"
    assert found.headers["x-holdfast-meta-colour"] == "gr%C3%BCn"
    assert found.headers["x-holdfast-version-id"] == answer.headers["x-holdfast-version-id"]
    assert head.headers["x-holdfast-version-id"] == answer.headers["x-holdfast-version-id"]
    again = patch(service, place, len(whole), b"")
    assert (again.status, again.headers["upload-offset"]) == (204, str(len(whole)))
    assert patch(service, place, 0, b"x").status == 409


def test_first_bytes_come_with_the_creation(service: Service) -> None:
    made = create(service, "with", 6, b"abc")
    assert (made.status, made.headers["upload-offset"]) == (201, "3")
    assert patch(service, made.headers["location"], 3, b"def").status == 204
    assert service.get("with").body == b"abcdef"
    whole = create(service, "at once", 3, b"xyz")
    assert (whole.status, whole.headers["upload-offset"]) == (201, "3")
    assert service.get("at%20once").body == b"xyz"
    assert create(service, "other", 3, b"xyz", Content_Type="text/plain").status == 415


def test_an_empty_upload_is_an_object_at_once(service: Service) -> None:
    made = create(service, "empty", 0)
    assert (made.status, made.headers["upload-offset"]) == (201, "0")
    assert service.get("empty").body == b""
    assert offset_of(service, made.headers["location"]) == 0


def test_the_length_may_come_later(service: Service) -> None:
    made = create(service, "late", None)
    place = made.headers["location"]
    assert made.headers["upload-defer-length"] == "1"
    assert "upload-length" not in made.headers
    assert patch(service, place, 0, b"abc").status == 204
    assert tus(service, "HEAD", place).headers["upload-defer-length"] == "1"
    assert patch(service, place, 3, b"", Upload_Length="2").status == 409
    assert patch(service, place, 3, b"", Upload_Length=str(65 * MIB)).status == 413
    assert patch(service, place, 3, b"def", Upload_Length="6").status == 204
    assert service.get("late").body == b"abcdef"
    assert create(service, "both", 3, Upload_Defer_Length="1").status == 400
    assert create(service, "neither", None, Upload_Defer_Length="2").status == 400


@pytest.mark.parametrize("name", ["sha1", "sha256", "md5", "crc32", "sha512"])
def test_a_checksum_holds_or_nothing_counts(service: Service, name: str) -> None:
    body = noise(9 * MIB, 4)  # more than one piece, were there no checksum
    crc = zlib.crc32(body).to_bytes(4, "big")
    digest = crc if name == "crc32" else hashlib.new(name, body).digest()
    place = create(service, f"sum-{name}", len(body)).headers["location"]
    told = f"{name} {b64encode(digest).decode()}"
    bad = patch(service, place, 0, body[:-1] + bytes([body[-1] ^ 1]), Upload_Checksum=told)
    assert bad.status == 460
    assert bad.headers["tus-resumable"] == "1.0.0"
    assert bad.json["code"] == "digest_mismatch"
    assert offset_of(service, place) == 0
    assert patch(service, place, 0, body, Upload_Checksum=told).status == 204
    assert service.get(f"sum-{name}").body == body


def test_what_is_no_checksum_is_refused(service: Service) -> None:
    place = create(service, "nosum", 3).headers["location"]
    for told in ("md4 AAAA", "sha1", "sha1 ***", ""):
        assert patch(service, place, 0, b"abc", Upload_Checksum=told).status in (400, 460), told
    assert patch(service, place, 0, b"abc", Upload_Checksum="md4 AAAA").status == 400
    assert patch(service, place, 0, b"", Upload_Checksum="sha1 AAAA").status == 460
    assert offset_of(service, place) == 0


def test_wrong_requests_are_refused_by_the_right_status(service: Service) -> None:
    place = create(service, "wrong", 6, b"abc").headers["location"]
    assert patch(service, place, 2, b"x").status == 409
    assert patch(service, place, 4, b"x").status == 409
    assert patch(service, place, 3, b"defg").status == 413
    assert tus(service, "PATCH", place, b"x", Upload_Offset="3", Content_Type="text/plain").status == 415
    assert tus(service, "PATCH", place, b"x", Content_Type=KIND).status == 400
    for value in ("-1", "x", "1" * 30, ""):
        assert tus(service, "PATCH", place, b"x", Upload_Offset=value, Content_Type=KIND).status == 400, value
    old = service.ask(
        "PATCH", place, b"x", {"Tus-Resumable": "0.2.2", "Upload-Offset": "3", "Content-Type": KIND}
    )
    assert (old.status, old.headers["tus-version"]) == (412, "1.0.0")
    assert service.ask("HEAD", place).status == 412
    assert tus(service, "HEAD", TUS + "/no-such-upload").status == 404
    assert patch(service, TUS + "/no-such-upload", 0, b"x").status == 404
    assert tus(service, "DELETE", TUS + "/no-such-upload").status == 404
    assert create(service, "huge", 65 * MIB).status == 413
    assert create(service, "k", 1, Upload_Metadata=meta(key="k")).status == 400
    assert create(service, "k", 1, Upload_Metadata=meta(bucket="plain")).status == 400
    assert create(service, "k", 1, Upload_Metadata=meta(bucket="nowhere", key="k")).status == 404
    for broken in ("bucket ***", "bucket cGxhaW4=,bucket cGxhaW4=", "bucket /w=="):
        assert create(service, "k", 1, Upload_Metadata=broken).status == 400, broken
    assert offset_of(service, place) == 3
    assert patch(service, place, 3, b"def").status == 204
    assert service.get("wrong").body == b"abcdef"


def test_names_that_other_services_use_are_understood(service: Service) -> None:
    about = meta(bucketName="plain", objectName="supa/x.png", contentType="image/png", cacheControl="3600")
    made = tus(service, "POST", TUS, None, Upload_Length="0", Upload_Metadata=about)
    assert made.status == 201
    found = service.get("supa/x.png")
    assert (found.headers["content-type"], found.headers["x-holdfast-meta-cachecontrol"]) == (
        "image/png",
        "3600",
    )
    by_query = tus(
        service, "POST", TUS + "?bucket=plain&key=by%20query", b"q", Upload_Length="1", Content_Type=KIND
    )
    assert by_query.status == 201
    assert service.get("by%20query").body == b"q"
    both = meta(bucket="kept", key="k")
    assert (
        tus(service, "POST", TUS + "?bucket=plain", None, Upload_Length="0", Upload_Metadata=both).status
        == 400
    )
    named = tus(
        service,
        "POST",
        TUS + "?bucket=plain",
        None,
        Upload_Length="0",
        Upload_Metadata=meta(filename="f.txt"),
    )
    assert named.status == 201
    assert service.get("f.txt").headers["content-type"] == "text/plain"


def test_giving_up_leaves_nothing(service: Service) -> None:
    before = service.run(service.engine.catalog.usage("default", "plain"))
    place = create(service, "gone", 100, b"abc").headers["location"]
    during = service.run(service.engine.catalog.usage("default", "plain"))
    assert during.upload_bytes == before.upload_bytes + 3
    assert tus(service, "DELETE", place).status == 204
    assert tus(service, "HEAD", place).status == 404
    assert patch(service, place, 3, b"d").status == 404
    assert service.run(service.engine.catalog.usage("default", "plain")) == before


def test_clients_that_can_only_post(service: Service) -> None:
    place = create(service, "post", 3).headers["location"]
    assert tus(service, "POST", place, b"x").status == 405
    told = {"Upload_Offset": "0", "Content_Type": KIND, "X_HTTP_Method_Override": "PATCH"}
    assert tus(service, "POST", place, b"abc", **told).status == 204
    assert service.get("post").body == b"abc"
    place = create(service, "post2", 3).headers["location"]
    assert tus(service, "POST", place, None, X_HTTP_Method_Override="DELETE").status == 204
    assert tus(service, "HEAD", place).status == 404


def test_partial_uploads_become_one_object(service: Service) -> None:
    bodies = [noise(size, size) for size in (9 * MIB, 5, 3 * MIB)]
    about = meta(bucket="plain")
    places = []
    for body in bodies:
        made = tus(
            service,
            "POST",
            TUS,
            None,
            Upload_Length=str(len(body)),
            Upload_Metadata=about,
            Upload_Concat="partial",
        )
        assert made.status == 201
        assert made.headers["upload-concat"] == "partial"
        places.append(made.headers["location"])
    joint = {
        "Upload_Concat": "final;"
        + " ".join([places[0], f"http://127.0.0.1:{service.port}{places[1]}", places[2]]),
        "Upload_Metadata": meta(bucket="plain", key="joint", filetype="text/x-joint"),
    }
    assert tus(service, "POST", TUS, None, **joint).status == 409, "they are not finished"
    for place, body in zip(places, bodies, strict=True):
        assert patch(service, place, 0, body).status == 204
        assert tus(service, "HEAD", place).headers["upload-concat"] == "partial"
    made = tus(service, "POST", TUS, None, **joint)
    assert made.status == 201, made.body
    assert made.headers["upload-offset"] == made.headers["upload-length"] == str(sum(map(len, bodies)))
    found = service.get("joint")
    assert found.body == b"".join(bodies)
    assert found.headers["content-type"] == "text/x-joint"
    again = tus(service, "POST", TUS, None, **joint)
    assert again.headers["x-holdfast-version-id"] == made.headers["x-holdfast-version-id"]
    assert tus(service, "HEAD", places[0]).status == 404
    assert tus(service, "HEAD", made.headers["location"]).headers["upload-offset"] == str(
        sum(map(len, bodies))
    )
    for wrong in ("final;/other/x", "final;", "whole", f"final;{TUS}/none"):
        assert tus(service, "POST", TUS, None, **{**joint, "Upload_Concat": wrong}).status in (400, 404), (
            wrong
        )


def test_conditions_hold_when_the_upload_completes(service: Service) -> None:
    place = create(service, "guard", 3, If_None_Match="*").headers["location"]
    service.put("guard", b"first")
    assert patch(service, place, 0, b"abc").status == 412
    assert service.get("guard").body == b"first"


def test_what_arrived_before_a_break_is_kept(service: Service) -> None:
    whole = noise(2 * MIB, 9)
    place = create(service, "broken", len(whole)).headers["location"]
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: {KIND}\r\nContent-Length: {len(whole)}\r\n\r\n"
    ).encode()
    with service.connect() as sock:
        sock.sendall(head + whole[: MIB + 5])
        time.sleep(0.3)
    deadline = time.monotonic() + 10
    while (offset := offset_of(service, place)) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 0 < offset <= MIB + 5
    assert patch(service, place, offset, whole[offset:]).status == 204
    assert service.get("broken").body == whole


def test_a_second_request_takes_over_from_one_that_hangs(service: Service) -> None:
    whole = noise(MIB, 10)
    place = create(service, "hung", len(whole)).headers["location"]
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: {KIND}\r\nContent-Length: {len(whole)}\r\n\r\n"
    ).encode()
    with service.connect() as sock:
        sock.sendall(head + whole[:300_000])
        time.sleep(0.3)
        offset = offset_of(service, place)
        assert offset == 300_000
        sock.settimeout(5)
        assert b" 409 " in sock.recv(4096).split(b"\r\n")[0]
        sock.shutdown(socket.SHUT_RDWR)
    assert patch(service, place, offset, whole[offset:]).status == 204
    assert service.get("hung").body == whole


def test_a_piece_that_fails_leaves_nothing_running() -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def append(upload_id: str, offset: int, body: AsyncIterator[bytes], **how: Any) -> None:
        assert await anext(body) == b"x"
        raise ConflictError("another writer was faster")

    async def story() -> None:
        principal = SimpleNamespace(tenant="default")
        session = SimpleNamespace(append=append)
        exchange: Any = SimpleNamespace(
            principal=principal, session=session, receive=receive, headers={}, length=None, header={}.get
        )
        with pytest.raises(ConflictError):
            await Tus(None)._append(exchange, "upload", 0, None)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())


def test_a_piece_that_is_cancelled_leaves_nothing_running() -> None:
    async def story() -> None:
        waits = asyncio.Event()

        async def receive() -> None:
            waits.set()
            await asyncio.Event().wait()

        exchange: Any = SimpleNamespace(receive=receive)
        flow = _Writer({}, ("default", "upload")).flow(exchange)
        reading = asyncio.ensure_future(anext(flow))
        await waits.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())
