"""A store of an archive class, on moto: what is put there sleeps, and wakes when the test says so."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from holdfast.backends.object_store import open_s3
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.types import EMPTY
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.jobs.tiering import Archive
from holdfast.layers import stack
from holdfast.policy.placement import Rule
from holdfast.testing.servers import S3Server
from tests.engine.alone import Ran, run_alone
from tests.engine.outage import Ground

PLAIN = {"tenant": "default", "bucket": "plain"}


def restoring(server: S3Server, *, ends: bool) -> None:
    """Say whether what is asked to wake is awake at once, or never."""
    how = {"progression": "immediate"} if ends else {"progression": "manual", "times": 1_000_000}
    told = {"model_name": "s3::keyrestore", "transition": how}
    address = f"{server.endpoint}/moto-api/state-manager/set-transition"
    request = urllib.request.Request(address, json.dumps(told).encode(), {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        assert answer.status == 201


def asked(server: S3Server, **changes: Any) -> S3Settings:
    values: dict[str, Any] = {
        "endpoint": server.endpoint,
        "bucket": server.bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "allow_http": True,
        "storage_class": "DEEP_ARCHIVE",
    }
    return S3Settings.model_validate(values | changes)


@asynccontextmanager
async def deep(
    url: str,
    server: S3Server,
    *rules: Rule,
    others: Mapping[str, Mapping[str, Any]] = EMPTY,
    describe: str = "always",
    read_only: bool = False,
    **changes: Any,
) -> AsyncIterator[tuple[Engine, Session]]:
    """Give an engine with the stores of `Ground`, `deep`, which sleeps, and `others` at the same server."""
    restoring(server, ends=False)
    ground = Ground(url)
    environment = ground.environment
    settings = stack.StackSettings(attempts=1, describe=describe, read_only=read_only)  # type: ignore[arg-type]
    for name, told in {"deep": changes, **others}.items():
        backend = open_s3(name, asked(server, **{"prefix": f"{name}/", **told}), environment=environment)
        ground.stores[name] = stack.build(backend, settings, environment=environment)  # type: ignore[assignment]
    async with ground.opened(*rules) as (engine, session):
        engine.stores.own["deep"].labels = frozenset({"archive"})
        yield engine, session


async def archived(engine: Engine) -> Ran:
    """Archive all, and let the time pass in which the old copies would still be read."""
    ran = await run_alone(engine, Archive(), PLAIN)
    engine.context.environment.clock.advance(1000)  # type: ignore[attr-defined]
    return ran
