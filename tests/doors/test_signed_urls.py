"""Signed URLs over a running service: they do what was signed, and nothing that was changed does anything."""

from __future__ import annotations

import json
import random
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pytest

from holdfast.core.types import IpRules, KeySettings, Scope, TenantState
from holdfast.engine.keys import Authenticator, create_key
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors

KEY = "folder/caf\u00e9 & co.txt"


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    def asks(engine: Any) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(tmp_path, authenticate=asks) as running:
        token = running.run(_key(running))
        running.headers["Authorization"] = f"Bearer {token}"
        yield running


async def _key(service: Service, role: str = "admin", **more: Any) -> str:
    context = service.engine.context
    return await create_key(
        context.catalog, context.environment, tenant="default", name="tester", role=role, **more
    )


def link(service: Service, path: str = "/api/v1/sign", **wish: Any) -> str:
    """The path and query of a new signed URL."""
    return str(made(service, path, **wish)["url"]).removeprefix(f"http://127.0.0.1:{service.port}")


def made(service: Service, path: str = "/api/v1/sign", **wish: Any) -> dict[str, Any]:
    body = json.dumps({"bucket": "plain", "key": KEY, **wish})
    answer = service.ask("POST", path, body, {"Content-Type": "application/json"})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def bare(service: Service, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """A request without any token."""
    token = service.headers.pop("Authorization")
    try:
        return service.ask(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
    finally:
        service.headers["Authorization"] = token


def stored(service: Service, body: bytes = b"content") -> None:
    path = f"/api/v1/objects/plain/{quote(KEY)}"
    assert service.ask("PUT", path, body, {"Content-Type": "text/plain"}).status == 201


def test_a_get_is_for_one_object_and_for_reading(service: Service) -> None:
    stored(service)
    url = link(service, method="GET")
    assert bare(service, "GET", url).body == b"content"
    assert bare(service, "HEAD", url).status == 200
    assert bare(service, "GET", url, Range="bytes=0-2").body == b"con"
    assert bare(service, "GET", url, Host="elsewhere.example").status == 200
    for method in ("PUT", "DELETE", "POST"):
        assert bare(service, method, url, b"x").status in (403, 405)
    assert bare(service, "GET", url.partition("?")[0]).status == 401
    assert bare(service, "GET", url + "&version_id=x").status == 403
    assert bare(service, "GET", url + "&disposition=inline").status == 403
    assert service.ask("GET", url).status == 400  # a token and a signature


def test_what_belongs_to_the_request_can_be_signed_with_it(service: Service) -> None:
    stored(service)
    url = link(service, "/api/v1/storage/download-url", disposition="inline")
    answer = bare(service, "GET", url)
    assert answer.headers["content-disposition"].startswith("inline")
    assert bare(service, "GET", url.replace("inline", "attachment")).status == 403


def test_a_put_holds_to_size_and_type(service: Service) -> None:
    told = made(
        service, "/api/v1/storage/upload-url", content_type="image/png", max_size="1KB", expires_in="10m"
    )
    assert told["method"] == "PUT"
    assert told["upload_url"] == told["url"]
    assert told["headers"] == {"Content-Type": "image/png"}
    url = told["url"].removeprefix(f"http://127.0.0.1:{service.port}")
    assert bare(service, "PUT", url, b"x" * 1025, Content_Type="image/png").status == 413
    assert bare(service, "PUT", url, iter([b"x" * 800, b"y" * 800]), Content_Type="image/png").status == 413
    assert bare(service, "PUT", url, b"x", Content_Type="text/html").status == 403
    assert bare(service, "PUT", url, b"x", x_holdfast_copy_source="plain/other").status == 403
    assert bare(service, "GET", url).status == 403
    for kind in ("image/png,text/html", "image/png, text/html", "image/png; text/html"):
        assert bare(service, "PUT", url, PNG, Content_Type=kind).status in (400, 403)
    assert bare(service, "PUT", url, b"x" * 1024).status == 403  # it does not begin as a PNG does
    assert bare(service, "PUT", url, b"<html>").status == 403
    assert bare(service, "PUT", url, PNG.ljust(1024, b"x")).status == 201
    head = service.ask("HEAD", f"/api/v1/objects/plain/{quote(KEY)}")
    assert head.headers["content-type"] == "image/png"


def test_who_asks_before_sending_is_told_before_sending(service: Service) -> None:
    url = link(service, method="PUT", max_size=1000, once=True)

    def asked(path: str, length: int) -> bytes:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        with service.connect() as sock:
            sock.sendall(head.encode())
            return sock.recv(65536).split(b"\r\n")[0]

    assert asked(url, 1001).startswith(b"HTTP/1.1 413")
    assert asked(url, 5).startswith(b"HTTP/1.1 100")
    assert asked(url.replace("plain", "absent"), 5).startswith(b"HTTP/1.1 403")
    assert bare(service, "PUT", url, b"whole").status == 201
    assert asked(url, 5).startswith(b"HTTP/1.1 409")


def test_a_pattern_of_types(service: Service) -> None:
    url = link(service, method="PUT", content_type="image/*")
    assert bare(service, "PUT", url, b"RIFF\x04\0\0\0WEBP", Content_Type="image/webp").status == 201
    for kind in ("image/png,text/html", "image/png, text/html", "image/png; text/html"):
        assert bare(service, "PUT", url, PNG, Content_Type=kind).status == 400
    assert bare(service, "PUT", url, b"x", Content_Type="text/plain").status == 403
    assert bare(service, "PUT", url, b"x").status == 403  # its key says text


def test_once_is_once(service: Service) -> None:
    url = link(service, method="PUT", once=True)
    assert bare(service, "PUT", url, b"first").status == 201
    again = bare(service, "PUT", url, b"first")
    assert (again.status, again.json["code"]) == (409, "conflict")
    assert "once" in again.json["detail"]
    assert bare(service, "PUT", url, b"second", Idempotency_Key="mine").status == 409
    assert service.ask("GET", f"/api/v1/objects/plain/{quote(KEY)}").body == b"first"
    assert bare(service, "PUT", link(service, method="PUT", once=True), b"third").status == 201


def test_many_at_once_with_a_single_use_leave_one(service: Service) -> None:
    url = f"http://127.0.0.1:{service.port}" + link(service, method="PUT", once=True)
    statuses: list[int] = []

    def put(number: int) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        parts = urlsplit(url)
        connection.request("PUT", f"{parts.path}?{parts.query}", f"writer {number}".encode())
        statuses.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=put, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 15


def test_a_put_that_breaks_does_not_use_it_up(service: Service) -> None:
    url = link(service, method="PUT", once=True)
    with service.connect() as sock:
        sock.sendall(
            f"PUT {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n".encode() + b"x" * 200000
        )
    assert bare(service, "PUT", url, b"whole").status == 201


def test_an_address_rule_is_part_of_the_signature(service: Service) -> None:
    stored(service)
    assert bare(service, "GET", link(service, ip="127.0.0.0/8")).status == 200
    away = link(service, ip="203.0.113.7")
    assert bare(service, "GET", away).status == 403
    assert bare(service, "GET", away.replace("203.0.113.7", "127.0.0.1")).status == 403


def test_it_ends_with_its_time_its_generation_its_key_and_its_tenant(service: Service) -> None:
    stored(service)
    directory, catalog = service.engine.directory, service.engine.catalog
    token = service.run(_key(service, "reader"))
    body = json.dumps({"bucket": "plain", "key": KEY})
    head = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    answer = service.ask("POST", "/api/v1/sign", body, head)
    url = answer.json["url"].removeprefix(f"http://127.0.0.1:{service.port}")
    assert bare(service, "GET", url).status == 200

    service.run(catalog.revoke_key(token.partition(".")[0]))
    directory._known.clear()
    assert "revoked" in bare(service, "GET", url).json["detail"]

    url = link(service)
    service.run(catalog.rotate_signing("default"))
    directory._known.clear()
    assert "revoked" in bare(service, "GET", url).json["detail"]

    url = link(service)
    assert bare(service, "GET", url).status == 200
    service.run(catalog.update_tenant("default", state=TenantState.SUSPENDED))
    directory._known.clear()
    assert bare(service, "GET", url).status == 403


def test_it_is_over_when_its_time_is(service: Service) -> None:
    stored(service)
    url = link(service, expires_in=1)
    clock, past = service.engine.context.environment.clock, 2_000_000
    now = clock.now
    service.engine.context.environment.clock = _Later(clock, past)  # type: ignore[assignment]
    catalog_now = service.engine.catalog.now

    async def later() -> int:
        return await catalog_now() + past

    service.engine.catalog.now = later  # type: ignore[method-assign]
    answer = bare(service, "GET", url)
    assert (answer.status, "expired" in answer.json["detail"]) == (403, True)
    assert now() > 0


class _Later:
    """A clock that is ahead."""

    def __init__(self, clock: Any, by: int) -> None:
        self._clock, self._by = clock, by

    def now(self) -> int:
        return int(self._clock.now()) + self._by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


def test_who_may_not_cannot_sign(service: Service) -> None:
    body = {"bucket": "plain", "key": KEY}
    for role, scopes, wish, status in (
        ("reader", (), {"method": "PUT"}, 403),
        ("reader", (), {"method": "UPLOAD"}, 403),
        ("reader", (), {"method": "GET"}, 201),
        ("writer", (Scope("other"),), {"method": "GET"}, 403),
        ("writer", (Scope("plain", prefix="folder/"),), {"method": "PUT"}, 201),
        ("writer", (Scope("plain", prefix="else/"),), {"method": "PUT"}, 403),
        ("writer", (Scope("plain", verbs=("presign", "get")),), {"method": "PUT"}, 403),
        ("writer", (Scope("plain", verbs=("put",)),), {"method": "PUT"}, 403),
    ):
        token = service.run(_key(service, role, settings=KeySettings(scopes=scopes)))
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        answer = service.ask("POST", "/api/v1/sign", json.dumps({**body, **wish}), head)
        assert answer.status == status, (role, scopes, wish, answer.body)


def test_the_address_rules_of_the_key_hold_for_its_urls(service: Service) -> None:
    stored(service)
    rules = KeySettings(ip=IpRules(deny=("127.0.0.0/8",)))
    session = service.engine.session(service.run(_principal(service, rules)))
    from holdfast.engine.signing import Wish

    signed = service.run(session.presign("plain", KEY, Wish()))
    assert bare(service, "GET", signed.path).status == 403


async def _principal(service: Service, settings: KeySettings) -> Any:
    context = service.engine.context
    token = await _key(service, settings=settings)
    return await Authenticator(context.catalog, context.environment.clock)(token)


@pytest.mark.parametrize(
    "wish",
    [
        {"expires_in": 0},
        {"expires_in": 8 * 86400},
        {"expires_in": "soon"},
        {"ip": "nowhere"},
        {"ip": "10.0.0.0/99"},
        {"method": "PUT", "max_size": -1},
        {"method": "PUT", "content_type": "nonsense"},
        {"method": "GET", "once": True},
        {"method": "GET", "max_size": 5},
        {"method": "PUT", "version_id": "x"},
        {"method": "DELETE"},
        {"bucket": "x"},
        {"key": "../x"},
        {"unknown": 1},
    ],
)
def test_wishes_that_are_not_signed(service: Service, wish: dict[str, Any]) -> None:
    body = json.dumps({"bucket": "plain", "key": KEY, **wish})
    answer = service.ask("POST", "/api/v1/sign", body, {"Content-Type": "application/json"})
    assert answer.status in (400, 404), answer.body


def mutations(path: str, chance: random.Random) -> Iterator[str]:
    """Every kind of change to a signed URL: each field left out, doubled, added, emptied, renamed; bytes of all of it."""
    head, _, tail = path.partition("?")
    pairs = parse_qsl(tail, keep_blank_values=True, strict_parsing=True)

    def joined(changed: list[tuple[str, str]]) -> str:
        return f"{head}?{urlencode(changed, quote_via=quote)}"

    for index, (name, value) in enumerate(pairs):
        rest = pairs[:index] + pairs[index + 1 :]
        yield joined(rest)
        yield joined([*pairs, (name, value)])
        yield joined([*rest, (name, "")])
        yield joined([*rest, (name + "x", value)])
        yield joined([*rest, (name.upper(), value)])
        yield joined([*rest, (name, value + " ")])
        yield joined([*rest, (name, "0" + value)])
        yield joined([*rest, (name, value[:-1])])
        for _ in range(40):
            at = chance.randrange(len(value))
            other = chance.choice(string.ascii_letters + string.digits + "-_*/.")
            if other != value[at]:
                yield joined([*rest, (name, value[:at] + other + value[at + 1 :])])
    for extra in ("hf_max", "hf_type", "hf_ip", "hf_once", "hf_path", "hf_new", "version_id", "x"):
        if extra not in dict(pairs):
            yield joined([*pairs, (extra, "1")])
    for bucket, key in (("kept", KEY), ("plain", KEY + "x"), ("plain", KEY[:-1]), ("plain", "other")):
        yield f"/api/v1/objects/{bucket}/{quote(key)}?{tail}"
    yield f"/api/v1/download/plain/{quote(KEY)}?{tail}"
    yield f"{head}/?{tail}"
    for _ in range(150):
        at = chance.randrange(len("/api/v1/objects/"), len(head))
        yield head[:at] + chance.choice(string.ascii_letters) + head[at + 1 :] + "?" + tail


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_change_to_a_signed_url_holds(service: Service, method: str) -> None:
    stored(service)
    wish: dict[str, Any] = {"method": method, "ip": "127.0.0.0/8"}
    if method == "PUT":
        wish |= {"content_type": "text/*", "max_size": 5000, "once": True}
    url = link(service, **wish)
    plain = (unquote(urlsplit(url).path), sorted(parse_qsl(urlsplit(url).query)))
    tried = 0
    for changed in dict.fromkeys(mutations(url, random.Random(7))):
        parts = urlsplit(changed)
        if (unquote(parts.path), sorted(parse_qsl(parts.query, keep_blank_values=True))) == plain:
            continue
        answer = bare(service, method, changed, b"evil" if method == "PUT" else None)
        # Without any mark of a signature it is a request by nobody; a path that is none of ours is not there.
        assert answer.status in (401, 403), (changed, answer.status, answer.body)
        tried += 1
    assert tried >= (550 if method == "PUT" else 400)
    assert service.ask("GET", f"/api/v1/objects/plain/{quote(KEY)}").body == b"content"
    assert bare(service, method, url, b"good" if method == "PUT" else None).status in (200, 201)


def test_the_second_spelling_of_a_signature_does_not_hold(service: Service) -> None:
    stored(service)
    url = link(service)
    last = url[-1]
    for other in string.ascii_letters + string.digits + "-_=":
        if other != last:
            assert bare(service, "GET", url[:-1] + other).status == 403
    assert bare(service, "GET", url + "=").status == 403


# -- uploads in pieces ------------------------------------------------------------------------------------------------
def test_parts_by_a_signed_url(service: Service) -> None:
    url = link(service, method="UPLOAD", max_size=100, once=True, content_type="text/plain")
    path, _, signature = url.partition("?")
    place = f"bucket=plain&key={quote(KEY, safe='')}"

    def opened() -> str:
        body = json.dumps({"bucket": "plain", "key": KEY})
        answer = bare(service, "POST", url, body, Content_Type="application/json")
        assert answer.status == 201, answer.body
        return str(answer.json["upload_id"])

    first, second = opened(), opened()
    other = json.dumps({"bucket": "plain", "key": "other"})
    assert bare(service, "POST", url, other, Content_Type="application/json").status == 403
    assert bare(service, "GET", f"{path}?bucket=plain&{signature}").status == 403
    assert bare(service, "PUT", f"{path}/{first}/parts/1?{place}&{signature}", b"x" * 101).status == 413
    etags = {}
    for upload in (first, second):
        for number in (1, 2):
            where = f"{path}/{upload}/parts/{number}?{place}&{signature}"
            answer = bare(service, "PUT", where, b"x" * (40 + number))
            assert answer.status == 200, answer.body
            etags[number] = answer.json["etag"]

    def complete(upload: str) -> Answer:
        parts = [{"number": number, "etag": etag} for number, etag in etags.items()]
        where = f"{path}/{upload}/complete?{place}&{signature}"
        return bare(service, "POST", where, json.dumps({"parts": parts}), Content_Type="application/json")

    assert (
        bare(service, "PUT", f"{path}/{first}/parts/1?bucket=plain&key=other&{signature}", b"x").status == 403
    )
    assert complete(first).status == 201
    assert complete(second).status == 409
    assert complete(first).status == 201  # the same answer again
    assert service.ask("HEAD", f"/api/v1/objects/plain/{quote(KEY)}").headers["content-length"] == "83"


def test_parts_add_up_to_what_was_signed(service: Service) -> None:
    url = link(service, method="UPLOAD", max_size=100)
    path, _, signature = url.partition("?")
    place = f"bucket=plain&key={quote(KEY, safe='')}"
    body = json.dumps({"bucket": "plain", "key": KEY})
    upload = bare(service, "POST", url, body, Content_Type="application/json").json["upload_id"]
    parts = []
    for number in (1, 2):
        answer = bare(service, "PUT", f"{path}/{upload}/parts/{number}?{place}&{signature}", b"x" * 60)
        parts.append({"number": number, "etag": answer.json["etag"]})
    where = f"{path}/{upload}/complete?{signature}"  # the signature names the object
    answer = bare(service, "POST", where, json.dumps({"parts": parts}), Content_Type="application/json")
    assert answer.status == 413
    where = f"{path}/{upload}/complete?{signature}&x=1"
    answer = bare(service, "POST", where, json.dumps({"parts": parts}), Content_Type="application/json")
    assert answer.status == 403


def test_tus_by_a_signed_url(service: Service) -> None:
    told = made(service, "/api/v1/storage/upload-url", resumable=True, max_size=20, once=True)
    url = told["tus_url"].removeprefix(f"http://127.0.0.1:{service.port}")
    head = {"Tus_Resumable": "1.0.0"}
    place = f"bucket=plain&key={quote(KEY, safe='')}"
    assert bare(service, "POST", f"{url}&{place}", Upload_Length="21", **head).status == 413
    wrong = "bucket=plain&key=other"
    assert bare(service, "POST", f"{url}&{wrong}", Upload_Length="11", **head).status == 403
    created = bare(service, "POST", f"{url}&{place}", Upload_Length="11", **head)
    assert created.status == 201, created.body
    place_made = created.headers["location"]
    kind = {"Content_Type": "application/offset+octet-stream"}
    assert bare(service, "PATCH", place_made, b"hello ", Upload_Offset="0", **kind, **head).status == 204
    assert bare(service, "HEAD", place_made, **head).headers["upload-offset"] == "6"
    assert bare(service, "HEAD", place_made.replace("hf_max=20", "hf_max=30"), **head).status == 403
    assert bare(service, "HEAD", place_made.partition("?")[0], **head).status == 401
    assert bare(service, "PATCH", place_made, b"world", Upload_Offset="6", **kind, **head).status == 204
    assert service.ask("GET", f"/api/v1/objects/plain/{quote(KEY)}").body == b"hello world"
    created = bare(service, "POST", url, Upload_Length="3", Upload_Metadata="filename b3RoZXI=", **head)
    assert created.status == 201  # the signature names the object
    answer = bare(service, "PATCH", created.headers["location"], b"abc", Upload_Offset="0", **kind, **head)
    assert answer.status == 409
    assert service.ask("GET", f"/api/v1/objects/plain/{quote(KEY)}").body == b"hello world"
