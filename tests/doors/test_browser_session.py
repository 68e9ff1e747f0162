"""The docs page and the browser session: what a cookie can do, and what no other page can make it do."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from holdfast.engine.keys import Authenticator, create_key
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors

OURS = {"Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    def asks(engine: Any) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(tmp_path, authenticate=asks) as running:
        yield running


def token_of(service: Service, role: str = "writer") -> str:
    context = service.engine.context
    made = create_key(context.catalog, context.environment, tenant="default", name="person", role=role)
    return str(service.run(made))


def opened(service: Service, token: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()} or OURS
    return service.ask("POST", "/api/v1/session", json.dumps({"token": token}), {**JSON, **named})


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_page_is_found_from_nearby(service: Service) -> None:
    lost = service.ask("GET", "/")
    assert lost.status == 404
    assert b"/docs" in lost.body
    assert b"/openapi.json" in lost.body
    moved = service.ask("GET", "/docs/")
    assert (moved.status, moved.headers["location"]) == (308, "../docs")


def test_a_token_becomes_a_cookie_that_scripts_cannot_read(service: Service) -> None:
    token = token_of(service)
    answer = opened(service, token)
    assert answer.status == 201
    assert (answer.json["name"], answer.json["role"]) == ("person", "writer")
    said = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} <= set(said.split("; "))
    assert "Secure" not in said
    secret = token.partition(".")[2]
    assert secret not in said
    assert secret not in answer.body.decode()
    listed = service.ask("GET", "/api/v1/buckets", headers={"Cookie": cookie_of(answer), **OURS})
    assert listed.status == 200


def test_over_tls_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    def asks(engine: Any) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(tmp_path, authenticate=asks, trusted_proxies=["127.0.0.1/32"]) as service:
        safe = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.5"}
        answer = service.ask(
            "POST", "/api/v1/session", json.dumps({"token": token_of(service)}), {**JSON, **OURS, **safe}
        )
        said = answer.headers["set-cookie"]
        assert said.startswith("__Host-holdfast_session=")
        assert "Secure" in said.split("; ")
        cookie = {"Cookie": cookie_of(answer), **OURS}
        assert service.ask("GET", "/api/v1/buckets", headers={**cookie, **safe}).status == 200
        assert service.ask("GET", "/api/v1/buckets", headers=cookie).status == 401


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "HERE"}, True),
        ({"Origin": "HERE"}, True),
        ({"X-Holdfast-Page": "1"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "X-Holdfast-Page": "1"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example", "X-Holdfast-Page": "1"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({}, False),
    ],
)
def test_only_pages_of_ours_can_use_it(service: Service, headers: dict[str, str], counts: bool) -> None:
    cookie = cookie_of(opened(service, token_of(service)))
    here = f"http://127.0.0.1:{service.port}"
    named = {name: here if value == "HERE" else value for name, value in headers.items()}
    path = "/api/v1/objects/plain/victim"
    answer = service.ask("PUT", path, b"x", {"Cookie": cookie, **named})
    assert answer.status == (201 if counts else 401)
    answer = service.ask("GET", "/api/v1/buckets", headers={"Cookie": cookie, **named})
    assert answer.status == (200 if counts else 401)
    answer = service.ask("DELETE", "/api/v1/session", headers={"Cookie": cookie, **named})
    assert answer.status == (204 if counts else 403)


def test_other_pages_cannot_open_one(service: Service) -> None:
    token = token_of(service)
    assert opened(service, token, Origin="https://evil.example").status == 403
    assert opened(service, token, Sec_Fetch_Site="cross-site").status == 403
    body = json.dumps({"token": token})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert service.ask("POST", "/api/v1/session", body, {"Content-Type": kind, **OURS}).status == 415
    assert opened(service, "wrong.token").status == 401


def test_a_changed_cookie_is_refused_whatever_was_changed(service: Service) -> None:
    cookie = cookie_of(opened(service, token_of(service)))
    name, _, value = cookie.partition("=")
    tried = 0
    for at in range(len(value)):
        for other in "A0-.":
            if value[at] == other:
                continue
            changed = f"{name}={value[:at]}{other}{value[at + 1 :]}"
            answer = service.ask("GET", "/api/v1/buckets", headers={"Cookie": changed, **OURS})
            assert answer.status == 401, changed
            tried += 1
    for changed in (value[:-1], value + "A", "", ".", value.partition(".")[0], "é", value.upper()):
        headers = {"Cookie": f"{name}={changed}", **OURS}
        assert service.ask("GET", "/api/v1/buckets", headers=headers).status == 401
    assert tried > 300


def test_it_ends_with_the_key(service: Service) -> None:
    token = token_of(service)
    cookie = {"Cookie": cookie_of(opened(service, token)), **OURS}
    assert service.ask("GET", "/api/v1/buckets", headers=cookie).status == 200
    service.run(service.engine.catalog.revoke_key(token.partition(".")[0]))
    service.engine.directory._known.clear()
    assert service.ask("GET", "/api/v1/buckets", headers=cookie).status == 401


def test_it_never_allows_more_than_the_key(service: Service) -> None:
    cookie = {"Cookie": cookie_of(opened(service, token_of(service, "reader"))), **OURS}
    assert service.ask("PUT", "/api/v1/objects/plain/x", b"x", cookie).status == 403


def test_closing_ends_it_and_the_audit_tells_of_both(service: Service) -> None:
    token = token_of(service)
    mine = {"Cookie": cookie_of(opened(service, token)), **OURS}
    other = {"Cookie": cookie_of(opened(service, token)), **OURS}
    assert service.ask("GET", "/api/v1/buckets", headers=mine).status == 200
    for _ in range(2):
        assert service.ask("DELETE", "/api/v1/session", headers=mine).status == 204
    assert service.ask("GET", "/api/v1/buckets", headers=mine).status == 401
    service.engine.directory._known.clear()  # as in any other process
    assert service.ask("GET", "/api/v1/buckets", headers=mine).status == 401
    assert service.ask("GET", "/api/v1/buckets", headers=other).status == 200
    entries = service.run(service.engine.catalog.audit("default"))
    told = [(entry.action, entry.principal) for entry in entries if entry.action.endswith("_session")]
    me = token.partition(".")[0]
    assert told == [("open_session", me), ("open_session", me), ("close_session", me)]


def test_closing_takes_the_cookie_away(service: Service) -> None:
    answer = service.ask("DELETE", "/api/v1/session", headers=OURS)
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]


# -- the page ---------------------------------------------------------------------------------------------------------
class Seen(HTMLParser):
    """What a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = ""
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.handlers: list[str] = []
        self.fetched: list[str] = []
        self.operations: list[tuple[str | None, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag if tag in self.texts else self.inside
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.fetched += [value or "" for name, value in attrs if name in ("src", "action", "data")]
        found = dict(attrs)
        if tag == "details":
            self.operations.append((found["data-method"], found["data-path"]))

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[self.inside].append(data)


def test_the_page_shows_every_operation_and_runs_nothing_else(service: Service) -> None:
    answer = service.ask("GET", "/docs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    seen = Seen()
    seen.feed(answer.body.decode())
    described = service.ask("GET", "/openapi.json").json["paths"]
    assert sorted(seen.operations, key=str) == sorted(
        ((verb.upper(), path) for path, verbs in described.items() for verb in verbs), key=str
    )
    assert seen.handlers == []
    assert seen.fetched == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, texts in seen.texts.items():
        assert len(texts) == 1
        digest = b64encode(sha256(texts[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(rb"https?://", answer.body)


def test_what_users_stored_cannot_run_beside_it(service: Service) -> None:
    cookie = {"Cookie": cookie_of(opened(service, token_of(service))), **OURS}
    page = b"<script>fetch('/api/v1/buckets')</script>"
    path = "/api/v1/objects/plain/page.html"
    assert service.ask("PUT", path, page, {**cookie, "Content-Type": "text/html"}).status == 201
    answer = service.ask("GET", f"{path}?disposition=inline", headers=cookie)
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_page_and_sessions_can_be_turned_off(tmp_path: Path) -> None:
    with serving(tmp_path, docs=False) as service:
        assert service.ask("GET", "/docs").status == 404
        assert opened(service, "x").status == 404
