"""What stores are behind, told over HTTP, by the command line, as figures and by the health check."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.contract import Debts
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Principal
from holdfast.policy.placement import Rule
from holdfast.policy.rule_form import check_rule, rule_members, rule_of
from tests.doors.cli_tools import Place
from tests.doors.rest_service import serving

pytestmark = pytest.mark.doors
CONFIG = """
[stores.near]
driver = "local"
path = "near"
create = true
[stores.far]
driver = "local"
path = "far"
create = true
state = "down"
[placement]
stores = ["near", "far"]
acknowledge = %s
inline = 0
"""
NOTHING = {"copies": 0, "bytes": 0, "oldest": None, "oldest_seconds": 0.0}


def test_all_travels_as_it_is_written() -> None:
    rule = rule_of({"name": "a", "stores": ["one", "two"], "acknowledge": "all"})
    assert (rule.acknowledge, rule.needed(2), rule.needed(3)) == ("all", 2, 3)
    assert rule_members(rule)["acknowledge"] == "all"
    assert rule_of(rule_members(rule)) == rule == check_rule(rule, ["one", "two"])
    for wrong in ("some", True, 1.0, None):
        with pytest.raises(InvalidRequestError, match="acknowledge is a whole number, or 'all'"):
            rule_of({"name": "a", "stores": ["one"], "acknowledge": wrong})
    with pytest.raises(InvalidRequestError, match="from 1 to the number of its stores, 1, or 'all'"):
        check_rule(Rule("a", ("one",), acknowledge=2), ["one"])


def test_the_command_line_shows_what_a_store_is_behind(tmp_path: Path) -> None:
    place = Place(tmp_path)
    config = tmp_path / "holdfast.toml"
    config.write_text(CONFIG % 1)
    config.chmod(0o600)
    place.run("mb", "box", "-q")
    place.run("put", "-", "box/k", "-q", stdin=b"12345")
    rows = [json.loads(line) for line in place.run("store", "lag", "--json").out.splitlines()]
    far, near = rows
    assert near == {"store": "near", **NOTHING}
    assert (far["store"], far["copies"], far["bytes"]) == ("far", 1, 5)
    assert far["oldest"] is not None
    assert place.run("store", "lag", "else", status=None).status != 0
    config.write_text(CONFIG % '"all"')
    refused = place.run("put", "-", "box/new", stdin=b"x", status=None)
    assert refused.status != 0
    assert "needs 2 copies, 1 can be made" in refused.err


def test_the_service_tells_operators_how_far_stores_are_behind(tmp_path: Path) -> None:
    def roles(engine: Any) -> Any:
        async def authenticate(token: str) -> Principal:
            return Principal(f"a-{token}", "default", token)

        return authenticate

    with serving(tmp_path, authenticate=roles, lag_limit=5.0) as service:
        service.headers["Authorization"] = "Bearer operator"
        found = service.ask("GET", "/api/v1/lag")
        assert found.status == 200
        assert found.json["stores"]
        assert all(one == {"store": one["store"], **NOTHING} for one in found.json["stores"])
        name = found.json["stores"][0]["store"]
        assert len(service.ask("GET", f"/api/v1/lag?store={name}").json["stores"]) == 1
        assert service.ask("GET", "/api/v1/lag?store=else").status == 404
        figures = service.ask("GET", "/metrics").body.decode()
        for figure in ("copies", "bytes", "oldest_seconds"):
            assert f'holdfast_owed_{figure}{{store="{name}"}} 0.0' in figures
        assert service.ask("GET", "/api/v1/lag", headers={"Authorization": "Bearer admin"}).status == 403
        healthy = service.ask("GET", "/health").json
        assert healthy["problems"] == []

        async def counts() -> dict[str, Debts]:
            return {"copies": Debts(7, await service.engine.catalog.now() - 60_000_000)}

        service.engine.catalog.debt_counts = counts  # type: ignore[method-assign]
        time.sleep(1.1)  # an answer is repeated for a second
        late = service.ask("GET", "/health")
        assert (late.status, late.json["status"], late.json["owed"]) == (200, "degraded", 7)
        assert "copies of 7 objects are owed, the oldest for 60 seconds" in late.json["problems"][0]
        assert service.ask("GET", "/api/v1/health/detailed").json["checks"]["placement"] == "degraded"
