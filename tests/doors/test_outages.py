"""A store is down: what the doors tell of it, and how versions are brought home by hand."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from holdfast.api.disks import Disks
from holdfast.api.health import HealthCheck
from holdfast.app import _look_around, local_principal, open_engine
from holdfast.cli.app import app
from holdfast.cli.output import version_facts
from holdfast.cli.stat import describe
from holdfast.config import load
from holdfast.core.backend import StoreState
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo, Principal
from holdfast.engine.engine import Engine
from holdfast.library.http.wire import version_from_headers
from holdfast.policy.placement import Match, Placement, Rule, WhenDown
from tests.doors.rest_service import Service, serving
from tests.helpers import memory_store, run

pytestmark = pytest.mark.doors

RULE = Rule("media", ("local",), Match(buckets=("plain",)), when_down=WhenDown.FALLBACK, fallback=("spare",))


def _operator(engine: Engine) -> Any:
    async def found(token: str) -> Principal:
        return Principal("op", "default", token)

    return found


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose rule lets what `local` does not take go to `spare`; it is asked as an operator."""
    with serving(tmp_path, authenticate=_operator, docs=False) as running:
        engine = running.engine
        engine.stores.own["spare"] = memory_store("spare", Environment())  # type: ignore[attr-defined]
        usual = Rule("default", ("local",), when_down=WhenDown.FALLBACK, fallback=("spare",))
        placing = engine.context.placing
        placing.own = placing._current = Placement(usual, (RULE,))
        running.headers = {"Authorization": "Bearer operator"}
        yield running


def _figures(service: Service) -> dict[str, float]:
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(service.ask("GET", "/metrics").body.decode())
        for sample in family.samples
        if "owed" in sample.name or "fallback" in sample.name
    }


def test_what_went_elsewhere_is_told_everywhere_until_it_is_home(service: Service) -> None:
    assert service.put("before").status == 201
    store = service.engine.stores["local"]
    store.state = StoreState.DOWN
    put = service.put("k", b"hello")
    assert (put.status, put.headers["x-holdfast-owed"]) == (201, "down")
    head = service.ask("HEAD", "/api/v1/objects/plain/k")
    assert (head.status, head.headers["x-holdfast-owed"]) == (200, "down")
    assert service.get("k").body == b"hello"
    assert "x-holdfast-owed" not in service.get("before").headers
    file_id = head.headers["x-holdfast-version-id"]
    known = service.ask("GET", f"/api/v1/files/{file_id}").json
    assert (known["placement"], known["owed"]) == ("owed", "down")
    version = version_from_headers("plain", "k", head.headers)
    assert version_facts(version)["owed"] == "down"
    assert "owed:          to its store, which was down" in describe(version)

    health = service.ask("GET", "/health")
    assert (health.status, health.json["status"], health.json["owed"]) == (200, "degraded", 1)
    waits = "1 object waits on a fallback store to be brought home"
    elsewhere = "rules media, default: store local is down: writers go to the fallback spare"
    assert health.json["problems"] == [elsewhere, waits]
    assert service.ask("GET", "/health/live").status == 200
    told = CliRunner().invoke(app, ["health", "--ready", "--server", f"http://127.0.0.1:{service.port}"])
    assert told.exit_code == 0
    assert f"ready\n  degraded: {elsewhere}\n  degraded: {waits}" in told.stdout
    told = CliRunner().invoke(app, ["health", "--server", f"http://127.0.0.1:{service.port}"])
    assert told.exit_code == 0
    assert f"alive\n  degraded: {elsewhere}\n  degraded: {waits}" in told.stdout
    detailed = service.ask("GET", "/api/v1/health/detailed").json
    assert (detailed["checks"]["placement"], detailed["checks"]["rules"]) == ("degraded", "degraded")
    assert detailed["stores"]["local"]["refusal"] == "is down"
    figures = _figures(service)
    assert figures['holdfast_fallback_writes_total{"store": "local", "to": "spare"}'] == 1
    assert figures['holdfast_owed_versions{"reason": "down"}'] == 1
    assert figures['holdfast_owed_versions{"reason": "copies"}'] == 0

    debts = service.ask("GET", "/api/v1/debts?limit=1").json
    (debt,) = debts["debts"]
    assert (debt["key"], debt["rule"], debt["reason"], debt["tries"]) == ("k", "media", "down", 0)
    assert (debts["counts"], debts["next_after"]) == ({"down": 1}, file_id)
    assert service.ask("GET", f"/api/v1/debts?after={file_id}").json["debts"] == []
    assert service.ask("GET", "/api/v1/debts?bucket=other").json["debts"] == []

    failed = service.ask("POST", "/api/v1/reconcile", '{"debts": true}').json
    assert (failed["failed"], failed["troubles"]) == (1, {"store 'local' is down": 1})
    store.state = StoreState.ACTIVE
    dry = service.ask("POST", "/api/v1/reconcile", '{"debts": true, "dry_run": true}').json
    assert (dry["moved"], dry["copied_bytes"]) == (1, 5)
    assert dry["moves"] == [{"now": "spare", "wanted": "local", "versions": 1}]
    done = service.ask("POST", "/api/v1/reconcile", '{"debts": true}').json
    assert (done["moved"], done["copied_blobs"], done["doomed_copies"]) == (1, 1, 1)
    assert "x-holdfast-owed" not in service.get("k").headers
    assert service.ask("GET", f"/api/v1/files/{file_id}").json["placement"] == "home"
    assert service.ask("GET", "/api/v1/debts").json == {"debts": [], "next_after": "", "counts": {}}


