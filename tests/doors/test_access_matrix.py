"""Every operation of the service × every credential that must not open it: refused, and nothing is given away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from holdfast.config import load
from holdfast.core.body import Body
from holdfast.core.types import IpRules, KeySettings, Principal, TenantState
from holdfast.engine.acting import Deed, Doing
from holdfast.engine.batches import Item
from holdfast.engine.engine import Engine
from holdfast.engine.keys import Authenticator
from holdfast.engine.trust import open_tokens
from holdfast.jobs.batch import Begun, begin
from holdfast.policy.scopes import parse_scopes
from tests.doors.access_matrix import Names, Operation, operations
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors
REFUSED = (401, 403, 404)
NOWHERE = Names(
    bucket="nowhere-at-all",
    key="missing.txt",
    file_id="0199aaaa-0000-7000-8000-000000000000",
    upload_id="0199aaaa-0000-7000-8000-000000000001",
    tus_id="0199aaaa-0000-7000-8000-000000000002",
    batch_id="0199aaaa-0000-7000-8000-000000000003",
    job_id="job-nowhere",
    key_id="hf00000000000000000000",
    tenant="no-such-tenant",
    job="0199aaaa-0000-7000-8000-000000000004",
)


#: What only operators may do: an admin is refused.
OPERATORS = tuple(
    f"{method} /api/v1/{noun}"
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    for noun in (
        "tenants",
        "stores",
        "storages",
        "storage-options",
        "placement/",
        "debts",
        "encryption",
        "findings",
        "proved",
        "lag",
        "backups",
        "moves",
        "upstreams",
        "cost/ledger",
        "cost/what-if",
        "cost/savings",
        "cost/advice",
    )
)


@dataclass
class World:
    """A service with something worth reading, and credentials that must not open it."""

    service: Service
    names: Names
    admin: str
    tokens: dict[str, tuple[int, ...]]  #: token and the statuses that it must get everywhere
    scoped: dict[str, str]
    foreign: str
    every: list[Operation]


def bearer(engine: Engine) -> Authenticator:
    clock = engine.context.environment.clock
    tokens = open_tokens(load(None).auth, engine.context.secret, engine.catalog, clock)
    return Authenticator(engine.catalog, clock, tokens)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("matrix"), authenticate=bearer, drivers=True) as service:
        yield service.run(prepare(service))


async def prepare(service: Service) -> World:
    boss = service.engine.session(Principal("boss", "default", "operator"))
    await boss.create_bucket("treasury", versioning=True)
    for name in ("models", "checkpoints", "artifacts", "datasets", "jobs"):
        await boss.create_bucket(name)
        await boss.put(name, "gold-bars.txt", Body.of_bytes(b"{}"))
    made = await boss.put("treasury", "gold-bars.txt", Body.of_bytes(b"the treasure itself"))
    upload = await boss.create_upload("treasury", "gold-bars.txt")
    tus = await boss.create_resumable("treasury", "gold-bars.txt", length=3)
    admin = boss.admin
    key, admin_token = await admin.create_key("the admin", "admin")
    for name in ("stranger", "shut"):
        await admin.create_tenant(name)
    _, expired = await admin.create_key("expired", "operator", seconds=1)
    short = await admin.create_token(name="expired", role="operator", seconds=1)
    gone_key, gone = await admin.create_key("gone", "operator")
    left = await admin.create_token(name="left", role="operator")
    _, shut = await admin.create_key("shut", "admin", tenant="shut")
    shut_token = await admin.create_token(name="shut", role="admin", tenant="shut")
    away = KeySettings(ip=IpRules(("192.0.2.0/24",)))
    _, elsewhere = await admin.create_key("elsewhere", "operator", settings=away)
    await admin.revoke_key(gone_key.id)
    await admin.revoke_token("holdfast", left.id.rpartition(":")[2])
    await admin.update_tenant("shut", state=TenantState.SUSPENDED)
    treasure = Begun(doing=Doing(Deed.DELETE), principal=boss.principal)
    names = Names(
        bucket="treasury",
        key="gold-bars.txt",
        file_id=made.id,
        upload_id=upload.id,
        tus_id=tus.id,
        batch_id=NOWHERE.batch_id,
        job_id="job-1",
        key_id=key.id,
        tenant="default",
        job=(await begin(service.engine, treasure, [Item("treasury", "none")], id="treasure")).job_id,
    )
    scopes = {
        "another bucket": "elsewhere",
        "another prefix": "treasury/silver/*",
        "another key": "treasury/gold-bars",
        "another verb": "presign:treasury",
    }
    scoped = {}
    for what, scope in scopes.items():
        settings = KeySettings(parse_scopes([scope]))
        scoped[what] = (await admin.create_key(what, "admin", settings=settings))[1]
    _, foreign = await admin.create_key("foreign", "admin", tenant="stranger")
    described = json.loads((await _ask(service, "GET", "/openapi.json")).body)
    tokens = {
        expired: (401,),
        short.token: (401,),
        gone: (401,),
        left.token: (401,),
        shut: (403,),
        shut_token.token: (403,),
        elsewhere: (403,),
        f"{key.id}.{'0' * 64}": (401,),
        f"{key.id}.": (401,),
        key.id: (401,),
        admin_token[:-1]: (401,),
        admin_token + "0": (401,),
        admin_token.upper(): (401,),
        left.token[:-2]: (401,),
        "eyJhbGciOiJub25lIn0.e30.": (401,),
        "a.b.c": (401,),
        "rubbish": (401,),
        "'; DROP TABLE api_keys; --": (401,),
        "a" * 9000: (401,),
    }
    return World(service, names, admin_token, tokens, scoped, foreign, list(operations(described)))


async def _ask(service: Service, method: str, path: str) -> Answer:
    import asyncio

    return await asyncio.to_thread(service.ask, method, path)


def ask(world: World, operation: Operation, names: Names, token: str | None) -> Answer:
    method, path, body, headers = operation.request(names)
    if token is not None:
        headers = {**headers, "Authorization": f"Bearer {token}"}
    return world.service.ask(method, path, body, headers)


def guarded(world: World) -> list[Operation]:
    return [operation for operation in world.every if not operation.open]


def shown(answer: Answer, names: Names) -> str:
    """Return what an answer says, without what differs for each request: its id, and the names that were asked for."""
    if answer.status == 401 and not answer.body:
        return ""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return ""
    for volatile in ("request_id", "instance", "timestamp"):
        said.pop(volatile, None) if isinstance(said, dict) else None
    text = json.dumps(said, sort_keys=True)
    for name, value in sorted(vars(names).items() if hasattr(names, "__dict__") else _fields(names)):
        text = text.replace(value, f"<{name}>")
    return text


def _fields(names: Names) -> list[tuple[str, str]]:
    return [(name, getattr(names, name)) for name in Names.__dataclass_fields__]


def test_the_admin_gets_somewhere_with_these_requests(world: World) -> None:
    """A matrix of requests that would fail for anybody proves nothing."""
    refused = {}
    for operation in guarded(world):
        if operation.method in ("get", "head"):
            answer = ask(world, operation, world.names, world.admin)
            if answer.status in (400, 401, 403, 405, 411, 415, 422):
                refused[operation.name] = (answer.status, answer.body[:200])
    assert {name: why for name, why in refused.items() if not name.startswith(OPERATORS)} == {}
    assert len(guarded(world)) >= 90


def test_without_a_token_or_with_one_that_does_not_hold_everything_is_refused(world: World) -> None:
    time.sleep(1.2)  # until those that expire have expired
    count = 0
    for operation in guarded(world):
        answer = ask(world, operation, world.names, None)
        assert answer.status == 401, operation.name
        assert answer.headers["www-authenticate"].startswith("Bearer")
        count += 1
        for token, statuses in world.tokens.items():
            answer = ask(world, operation, world.names, token)
            assert answer.status in statuses, (operation.name, token[:30], answer.status, answer.body)
            for secret in world.names.secrets:
                assert secret.encode() not in answer.body.replace(_instance(answer), b"")
            count += 1
    print(f"{count} requests refused")
    assert count >= 90 * 20


def _instance(answer: Answer) -> bytes:
    """Return the path as the answer repeats it: what was asked for is no news."""
    try:
        found = json.loads(answer.body).get("instance")
    except ValueError:
        found = None
    return found.encode() if found else b"\0"


def test_a_bad_token_says_the_same_whether_something_is_there_or_not(world: World) -> None:
    bad = [None, next(iter(world.tokens)), "rubbish"]
    for operation in guarded(world):
        for token in bad:
            here = ask(world, operation, world.names, token)
            there = ask(world, operation, NOWHERE, token)
            assert (here.status, shown(here, world.names)) == (there.status, shown(there, NOWHERE)), (
                operation.name
            )


def _own_scopes(answer: Answer) -> tuple[bytes, bytes]:
    """Return the scopes as `whoami` and a new token repeat them, and nothing in their place."""
    found = json.loads(answer.body).get("scopes")
    return (json.dumps(found, separators=(",", ":")).encode() if found else b"\0"), b""


#: What every principal may ask: about itself, and lists that hold only what it may see.
HARMLESS = {
    "GET /api/v1/whoami",
    "POST /api/v1/tokens",
    "GET /api/v1/buckets",
    "GET /api/v1/storage/buckets",
    "GET /api/v1/files",
    "GET /api/v1/batch",
    "GET /api/v1/background-jobs",
    "GET /api/v1/job-kinds",
    "GET /api/v1/schedules",
    "GET /api/v1/storage/health",
    "GET /api/v1/health/detailed",
    "GET /api/v1/storage/validate",
    "POST /api/v1/sync",  # does nothing
}


@pytest.mark.parametrize("what", ["another bucket", "another prefix", "another key", "another verb"])
def test_a_scope_elsewhere_opens_nothing_here(world: World, what: str) -> None:
    token, wrong = world.scoped[what], {}
    for operation in guarded(world):
        answer = ask(world, operation, world.names, token)
        if answer.status in REFUSED:
            continue
        body = answer.body.replace(*_own_scopes(answer))
        told = [secret for secret in world.names.secrets if secret.encode() in body]
        if operation.name not in HARMLESS or told:
            wrong[operation.name] = (answer.status, told, answer.body[:300])
    assert wrong == {}


def test_another_tenant_learns_nothing_of_what_is_here(world: World) -> None:
    """Its admin may do all in its own tenant; every name of ours is to it as one that nobody ever used."""
    wrong: dict[str, Any] = {}
    for operation in guarded(world):
        if "/tenants" not in operation.path:
            here = ask(world, operation, world.names, world.foreign)
            there = ask(world, operation, NOWHERE, world.foreign)
            same = here.status == there.status and (
                here.status < 400 or shown(here, world.names) == shown(there, NOWHERE)
            )
            told = b"the treasure itself" in here.body
            if not same or told:
                wrong[operation.name] = (here.status, there.status, here.body[:300], there.body[:300])
    assert wrong == {}


def test_another_tenant_reads_and_changes_nothing_of_what_is_here(world: World) -> None:
    own = {"GET /api/v1/whoami"}
    for operation in guarded(world):
        if operation.method in ("get", "head") and operation.name not in own:
            answer = ask(world, operation, world.names, world.foreign)
            for told in (b"the treasure itself", b"gold-bars", world.names.file_id.encode()):
                assert told not in answer.body.replace(_instance(answer), b""), operation.name
    answer = world.service.ask(
        "GET", "/api/v1/objects/treasury/gold-bars.txt", headers={"Authorization": f"Bearer {world.admin}"}
    )
    assert (answer.status, answer.body) == (200, b"the treasure itself")


def test_a_reader_changes_nothing(world: World) -> None:
    async def make() -> str:
        boss = world.service.engine.session(Principal("boss", "default", "operator"))
        return (await boss.admin.create_key("reader", "reader"))[1]

    token = world.service.run(make())
    reads = HARMLESS | {
        "POST /api/v1/batch/download",
        "POST /api/v1/storage/download-url",
        "POST /api/v1/sign",  # of a URL for reading
        "POST /api/v1/checkpoints/{job_id}/cleanup",  # of a job that has none
    }
    wrong = {}
    for operation in guarded(world):
        if operation.method in ("get", "head") or operation.name in reads:
            continue
        answer = ask(world, operation, world.names, token)
        if answer.status not in REFUSED:
            wrong[operation.name] = (answer.status, answer.body[:300])
    assert wrong == {}


def test_an_admin_looks_after_no_tenants(world: World) -> None:
    for operation in guarded(world):
        if "/tenants" not in operation.path:
            continue
        own = ask(world, operation, world.names, world.admin)
        if operation.path.endswith(("/rotate-signing", "/provision")):  # at home
            assert own.status == 200
        else:
            assert own.status == 403, operation.name
        for tenant in ("stranger", "no-such-tenant"):
            answer = ask(world, operation, replace(world.names, tenant=tenant), world.admin)
            assert answer.status == 403, operation.name


def test_an_admin_looks_after_no_stores_either(world: World) -> None:
    count = 0
    for operation in guarded(world):
        if operation.name.startswith(OPERATORS) and "/tenants" not in operation.path:
            answer = ask(world, operation, world.names, world.admin)
            assert answer.status == 403, (operation.name, answer.body)
            count += 1
    assert count >= 16


def test_what_is_open_tells_nothing_of_what_is_here(world: World) -> None:
    for operation in world.every:
        if operation.open and operation.method in ("get", "head"):
            answer = ask(world, operation, world.names, None)
            for secret in world.names.secrets:
                assert secret.encode() not in answer.body, operation.name
