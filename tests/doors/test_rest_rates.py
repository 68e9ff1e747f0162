"""Rate limits over a running service: refused with what to do about it, and bodies slowed down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.types import KeySettings, Rate, TenantSettings
from holdfast.engine.keys import Authenticator, create_key
from holdfast.engine.tokens import Tokens, own_issuer
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors


@contextmanager
def limited(root: Path, **rate: Any) -> Iterator[Service]:
    def asks(engine: Any) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(root, authenticate=asks, rate=rate, trusted_proxies=["127.0.0.1/32"]) as service:
        yield service


def token_of(service: Service, rate: Rate | None = None) -> dict[str, str]:
    context = service.engine.context
    settings = KeySettings(rate=rate or Rate())
    made = create_key(
        context.catalog, context.environment, tenant="default", name="x", role="writer", settings=settings
    )
    return {"Authorization": f"Bearer {service.run(made)}"}


def until_refused(service: Service, headers: dict[str, str], most: int = 100) -> tuple[int, Answer]:
    for count in range(most):
        answer = service.ask("GET", "/api/v1/buckets", headers=headers)
        if answer.status == 429:
            return count, answer
    raise AssertionError("never refused")


def test_without_limits_nothing_is_said(tmp_path: Path) -> None:
    with limited(tmp_path) as service:
        answer = service.ask("GET", "/api/v1/buckets", headers=token_of(service))
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


def test_a_principal_is_told_what_is_left_and_when_to_come_back(tmp_path: Path) -> None:
    with limited(tmp_path, principal={"requests": 0.5}, burst="10s") as service:
        one, two = token_of(service), token_of(service)
        first = service.ask("GET", "/api/v1/buckets", headers=one)
        assert first.headers["ratelimit-policy"] == '"principal";q=5;w=10'
        assert first.headers["ratelimit"] == '"principal";r=4;t=2'
        count, refused = until_refused(service, one)
        assert count == 4
        assert refused.json["code"] == "rate_limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert refused.headers["ratelimit"].startswith('"principal";r=0;t=')
        assert service.ask("GET", "/api/v1/buckets", headers=two).status == 200


def test_a_key_has_a_limit_of_its_own_and_a_tenant_one_for_all(tmp_path: Path) -> None:
    with limited(tmp_path, principal={"requests": 0.1}, burst="100s") as service:
        assert until_refused(service, token_of(service, Rate(requests=0.03)))[0] == 3
        assert until_refused(service, token_of(service))[0] == 10
    with limited(tmp_path / "tenant", burst="100s") as service:
        settings = TenantSettings(rate=Rate(requests=0.06))
        service.run(service.engine.catalog.update_tenant("default", change=lambda _: settings))
        one, two = token_of(service), token_of(service)
        for headers in (one, two, one, two, one, two):
            assert service.ask("GET", "/api/v1/buckets", headers=headers).status == 200
        assert until_refused(service, one)[0] == 0
        assert until_refused(service, two)[0] == 0


def test_an_address_counts_whoever_comes_from_it(tmp_path: Path) -> None:
    with limited(tmp_path, address={"requests": 0.05}, burst="100s") as service:
        for number in range(5):
            forwarded = {"X-Forwarded-For": f"2001:db8:1:2::{number + 1}"}
            assert service.ask("GET", "/api/v1/buckets", headers=forwarded).status == 401
        forwarded = {"X-Forwarded-For": "2001:db8:1:2:ffff::9", **token_of(service)}
        assert service.ask("GET", "/api/v1/buckets", headers=forwarded).status == 429
        other = {"X-Forwarded-For": "2001:db8:1:3::1", **token_of(service)}
        assert service.ask("GET", "/api/v1/buckets", headers=other).status == 200


def test_guessing_tokens_costs_the_guesser(tmp_path: Path) -> None:
    with limited(tmp_path, failures=0.05, burst="100s") as service:
        good = token_of(service)
        for number in range(6):
            assert service.ask("GET", "/api/v1/buckets", headers=good).status == 200
            bad = {"Authorization": f"Bearer hf{number}.wrong"}
            assert service.ask("GET", "/api/v1/buckets", headers=bad).status == 401
        assert service.ask("GET", "/api/v1/buckets", headers=good).status == 429
        away = {"X-Forwarded-For": "203.0.113.9", **good}
        assert service.ask("GET", "/api/v1/buckets", headers=away).status == 200


def test_health_does_not_help_whoever_guesses(tmp_path: Path) -> None:
    with limited(tmp_path, failures=0.02, burst="100s") as service:
        good = token_of(service)

        def told(headers: dict[str, str] | None = None) -> bool:
            return service.ask("GET", "/health", headers=headers or {}).json["total_objects"] is not None

        assert not any(told() for _ in range(9))  # watchers without a credential never count
        assert told(good)
        for number in range(3):
            assert not told({"Authorization": f"Bearer hf{number}.wrong"})
        assert not told(good)
        for path in ("/api/v1/buckets", "/healthy"):
            assert service.ask("GET", path, headers=good).status == 429


def test_wrong_signatures_count_as_guesses(tmp_path: Path) -> None:
    with limited(tmp_path, failures=0.02, burst="100s") as service:
        good = token_of(service)
        assert service.ask("PUT", "/api/v1/objects/plain/k", b"x", good).status == 201
        wish = '{"bucket": "plain", "key": "k"}'
        signed = service.ask("POST", "/api/v1/sign", wish, {**good, "Content-Type": "application/json"})
        path = "/api/" + signed.json["url"].partition("/api/")[2]
        for _ in range(3):
            assert service.ask("GET", path).status == 200
            assert service.ask("GET", path.replace("hf_sig=", "hf_sig=0")).status == 403
        assert service.ask("GET", path).status == 429


def test_tokens_do_not_multiply_the_rate_of_their_key(tmp_path: Path) -> None:
    def asks(engine: Any) -> Authenticator:
        context = engine.context
        clock = context.environment.clock
        return Authenticator(
            engine.catalog, clock, Tokens([own_issuer(context.secret)], engine.catalog, clock)
        )

    rate = {"principal": {"requests": 0.06}, "burst": "100s"}
    with serving(tmp_path, authenticate=asks, rate=rate) as service:
        key = token_of(service)
        answers = []
        for _ in range(3):
            made = service.ask("POST", "/api/v1/tokens", "{}", {**key, "Content-Type": "application/json"})
            assert made.status == 201
            token = {"Authorization": f"Bearer {made.json['token']}"}
            answers.append(service.ask("GET", "/api/v1/buckets", headers=token).status)
        assert answers == [200, 200, 200]
        assert service.ask("GET", "/api/v1/buckets", headers=token).status == 429
        assert service.ask("GET", "/api/v1/buckets", headers=key).status == 429


@pytest.mark.parametrize("way", ["bytes_in", "bytes_out"])
def test_bodies_are_slowed_to_their_rate(tmp_path: Path, way: str) -> None:
    body = b"x" * 600_000
    with limited(tmp_path, burst="0.5s") as service:
        free = token_of(service)
        assert service.ask("PUT", "/api/v1/objects/plain/big", body, free).status == 201
        slow = token_of(service, Rate(**{way: 400_000}))
        began = time.monotonic()
        if way == "bytes_in":
            assert service.ask("PUT", "/api/v1/objects/plain/in", body, slow).status == 201
            assert service.ask("GET", "/api/v1/objects/plain/in", headers=free).body == body
        else:
            assert service.ask("GET", "/api/v1/objects/plain/big", headers=slow).body == body
        passed = time.monotonic() - began
        assert passed >= (600_000 - 200_000) / 400_000 - 0.1  # it cannot be faster, however slow the machine


def test_who_is_far_behind_is_refused_before_it_begins(tmp_path: Path) -> None:
    with limited(tmp_path, burst="0.1s") as service:
        assert service.ask("PUT", "/api/v1/objects/plain/k", b"x" * 60_000, token_of(service)).status == 201
        slow = token_of(service, Rate(bytes_out=10_240))
        with service.connect() as sock:
            request = "GET /api/v1/objects/plain/k HTTP/1.1\r\nHost: x\r\n"
            sock.sendall(f"{request}Authorization: {slow['Authorization']}\r\n\r\n".encode())
            time.sleep(0.3)
            refused = service.ask("GET", "/api/v1/objects/plain/k", headers=slow)
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 2


def test_whoever_looks_after_it_may_always_ask(tmp_path: Path) -> None:
    with limited(tmp_path, address={"requests": 0.02}, burst="100s") as service:
        headers = token_of(service)
        assert until_refused(service, headers)[0] == 2
        assert service.ask("GET", "/openapi.json").status == 429
        assert service.ask("GET", "/health").status == 200
