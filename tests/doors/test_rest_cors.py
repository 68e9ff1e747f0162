"""Web pages of other origins: only named ones, asked for without a token, and with the headers that they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.tus_headers import ANSWERED
from holdfast.config.settings import load
from holdfast.core.errors import ConfigError, UnauthenticatedError
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors

APP = "https://app.example.com"
ORIGINS = (APP, "https://*.sites.example.com", "http://localhost:3000")
LOCAL = "http://localhost:3000"
PATH = "/api/v1/objects/plain/a"


def nobody(engine: Any) -> Any:
    async def refuse(token: str) -> Any:
        raise UnauthenticatedError("nobody is known here")

    return refuse


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that knows nobody, so that whatever it answers, it answers without a token."""
    with serving(
        tmp_path_factory.mktemp("cors"), authenticate=nobody, cors={"origins": ORIGINS, "max_age": "10m"}
    ) as service:
        yield service


def ask(service: Service, origin: str, method: str = "PUT", headers: str = "") -> Answer:
    """Ask as a browser does before it sends a page's request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return service.ask("OPTIONS", PATH, headers=asked)


@pytest.mark.parametrize(
    "origin", [APP, "https://one.sites.example.com", "http://localhost:3000", "HTTPS://APP.EXAMPLE.COM"]
)
def test_a_named_origin_is_granted(pages: Service, origin: str) -> None:
    answer = ask(pages, origin, headers="authorization, x-holdfast-meta-a,tus-resumable")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization, x-holdfast-meta-a,tus-resumable"
    assert answer.headers["access-control-max-age"] == "600"
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "https://sites.example.com",
        "https://a.b.sites.example.com",
        "https://evil.example/.sites.example.com",
        "https://evil-sites.example.com",
        "null",
    ],
)
def test_any_other_is_not(pages: Service, origin: str) -> None:
    for answer in (ask(pages, origin), pages.ask("GET", PATH, headers={"Origin": origin})):
        assert answer.status in (401, 403)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_methods_that_are_not_named_are_refused(pages: Service) -> None:
    assert ask(pages, APP, "TRACE").status == 403


@pytest.mark.parametrize("headers", ["a b", "x" * 5000, "a;b", "a,,b"])
def test_names_that_are_none_are_not_echoed(pages: Service, headers: str) -> None:
    answer = ask(pages, APP, headers=headers)
    assert answer.status == 204
    assert "access-control-allow-headers" not in answer.headers


def test_a_page_may_read_answers_and_refusals(pages: Service) -> None:
    answer = pages.ask("GET", PATH, headers={"Origin": APP, "Authorization": "Bearer none"})
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == APP
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    needed = {
        "etag",
        "x-holdfast-version-id",
        "x-request-id",
        "ratelimit",
        "content-range",
        "retry-after",
        "*",
    }
    assert needed <= exposed
    assert {name.lower() for name in ANSWERED} <= exposed


def test_without_an_origin_nothing_is_said_but_that_it_matters(pages: Service) -> None:
    answer = pages.ask("GET", "/health/live")
    assert answer.status == 200
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("cors", "granted"),
    [({"origins": [LOCAL], "credentials": True}, LOCAL), ({"origins": ["*"]}, "*")],
    ids=["with cookies", "everybody"],
)
def test_contents_are_marked_however_they_are_sent(
    tmp_path: Path, cors: dict[str, Any], granted: str
) -> None:
    with serving(tmp_path, cors=cors) as service:
        for size in (10, 1 << 20):
            service.put("sent", bytes(size))
            answer = service.get("sent", Origin=LOCAL)
            assert (answer.status, len(answer.body)) == (200, size)
            assert answer.headers["access-control-allow-origin"] == granted
            assert answer.headers.get("access-control-allow-credentials") == (
                "true" if granted == LOCAL else None
            )
            assert ("*" in answer.headers["access-control-expose-headers"]) is (granted == "*")
            assert answer.headers.get("vary") == ("Origin" if granted == LOCAL else None)


def test_nothing_is_granted_unless_it_is_set(rest_service: Service) -> None:
    answer = rest_service.ask("GET", "/health/live", headers={"Origin": "http://localhost:3000"})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "vary" not in answer.headers


def test_origins_are_read_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CORS__ORIGINS", "https://a.example, https://*.b.example")
    assert load(None).cors.origins == ("https://a.example", "https://*.b.example")


@pytest.mark.parametrize(
    "origin", ["example.com", "https://", "https://a.example/path", "https://*", "https://a*.b"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="is not an origin"):
        load(None, cors={"origins": [origin]})


def test_cookies_are_not_for_everybody() -> None:
    with pytest.raises(ConfigError, match="every web page"):
        load(None, cors={"origins": ["*"], "credentials": True})
