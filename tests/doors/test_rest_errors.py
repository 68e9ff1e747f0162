"""Every error in one shape, every kind in the table, and who may pass."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.api.errors import STATUS, describe, render
from holdfast.core.clock import Environment
from holdfast.core.errors import KINDS, HoldfastError, RateLimitedError, UnavailableError
from holdfast.engine.engine import Engine
from holdfast.engine.keys import Authenticator, create_key
from holdfast.library.http.errors import from_answer
from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors


def test_every_kind_of_error_has_a_status() -> None:
    assert set(STATUS) == set(KINDS)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_survives_the_way_to_a_client(kind: type[HoldfastError]) -> None:
    status, headers, body = render(kind("because"), request_id="r", instance="/x")
    named = {name.decode(): value.decode() for name, value in headers}
    assert type(from_answer(status, named, body)) is kind
    assert type(from_answer(status, named, b"")) is kind
    problem = json.loads(body)
    assert set(problem) == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "request_id",
        "instance",
        "success",
        "error",
    }
    assert (problem["status"], problem["code"], problem["success"]) == (status, kind.code, False)


def test_defects_and_settings_are_not_described_to_clients() -> None:
    for error in (
        ValueError("password=hunter2"),
        *[kind("hunter2") for kind in KINDS if STATUS[kind] == 500],
    ):
        assert "hunter2" not in str(describe(error, request_id="r", instance="/"))


def test_when_to_come_back() -> None:
    headers = dict(render(UnavailableError("x"), request_id="r", instance="/")[1])
    assert headers[b"retry-after"] == b"1"
    headers = dict(render(RateLimitedError("x", retry_after=6.2), request_id="r", instance="/")[1])
    assert headers[b"retry-after"] == b"7"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/v1/objects/plain", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/list/no-such-bucket", 404, "not_found"),
        ("PUT", "/api/v1/objects/no-such-bucket/x", 404, "not_found"),
        ("GET", "/api/v1/objects/no-such-bucket/x", 404, "not_found"),
        ("POST", "/api/v1/objects/plain/x", 405, "method_not_allowed"),
        ("PATCH", "/api/v1/buckets", 405, "method_not_allowed"),
        ("PUT", "/health", 405, "method_not_allowed"),
        ("GET", "/api/v1/objects/plain/absent", 404, "not_found"),
        ("GET", "/api/v1/list/%ff", 400, "invalid_request"),
    ],
)
def test_wrong_doors(rest_service: Service, method: str, path: str, status: int, code: str) -> None:
    answer = rest_service.ask(method, path)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert answer.json["instance"] == path
    if status == 405:
        assert answer.headers["allow"]


def test_request_ids_are_kept_when_harmless(rest_service: Service) -> None:
    def named(given: str) -> str:
        return rest_service.ask("GET", "/health", headers={"X-Request-Id": given}).headers["x-request-id"]

    assert named("mine-1.2_3") == "mine-1.2_3"
    for bad in ("has space", "x" * 65, "<script>", ""):
        assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]+", named(bad))


def test_an_error_to_head_has_no_body_but_a_code(rest_service: Service) -> None:
    answer = rest_service.ask("HEAD", "/api/v1/objects/plain/absent")
    assert (answer.status, answer.body) == (404, b"")
    assert answer.headers["x-holdfast-error-code"] == "not_found"


def test_what_nobody_foresaw_is_a_500_with_an_id_and_a_traceback_in_the_log(
    rest_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    import structlog

    log = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=log),
    )

    async def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("inner words")

    monkeypatch.setattr(type(rest_service.engine.catalog), "resolve", broken)
    try:
        answer = rest_service.get("any?secret=in-the-query")
    finally:
        structlog.reset_defaults()
    assert answer.status == 500
    assert (answer.json["code"], answer.json["request_id"]) == ("internal", answer.headers["x-request-id"])
    assert "inner words" not in answer.body.decode()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    found = [line for line in lines if line.get("request_id") == answer.json["request_id"]]
    assert any("ZeroDivisionError" in line.get("exception", "") for line in found)
    assert "in-the-query" not in log.getvalue()


def test_a_foreign_page_does_not_reach_a_server_without_tokens(rest_service: Service) -> None:
    assert rest_service.ask("GET", "/api/v1/buckets", headers={"Host": "evil.example"}).status == 403
    assert (
        rest_service.ask("GET", "/api/v1/buckets", headers={"Origin": "https://evil.example"}).status == 403
    )
    assert rest_service.ask("GET", "/api/v1/buckets", headers={"Origin": "null"}).status == 403
    assert rest_service.ask("GET", "/api/v1/buckets", headers={"Host": "localhost:1"}).status == 200


# -- with tokens ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    def authenticator(engine: Engine) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(tmp_path_factory.mktemp("guarded"), authenticate=authenticator) as service:
        yield service


def token_of(service: Service, role: str) -> dict[str, str]:
    made = create_key(service.engine.catalog, Environment(), tenant="default", name="t", role=role)
    return {"Authorization": f"Bearer {service.run(made)}"}


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer x.y",
        "Bearer ..",
        "Basic abc",
        "Bearer " + "x" * 4000,
        b"Bearer \xff\xfe.x",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/buckets", "/api/v1/objects/plain/x", "/metrics", "/no/such/path"])
def test_without_a_token_nothing_is_told(guarded: Service, given: Any, path: str) -> None:
    answer = guarded.ask("GET", path, headers={} if given is None else {"Authorization": given})
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_opens_and_a_changed_one_does_not(guarded: Service) -> None:
    token = token_of(guarded, "admin")
    assert guarded.ask("GET", "/api/v1/buckets", headers=token).status == 200
    assert guarded.ask("GET", "/metrics", headers=token).status == 200
    wrong = token["Authorization"][:-1] + ("0" if token["Authorization"][-1] != "0" else "1")
    assert guarded.ask("GET", "/api/v1/buckets", headers={"Authorization": wrong}).status == 401
    assert guarded.ask("GET", "/health").status == 200
    assert guarded.ask("GET", "/openapi.json").status == 200


def test_roles_bound_what_a_token_may_do(guarded: Service) -> None:
    admin, writer, reader = (token_of(guarded, role) for role in ("admin", "writer", "reader"))
    url = "/api/v1/objects/plain/roles"
    assert guarded.ask("PUT", url, b"x", reader).json["code"] == "permission_denied"
    assert guarded.ask("PUT", url, b"x", writer).status == 201
    assert guarded.ask("GET", url, None, reader).body == b"x"
    assert guarded.ask("DELETE", url, None, reader).status == 403
    assert guarded.ask("POST", "/api/v1/buckets", b'{"name":"newer"}', writer).status == 403
    assert guarded.ask("POST", "/api/v1/buckets", b'{"name":"newer"}', admin).status == 201


def test_too_many_requests_at_once_are_told_to_come_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("bounded"), limits={"max_requests": 1}) as service:
        with service.connect() as holding:
            holding.sendall(
                b"PUT /api/v1/objects/plain/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"
            )
            time.sleep(0.2)
            answer = service.get("x")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert service.ask("GET", "/health").status == 200
        for _ in range(50):
            if service.get("x").status == 404:
                break
            time.sleep(0.05)
        assert service.get("x").status == 404