def test_a_rule_change_is_carried_out_page_by_page(service: Service) -> None:
    for number in range(3):
        service.put(f"k{number}", b"x" * 10)
    placing = service.engine.context.placing
    placing.own = placing._current = Placement(placing.own.default, (Rule("all", ("spare",)),))
    wish = {"bucket": "plain", "dry_run": True}
    dry = service.ask("POST", "/api/v1/reconcile", json.dumps(wish)).json
    assert (dry["examined"], dry["moved"], dry["copied_bytes"], dry["after"]) == (3, 3, 30, "")
    done = service.ask("POST", "/api/v1/reconcile", json.dumps({"bucket": "plain"})).json
    assert (done["moved"], done["failed"]) == (3, 0)
    assert service.ask("POST", "/api/v1/reconcile", "{}").json["moved"] == 0
    assert service.get("k1").body == b"x" * 10


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"tenant": "default"}, 400),
        ({"debts": True, "bucket": "plain"}, 400),
        ({"after": "nonsense"}, 400),
        ({"bucket": "nowhere"}, 404),
        ({"unknown": 1}, 400),
    ],
)
def test_what_cannot_be_done_is_said(service: Service, wish: dict[str, Any], status: int) -> None:
    assert service.ask("POST", "/api/v1/reconcile", json.dumps(wish)).status == status


def test_only_operators_see_and_move(service: Service) -> None:
    service.headers = {"Authorization": "Bearer admin"}
    assert service.ask("GET", "/api/v1/debts").status == 403
    assert service.ask("POST", "/api/v1/reconcile", "{}").status == 403


class _Unanswering:
    """A backend that does not answer."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        async for _ in self._inner.list("nothing"):
            yield _
        raise UnavailableError("gone", operation="list", store=self._inner.store)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _unanswering(inner: Any) -> Any:
    return _Unanswering(inner)


def test_ready_as_long_as_something_takes_objects(service: Service) -> None:
    store = service.engine.stores["local"]
    real, store.backend = store.backend, _unanswering(store.backend)
    try:
        assert service.ask("GET", "/health/ready").status == 200
        health = service.ask("GET", "/health")
        assert (health.status, health.json["status"], health.json["minio_connected"]) == (
            200,
            "degraded",
            False,
        )
        assert health.json["problems"] == [
            "store local does not answer: gone",
            "rules media, default: store local does not answer: writers go to the fallback spare",
        ]
        spare = service.engine.stores["spare"]
        spare.backend = _unanswering(spare.backend)
        time.sleep(1.1)  # an answer is repeated for a second
        assert service.ask("GET", "/health/ready").status == 503
        health = service.ask("GET", "/health")
        assert health.status == 503
        assert health.json["problems"][-1] == (
            "rules media, default: store local does not answer, nor the fallback spare, which does not answer:"
            " writers are refused"
        )
        assert service.ask("GET", "/health/live").status == 200
    finally:
        store.backend = real


CONFIG = """
[stores.home]
driver = "local"
path = "{root}/home"
create = true
state = "{state}"
[stores.spare]
driver = "local"
path = "{root}/spare"
create = true
[placement]
stores = ["home"]
when_down = "fallback"
fallback = ["spare"]
inline = 0
"""


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "holdfast.toml"
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "data"))
    runner = CliRunner()

    def holdfast(*arguments: str, data: bytes = b"") -> str:
        done = runner.invoke(app, [*arguments, "--config", str(config)], input=data)
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        return done.stdout

    def write(state: str) -> None:
        config.write_text(CONFIG.format(root=tmp_path, state=state))

    write("down")
    assert "it is down" in holdfast("store", "list")
    holdfast("mb", "box")
    holdfast("put", "-", "box/k", data=b"hello")
    assert json.loads(holdfast("stat", "box/k", "--json"))["owed"] == "down"
    write("active")
    dry = json.loads(holdfast("reconcile", "--debts", "--dry-run", "--json"))
    assert (dry["moved"], dry["moves"]) == (1, [{"now": "spare", "wanted": "home", "versions": 1}])
    assert "looked at 1 versions, moved 1 (1 copies, 5 B)" in holdfast("reconcile", "--debts")
    assert "owed" not in json.loads(holdfast("stat", "box/k", "--json"))
    assert json.loads(holdfast("reconcile", "--bucket", "box", "--dry-run", "--json"))["moved"] == 0


def test_a_missing_seal_key_is_said_at_the_start_and_in_health(tmp_path: Path) -> None:
    far = {"endpoint": "http://127.0.0.1:1", "allow_http": True, "bucket": "b", "access_key": "A"}

    async def story() -> None:
        settings = load(None, data=tmp_path / "data", seal_keys="k1:" + "11" * 32)
        engine = await open_engine(settings)
        desk = engine.session(local_principal(settings)).admin.connections
        await desk.create("far", "s3", {**far, "secret_key": "planted"})
        await engine.close()
        settings, said = load(None, data=tmp_path / "data"), list[str]()
        engine = await open_engine(settings)
        try:
            await _look_around(engine, settings, said.append)
            (line,) = said
            assert line.startswith("WARNING: the secrets of store far are sealed with the key 'k1'")
            disks = Disks(settings, engine.stores, Environment().clock)
            health = HealthCheck(engine, settings, Environment(), disks)
            found = await health._look()
            assert health._problems(found) == [line.removeprefix("WARNING: ")]
            assert "'k1'" in str(health._parts(found)["far"].problem)
        finally:
            await engine.close()

    run(story())
