"""Keys, tokens, tenants, public buckets and addresses, over REST."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.core.body import Body
from holdfast.core.errors import PermissionDeniedError, UnauthenticatedError
from holdfast.core.types import BucketSettings, IpRules, Principal, TenantState, Visibility
from holdfast.engine.session import Session
from tests.doors.rest_service import Answer, Service, serving
from tests.doors.test_access_matrix import bearer

pytestmark = pytest.mark.doors
OBJECT = "/api/v1/objects/plain/k"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("access"), authenticate=bearer) as found:
        found.headers = {"Authorization": f"Bearer {found.run(operator_key(found))}"}
        yield found


async def operator_key(service: Service) -> str:
    return (await boss(service).admin.create_key("boss", "operator"))[1]


def boss(service: Service, tenant: str = "default") -> Session:
    return service.engine.session(Principal("boss", tenant, "operator"))


def post(service: Service, path: str, said: Any, token: str | None = None, method: str = "POST") -> Answer:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return service.ask(method, path, json.dumps(said), {**headers, "Content-Type": "application/json"})


def get(service: Service, path: str, token: str | None = None, **headers: str) -> Answer:
    """Ask with a token, or with none at all."""
    given = {} if token is None else {"Authorization": f"Bearer {token}"}
    before, service.headers = service.headers, {}
    try:
        return service.ask("GET", path, headers={**given, **headers})
    finally:
        service.headers = before


def test_a_key_is_made_used_listed_and_revoked(service: Service) -> None:
    wish = {
        "name": "ci",
        "role": "writer",
        "scopes": ["plain/in/*"],
        "expires_in": "90d",
        "ip": {"allow": ["127.0.0.1"]},
    }
    made = post(service, "/api/v1/keys", wish)
    assert made.status == 201, made.body
    assert made.headers["cache-control"] == "no-store"
    token = made.json["token"]
    assert made.json["scopes"] == ["plain/in/*"]
    assert made.json["ip"] == {"allow": ["127.0.0.1/32"], "deny": []}
    assert (
        service.ask("PUT", "/api/v1/objects/plain/in/a", b"x", {"Authorization": f"Bearer {token}"}).status
        == 201
    )
    refused = service.ask("PUT", "/api/v1/objects/plain/out", b"x", {"Authorization": f"Bearer {token}"})
    assert (refused.status, refused.json["code"]) == (403, "permission_denied")
    listed = get(service, "/api/v1/keys", service.headers["Authorization"][7:])
    assert made.json["id"] in [key["id"] for key in listed.json["keys"]]
    assert token.partition(".")[2].encode() not in listed.body
    who = get(service, "/api/v1/whoami", token).json
    assert (who["id"], who["role"], who["scopes"]) == (made.json["id"], "writer", ["plain/in/*"])
    assert who["expires"] == made.json["expires"]
    gone = service.ask("DELETE", f"/api/v1/keys/{made.json['id']}")
    assert gone.status == 200
    assert gone.json["revoked"]
    time.sleep(5)  # as long as a revoked key may still be taken
    assert get(service, "/api/v1/whoami", token).status == 401


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"name": ""},
        {"name": "x", "role": "root"},
        {"name": "x", "role": "anonymous"},
        {"name": "x", "scopes": ["fly:photos"]},
        {"name": "x", "scopes": [""]},
        {"name": "x", "scopes": ["a"] * 65},
        {"name": "x", "expires_in": "soon"},
        {"name": "x", "expires_in": 0},
        {"name": "x", "expires_in": -1},
        {"name": "x", "expires_in": 1e300},
        {"name": "x", "ip": {"allow": ["everywhere"]}},
        {"name": "x", "ip": {"allow": ["10.0.0.1/8"]}},
        {"name": "x", "rate": {"requests": 0}},
        {"name": "x", "rate": {"bytes_in": "many"}},
        {"name": "x", "more": 1},
        {"name": "a\nb"},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(service: Service, wish: dict[str, Any]) -> None:
    answer = post(service, "/api/v1/keys", wish)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer.body


def test_a_token_is_signed_narrower_used_by_any_client_and_given_back(
    service: Service, tmp_path: Path
) -> None:
    service.run(put_plain(service))
    made = post(
        service,
        "/api/v1/tokens",
        {"name": "job", "role": "reader", "scopes": ["get,head:plain/k"], "expires_in": "10m"},
    )
    assert made.status == 201, made.body
    token = made.json["token"]
    assert token.count(".") == 2
    url = f"http://127.0.0.1:{service.port}"
    with holdfast.open(url, token=token) as client:
        assert client.get("plain", "k") == b"content"
        with pytest.raises(PermissionDeniedError):
            client.put("plain", "k", b"other")
        with pytest.raises(PermissionDeniedError):
            list(client.list("plain"))
    assert post(service, "/api/v1/tokens/revoke", {}, token).status == 204
    time.sleep(5)
    with holdfast.open(url, token=token) as client, pytest.raises(UnauthenticatedError):
        client.head("plain", "k")


def test_an_admin_revokes_tokens_by_their_id(service: Service) -> None:
    made = post(service, "/api/v1/tokens", {"name": "one"}).json
    reader = post(service, "/api/v1/keys", {"name": "reader", "role": "reader"}).json["token"]
    assert get(service, "/api/v1/whoami", made["token"]).status == 200
    assert post(service, "/api/v1/tokens/revoke", {"id": made["id"]}, reader).status == 403
    assert post(service, "/api/v1/tokens/revoke", {"id": "what"}).status == 400
    assert post(service, "/api/v1/tokens/revoke", {"id": made["id"]}).status == 204
    time.sleep(5)
    assert get(service, "/api/v1/whoami", made["token"]).status == 401


def test_a_tenant_is_made_limited_suspended_and_resumed(service: Service) -> None:
    made = post(
        service, "/api/v1/tenants", {"name": "acme", "quota": {"max_bytes": "1MB"}, "rate": {"requests": 500}}
    )
    assert made.status == 201, made.body
    assert made.json["quota"]["max_bytes"] == 1 << 20
    assert post(service, "/api/v1/tenants", {"name": "acme"}).status == 409
    assert post(service, "/api/v1/tenants", {"name": "../x"}).status == 400
    key = post(service, "/api/v1/keys", {"name": "first", "role": "admin", "tenant": "acme"}).json["token"]
    assert post(service, "/api/v1/buckets", {"name": "theirs"}, key).status == 201
    changed = post(
        service, "/api/v1/tenants/acme", {"quota": {"max_bytes": 5, "max_objects": 1}}, method="PATCH"
    )
    assert changed.status == 200, changed.body
    refused = service.ask("PUT", "/api/v1/objects/theirs/k", b"too much", {"Authorization": f"Bearer {key}"})
    assert refused.status == 507
    shown = service.ask("GET", "/api/v1/tenants/acme").json
    assert (shown["quota"], shown["bytes"], shown["rate"]["requests"]) == (
        {"max_bytes": 5, "max_objects": 1},
        0,
        500,
    )
    assert "acme" in [tenant["name"] for tenant in service.ask("GET", "/api/v1/tenants").json["tenants"]]
    assert post(service, "/api/v1/tenants/acme", {"state": "suspended"}, method="PATCH").status == 200
    time.sleep(5)
    refused = get(service, "/api/v1/buckets", key)
    assert (refused.status, refused.json["code"]) == (403, "permission_denied")
    assert post(service, "/api/v1/tenants/acme", {"state": "active"}, method="PATCH").status == 200
    time.sleep(2.6)
    assert get(service, "/api/v1/buckets", key).status == 200
    turned = service.ask("POST", "/api/v1/tenants/acme/rotate-signing")
    assert turned.json["signing_generation"] == 2
    for path in ("/api/v1/tenants/nowhere", "/api/v1/keys/hf0"):
        assert service.ask("DELETE" if "keys" in path else "GET", path).status == 404


async def put_plain(service: Service) -> None:
    await boss(service).put("plain", "k", Body.of_bytes(b"content"))


# -- public buckets ---------------------------------------------------------------------------------------------------
def test_public_buckets_are_read_without_a_token_and_only_read(service: Service) -> None:
    async def prepare() -> None:
        admin = boss(service)
        await admin.admin.create_tenant("museum")
        for tenant in ("default", "museum"):
            owner = boss(service, tenant)
            await owner.create_bucket("gallery", settings=BucketSettings(visibility=Visibility.PUBLIC))
            await owner.put("gallery", "a.txt", Body.of_bytes(tenant.encode()))
        await boss(service, "museum").create_bucket("cellar")

    service.run(prepare())
    for path in ("/api/v1/objects/gallery/a.txt", "/api/v1/download/gallery/a.txt"):
        answer = get(service, path)
        assert (answer.status, answer.body) == (200, b"default")
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert get(service, path + "?hf_tenant=museum").body == b"museum"
        assert get(service, path + "?hf_tenant=nowhere").status == 401
        assert get(service, path + "?hf_tenant=").status == 401
    assert get(service, "/api/v1/objects/gallery/none").status == 404
    assert get(service, "/api/v1/objects/cellar/none?hf_tenant=museum").status == 401
    assert get(service, "/api/v1/objects/plain/k").status == 401
    assert get(service, "/api/v1/objects/nowhere/k").status == 401
    for bucket, status in (("gallery", 200), ("plain", 401)):
        file_id = service.run(boss(service).put(bucket, "by-id", Body.of_bytes(b"found by id"))).id
        answer = get(service, f"/api/v1/files/download/{file_id}")
        assert answer.status == status
        assert (answer.body == b"found by id") is (status == 200)
        assert get(service, f"/api/v1/files/{file_id}").status == 401
    # a credential that does not hold is never as good as none
    assert get(service, "/api/v1/objects/gallery/a.txt", "rubbish").status == 401
    assert get(service, "/api/v1/objects/gallery/a.txt", "", Authorization="Basic eDp5").status == 401
    for path in (
        "/api/v1/list/gallery",
        "/api/v1/versions/gallery",
        "/api/v1/buckets",
        "/api/v1/buckets/gallery",
    ):
        assert get(service, path).status == 401
    before, service.headers = service.headers, {}
    try:
        for method in ("PUT", "DELETE"):
            assert service.ask(method, "/api/v1/objects/gallery/a.txt", b"").status == 401
        assert service.ask("HEAD", "/api/v1/objects/gallery/a.txt").status == 200
    finally:
        service.headers = before


def test_a_stranger_does_not_learn_which_tenants_there_are(service: Service) -> None:
    async def prepare() -> None:
        admin = boss(service).admin
        await admin.create_tenant("closed")
        await admin.create_tenant("walled", ip=IpRules(("192.0.2.0/24",)))
        await admin.update_tenant("closed", state=TenantState.SUSPENDED)

    service.run(prepare())
    answers = [
        get(service, f"/api/v1/objects/gallery/a.txt?hf_tenant={name}").json
        for name in ("nowhere", "closed", "walled")
    ]
    told = {(answer["status"], answer["code"], answer["detail"]) for answer in answers}
    assert len(told) == 1
    assert told.pop()[0] == 401


# -- addresses --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    flags = {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8")}
    with serving(tmp_path_factory.mktemp("proxied"), authenticate=bearer, **flags) as found:

        async def prepare() -> tuple[str, str]:
            session = boss(found)
            await session.put("plain", "k", Body.of_bytes(b"content"))
            await session.create_bucket("inner", settings=BucketSettings(ip=IpRules(("192.0.2.0/24",))))
            await session.put("inner", "k", Body.of_bytes(b"content"))
            await session.admin.create_tenant("fenced", ip=IpRules(("192.0.2.0/24",)))
            free = await session.admin.create_key("free", "admin")
            fenced = await session.admin.create_key("fenced", "admin", tenant="fenced")
            return free[1], fenced[1]

        free, fenced = found.run(prepare())
        found.headers = {"free": free, "fenced": fenced}
        yield found


@pytest.mark.parametrize(
    ("said", "inside"),
    [
        ({}, False),
        ({"X-Forwarded-For": "192.0.2.7"}, True),
        ({"X-Forwarded-For": "::ffff:192.0.2.7"}, True),
        ({"X-Forwarded-For": "192.0.2.7:4711"}, True),
        ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}, True),
        ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7, 10.0.0.3"}, True),
        ({"X-Forwarded-For": "192.0.2.7, 198.51.100.1"}, False),  # written by the client itself
        ({"X-Forwarded-For": "192.0.2.7, rubbish"}, False),
        ({"X-Forwarded-For": ""}, False),
        ({"Forwarded": "for=192.0.2.7"}, False),  # not the header of these proxies
        ({"X-Real-IP": "192.0.2.7"}, False),
    ],
)
def test_address_rules_go_by_what_trusted_proxies_say(
    proxied: Service, said: dict[str, str], inside: bool
) -> None:
    free, fenced = proxied.headers["free"], proxied.headers["fenced"]
    expected = 200 if inside else 403
    assert get(proxied, "/api/v1/objects/inner/k", free, **said).status == expected
    assert get(proxied, "/api/v1/buckets", fenced, **said).status == expected
    assert get(proxied, "/api/v1/objects/plain/k", free, **said).status == 200


def test_two_headers_are_one_list(proxied: Service) -> None:
    free = proxied.headers["free"]
    request = (
        f"GET /api/v1/objects/inner/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {free}\r\n"
        "X-Forwarded-For: {}\r\nX-Forwarded-For: {}\r\nConnection: close\r\n\r\n"
    )
    assert b" 200 " in proxied.raw(request.format("198.51.100.1", "192.0.2.7").encode())[:20]
    assert b" 403 " in proxied.raw(request.format("192.0.2.7", "198.51.100.1").encode())[:20]


def test_nobody_is_believed_who_is_no_proxy(service: Service) -> None:
    service.run(
        boss(service).create_bucket("fenced-in", settings=BucketSettings(ip=IpRules(("192.0.2.0/24",))))
    )
    for said in ({"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}):
        answer = service.ask("GET", "/api/v1/list/fenced-in", headers=said)
        assert answer.status == 403


def test_the_other_header_when_the_settings_say_so(tmp_path: Path) -> None:
    flags = {"trusted_proxies": ("127.0.0.1",), "forwarded_header": "forwarded"}
    with serving(tmp_path, authenticate=bearer, **flags) as found:

        async def prepare() -> str:
            session = boss(found)
            await session.create_bucket("inner", settings=BucketSettings(ip=IpRules(("2001:db8::/32",))))
            return (await session.admin.create_key("free", "admin"))[1]

        token = found.run(prepare())
        for header, value, status in (
            ("Forwarded", 'for="[2001:db8::1]:80";proto=https', 200),
            ("Forwarded", 'for=192.0.2.7, for="[2001:db8::1]"', 200),
            ("Forwarded", 'for="[2001:db8::1]", for=192.0.2.7', 403),
            ("Forwarded", "for=unknown", 403),
            ("X-Forwarded-For", "2001:db8::1", 403),
        ):
            assert get(found, "/api/v1/list/inner", token, **{header: value}).status == status, value


# -- an issuer of tokens ----------------------------------------------------------------------------------------------
def test_tokens_of_an_issuer_open_what_the_settings_say(tmp_path: Path) -> None:
    from tests.engine import forging

    now = int(time.time())
    secret = base64.b64encode(forging.SHARED).decode()
    issuer = {
        "issuer": "https://id.example",
        "audience": "storage",
        "algorithm": "HS256",
        "key": secret,
        "tenant": "default",
        "role": "writer",
        "role_claim": "role",
    }
    party = forging.Party("hs", "HS256", secret.encode(), secret.encode(), None)

    def token(**changes: Any) -> str:
        times = {"exp": now + 60, "iat": now, "nbf": now}
        return forging.made(party, **{"iss": "https://id.example", **times, **changes})

    from holdfast.config import load
    from holdfast.engine.keys import Authenticator
    from holdfast.engine.trust import open_tokens

    settings = load(None, auth={"issuers": {"id": issuer}})

    def ask(engine: Any) -> Authenticator:
        clock = engine.context.environment.clock
        return Authenticator(
            engine.catalog, clock, open_tokens(settings.auth, engine.context.secret, engine.catalog, clock)
        )

    with serving(tmp_path, authenticate=ask) as found:
        assert get(found, "/api/v1/whoami", token()).json == {
            "id": "id:someone",
            "name": "someone",
            "tenant": "default",
            "role": "writer",
            "scopes": [],
            "expires": get(found, "/api/v1/whoami", token()).json["expires"],
        }
        assert get(found, "/api/v1/whoami", token(role="operator")).status == 401
        assert get(found, "/api/v1/whoami", token(exp=now - 1)).status == 401
        assert get(found, "/api/v1/keys", token()).status == 403
        with holdfast.open(f"http://127.0.0.1:{found.port}", token=token()) as client:
            client.put("plain", "k", b"by token")
            assert client.get("plain", "k") == b"by token"


def test_many_tokens_at_once_are_verified_right(service: Service) -> None:
    tokens = [post(service, "/api/v1/tokens", {"name": f"n{number}"}).json["token"] for number in range(8)]
    wrong: list[str] = []

    def ask(number: int) -> None:
        for _ in range(10):
            if get(service, "/api/v1/whoami", tokens[number]).json["name"] != f"n{number}":
                wrong.append(tokens[number])

    before, service.headers = service.headers, {}
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    service.headers = before
    assert wrong == []
