"""What a job's spec names and is not there is refused before there is a job, to whoever may know of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.installed import installed
from tests.engine.outage import Ground
from tests.helpers import run

pytestmark = pytest.mark.engine

BOSS = Principal("boss", "default", "operator")
MINE = {"tenant": "default", "bucket": "plain"}
NONE = {"tenant": "default", "bucket": "nothing"}
STORES = "holdfast store list"
BUCKETS = "holdfast bucket ls"
#: Kind, spec, what the refusal names, and the command that helps.
SLIPS: list[tuple[str, dict[str, Any], str, str]] = [
    ("migrate", {"source": "home", "target": "nowhere"}, "nowhere", STORES),
    ("finish-move", {"source": "home"}, "home", "holdfast move status"),
    ("drain", {"store": "nowhere"}, "nowhere", STORES),
    ("drain", {"store": "home", "to": "nowhere"}, "nowhere", STORES),
    ("mirror", {"source": "nowhere", "target": "home"}, "nowhere", STORES),
    ("tier", {"store": "nowhere"}, "nowhere", STORES),
    ("tier", {"store": "home", **NONE}, "nothing", BUCKETS),
    ("archive", {"tenant": "acme"}, "acme", "holdfast tenant ls"),
    ("recall", {"stored_in": "nowhere"}, "nowhere", STORES),
    ("scrub", {"store": "nowhere"}, "nowhere", STORES),
    ("scrub", NONE, "nothing", BUCKETS),
    ("fsck", {"store": "nowhere"}, "nowhere", STORES),
    ("rebuild", {"stores": ["home", "nowhere"]}, "nowhere", STORES),
    ("adopt", {"store": "nowhere", **MINE}, "nowhere", STORES),
    ("adopt", {"store": "spare", **NONE}, "nothing", BUCKETS),
    ("follow", NONE, "nothing", BUCKETS),
    ("follow", MINE, "plain", "holdfast upstream attach"),
    ("verify-upstream", MINE, "plain", "holdfast upstream attach"),
    ("lifecycle", {"bucket": "nothing"}, "nothing", BUCKETS),
    ("backup", {"plain": True, "store": "nowhere"}, "nowhere", STORES),
    ("backup", {"plain": True, "store": "spare", **NONE}, "nothing", BUCKETS),
    ("backup-verify", {"store": "nowhere"}, "nowhere", STORES),
    ("backup-prune", {"store": "nowhere", "last": 1}, "nowhere", STORES),
    ("drill", {"store": "nowhere"}, "nowhere", STORES),
    ("restore", {"store": "nowhere", "set": "latest"}, "nowhere", STORES),
    ("rewind", {"bucket": "nothing", "at": "2026-01-01"}, "nothing", BUCKETS),
    ("rewind", {"bucket": "kept", "snapshot": "none"}, "none", "holdfast snapshot list kept"),
    ("clone", {"bucket": "nothing", "target": "another"}, "nothing", BUCKETS),
]


def desk_of(engine: Engine, principal: Principal = BOSS) -> JobDesk:
    return JobDesk(engine, installed(), principal)


async def refusal(desk: JobDesk, kind: str, spec: dict[str, Any]) -> HoldfastError:
    with pytest.raises(HoldfastError) as told:
        await desk.start(kind, spec)
    return told.value


def test_each_slip_is_named_before_there_is_a_job(sqlite_url: str) -> None:
    async def story() -> None:
        async with Ground(sqlite_url).opened() as (engine, _):
            desk = desk_of(engine)
            for kind, spec, name, helps in SLIPS:
                refused = await refusal(desk, kind, spec)
                assert isinstance(refused, NotFoundError), (kind, spec, refused)
                assert name in str(refused), (kind, spec, refused)
                assert helps in refused.message, (kind, spec, refused)
            with pytest.raises(NotFoundError, match="nowhere"):
                await desk.forecast("scrub", {"store": "nowhere"})
            with pytest.raises(NotFoundError, match="nowhere"):
                await desk.put_schedule("nightly", "scrub", "0 3 * * *", {"store": "nowhere"})
            with pytest.raises(InvalidRequestError, match=r"backup\.store"):
                await desk.start("backup", {"plain": True})
            assert (await desk.jobs(), await desk.schedules()) == ([], [])
            assert (await desk.start("scrub", {"store": "home", **MINE})).kind == "scrub"

    run(story())


def test_permission_is_asked_for_before_anything_is_looked_for(sqlite_url: str) -> None:
    async def story() -> None:
        async with Ground(sqlite_url).opened() as (engine, _):
            await engine.catalog.create_tenant("acme")
            await engine.catalog.create_bucket("acme", "theirs")
            theirs = {"tenant": "acme", "at": "2026-01-01"}
            reader = desk_of(engine, replace(BOSS, role="reader"))
            admin = desk_of(engine, replace(BOSS, role="admin"))
            for kind, spec, _, _ in SLIPS:
                assert isinstance(await refusal(reader, kind, spec), PermissionDeniedError), (kind, spec)
            for bucket in (
                "theirs",
                "nothing",
            ):  # what is another tenant's is not told from what is not there
                asked = await refusal(admin, "rewind", {"bucket": bucket, **theirs})
                assert isinstance(asked, PermissionDeniedError)
                own = await refusal(admin, "rewind", {"bucket": bucket, "at": "2026-01-01"})
                assert str(own) == f"tenant 'default' has no bucket {bucket!r}; see: holdfast bucket ls"

    run(story())
