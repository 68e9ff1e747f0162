"""What goes on for long ends soon after its credential, or its tenant, was put out of use."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.api import archives
from holdfast.core.types import TenantState
from holdfast.engine.keys import Authenticator, create_key
from holdfast.engine.session import Session
from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    def asks(engine: Any) -> Authenticator:
        return Authenticator(engine.catalog, engine.context.environment.clock)

    with serving(tmp_path, authenticate=asks) as running:
        yield running


def token_of(service: Service, name: str, role: str = "writer") -> str:
    context = service.engine.context
    made = create_key(context.catalog, context.environment, tenant="default", name=name, role=role)
    return str(service.run(made))


def put_out_of_use(service: Service, how: str, token: str) -> None:
    catalog = service.engine.catalog
    if how == "revoked":
        service.run(catalog.revoke_key(token.partition(".")[0]))
    else:
        service.run(catalog.update_tenant("default", state=TenantState.SUSPENDED))


@pytest.mark.parametrize("how", ["revoked", "suspended"])
def test_a_batch_ends_with_its_credential(
    service: Service, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    token = token_of(service, "mine")
    service.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def slowly(self: Session, bucket: str, key: str, **more: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(Session, "delete", slowly)
    wish = {"bucket": "plain", "keys": [f"k{n}" for n in range(20)], "async": True, "batch_id": "b"}
    assert service.ask("POST", "/api/v1/batch/delete", json.dumps(wish)).status == 202
    put_out_of_use(service, how, token)
    batch: Any = None
    for _ in range(70):
        batch = service.run(service.engine.batches.get("default", "b"))
        if batch.state.value != "running":
            break
        time.sleep(0.1)
    assert batch.state.value == "cancelled"
    assert how in batch.failures[0].detail
    assert batch.done == 0


@pytest.mark.parametrize("batch_id", [None, "d"])
def test_an_archive_breaks_off_with_its_credential(
    service: Service, monkeypatch: pytest.MonkeyPatch, batch_id: str | None
) -> None:
    token = token_of(service, "mine")
    service.headers = {"Authorization": f"Bearer {token}"}
    for number in range(30):
        assert service.put(f"k{number}").status == 201
    there = archives._member

    async def revoking(archive: Any, name: str, version: Any, chunks: Any) -> AsyncIterator[bytes]:
        if name == "k3":
            await service.engine.catalog.revoke_key(token.partition(".")[0])
            service.engine.directory._known.clear()
        async for chunk in there(archive, name, version, chunks):
            yield chunk

    monkeypatch.setattr(archives, "_member", revoking)
    wish = {"bucket": "plain", "keys": [f"k{number}" for number in range(30)], "format": "tar"}
    if batch_id is not None:
        wish["batch_id"] = batch_id
    body = json.dumps(wish).encode()
    head = (
        f"POST /api/v1/batch/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    answer = service.raw(head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"k2" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"k25" not in answer
