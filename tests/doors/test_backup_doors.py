"""Backups as an operator meets them over REST: begun as a job, listed, shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.types import Principal
from holdfast.jobs.installed import installed
from holdfast.jobs.runner import Runner
from tests.doors.rest_service import serving
from tests.doors.test_proving_doors import roles

pytestmark = pytest.mark.doors
LIST = "/api/v1/backups"


def test_backups_over_rest(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=roles) as service:
        service.headers["Authorization"] = "Bearer operator"
        engine = service.engine
        store = next(name for name, _ in engine.context.stores.items() if name != "catalog")
        assert service.ask("GET", LIST).status == 400  # no store is said
        assert service.ask("GET", f"{LIST}?store=nowhere").status == 404
        empty = service.ask("GET", f"{LIST}?store={store}")
        assert (empty.status, empty.json) == (
            200,
            {"store": store, "backups": [], "damaged": {}, "unfinished": []},
        )
        assert service.ask("GET", f"{LIST}/latest?store={store}").status == 404

        async def furnish() -> None:
            boss = engine.session(Principal("boss", "default", "operator"))
            await boss.create_bucket("papers")
            await boss.put("papers", "a", Body.of_bytes(b"some words"))

        service.run(furnish())
        wish = {"kind": "backup", "spec": {"store": store, "plain": True}}
        set_id = service.ask("POST", "/api/v1/background-jobs", json.dumps(wish).encode()).json["id"]
        service.run(Runner(engine, installed()).run_job(set_id))
        (listed,) = service.ask("GET", f"{LIST}?store={store}").json["backups"]
        assert (listed["set"], listed["versions"], listed["bytes"], listed["recipients"]) == (
            set_id,
            1,
            10,
            [],
        )
        for wanted in ("latest", set_id, set_id[:30]):
            shown = service.ask("GET", f"{LIST}/{wanted}?store={store}")
            assert shown.status == 200
            assert {name: shown.json[name] for name in listed} == listed
            assert (shown.json["made_by"], shown.json["drills"]) == ("a-operator", [])
        for role in ("admin", "writer"):
            for path in (LIST, f"{LIST}/latest"):
                refused = service.ask(
                    "GET", f"{path}?store={store}", None, {"Authorization": f"Bearer {role}"}
                )
                assert refused.status == 403
