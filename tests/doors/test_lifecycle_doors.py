"""Holds, locks and lifecycle rules over REST, on the command line and from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.retention import LockMode
from holdfast.policy.lifecycle import Action
from tests.doors.cli_tools import embedded
from tests.doors.rest_service import Answer, Service, serving

pytestmark = pytest.mark.doors

RULES = [
    {"name": "age", "prefix": "logs/", "expire_days": 30},
    {"name": "cool", "transitions": [{"to": "label:archive", "days": 1}]},
]


# -- REST -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("lifecycle")) as running:
        yield running


def send(service: Service, method: str, path: str, members: Any = None) -> Answer:
    body = None if members is None else json.dumps(members).encode()
    return service.ask(method, f"/api/v1/{path}", body)


def put(service: Service, path: str) -> str:
    answer = service.ask("PUT", f"/api/v1/objects/{path}", b"content")
    assert answer.status == 201
    return str(answer.json["version_id"])


def test_rules_are_settings_of_a_bucket(service: Service) -> None:
    made = send(service, "POST", "buckets", {"name": "ruled", "lifecycle": RULES})
    assert (made.status, made.json["lifecycle"]) == (201, RULES)
    locked = send(
        service,
        "PATCH",
        "buckets/ruled",
        {"versioning": True, "default_lock": {"mode": "governance", "days": 3}},
    )
    assert locked.json["default_lock"] == {"mode": "governance", "days": 3}
    assert locked.json["lifecycle"] == RULES
    cleared = send(service, "PATCH", "buckets/ruled", {"lifecycle": [], "default_lock": None})
    assert (cleared.json["lifecycle"], cleared.json["default_lock"]) == ([], None)
    for wrong in (
        {"lifecycle": [{"expire_days": 0}]},
        {"lifecycle": [{"name": "x"}]},
        {"lifecycle": "x"},
        {"default_lock": {"mode": "firm", "days": 1}},
        {"default_lock": {"mode": "governance"}},
        {"default_lock": {"mode": "governance", "days": 3}, "versioning": False},
    ):
        answer = send(service, "PATCH", "buckets/ruled", wrong)
        assert answer.status == 400, wrong


def test_a_hold_over_rest(service: Service) -> None:
    version_id = put(service, "plain/held")
    free = {
        "bucket": "plain",
        "key": "held",
        "version_id": version_id,
        "hold": False,
        "mode": None,
        "until": None,
    }
    assert send(service, "GET", "hold/plain/held").json == free
    answer = send(service, "PUT", "hold/plain/held", {"hold": True, "reason": "case 7"})
    assert (answer.status, answer.json) == (200, free | {"hold": True})
    refused = service.ask("DELETE", "/api/v1/objects/plain/held")
    assert refused.status == 409
    assert "legal hold" in refused.json["error"]
    assert service.ask("PUT", "/api/v1/objects/plain/held", b"other").status == 409
    assert send(service, "DELETE", "buckets/plain?force=true").status == 409
    assert service.ask("GET", "/api/v1/objects/plain/held").body == b"content"
    assert send(service, "PUT", "hold/plain/held", {"hold": False}).json == free
    assert service.ask("DELETE", "/api/v1/objects/plain/held").status == 204
    assert send(service, "GET", "hold/plain/held").status == 404
    assert send(service, "PUT", "hold/plain/held", {"hold": "yes"}).status == 400


def test_a_lock_over_rest(service: Service) -> None:
    version_id = put(service, "kept/a/locked")
    path = "retention/kept/a/locked"
    assert send(service, "PUT", path, {"mode": "governance", "until": "2020-01-01T00:00:00Z"}).status == 400
    assert send(service, "PUT", path, {"mode": "governance"}).status == 400
    assert send(service, "PUT", path, {"mode": "governance", "days": 1, "until": "2099-01-01"}).status == 400
    assert send(service, "PUT", path, {"mode": None, "days": 1}).status == 400
    made = send(service, "PUT", path, {"mode": "governance", "until": "2099-01-01T00:00:00Z"})
    assert (made.status, made.json["mode"], made.json["until"]) == (200, "governance", "2099-01-01T00:00:00Z")
    assert send(service, "GET", path).json == made.json
    gone = service.ask("DELETE", f"/api/v1/objects/kept/a/locked?version_id={version_id}")
    assert gone.status == 409
    assert "2099-01-01T00:00:00Z" in gone.json["error"]
    assert send(service, "PUT", path, {"mode": "governance", "days": 3}).status == 409
    lifted = send(service, "PUT", f"{path}?version_id={version_id}", {"mode": None, "reason": "wrong file"})
    assert (lifted.status, lifted.json["until"]) == (200, None)
    assert service.ask("DELETE", f"/api/v1/objects/kept/a/locked?version_id={version_id}").status == 204
    put(service, "plain/k")
    assert send(service, "PUT", "retention/plain/k", {"mode": "compliance", "days": 1}).status == 409


def test_what_becomes_of_an_object_over_rest(service: Service) -> None:
    send(service, "POST", "buckets", {"name": "aging", "lifecycle": RULES, "retention_days": 90})
    put(service, "aging/logs/a")
    told = send(service, "GET", "lifecycle/explain/aging/logs/a").json
    assert [(one["rule"], one["action"], one["to"]) for one in told["wishes"]] == [
        ("cool", "move", "label:archive"),
        ("age", "expire", None),
    ]
    assert (told["now"], told["refused"], told["not_meant"]) == (None, "", [])
    assert told["wishes"][1]["due"].endswith("T00:00:00Z")
    assert send(service, "GET", "lifecycle/explain/aging/none").status == 404


# -- the command line -------------------------------------------------------------------------------------------------
def test_rules_on_the_command_line(tmp_path: Path, name: str) -> None:
    place = embedded(tmp_path)
    place.run("mb", name)
    place.run("put", "-", f"{name}/logs/a", stdin=b"content")
    file = place.folder / "rules.json"
    file.write_text(json.dumps(RULES))
    assert place.run("lifecycle", "check", str(file), "--json").records == RULES
    assert place.run("lifecycle", "set", name, str(file), "--json").records == RULES
    assert "age: prefix logs/, expire_days 30" in place.run("lifecycle", "show", name).out
    assert place.run("lifecycle", "set", name, "-", stdin=json.dumps(RULES[:1]).encode(), status=0)
    [told] = place.run("lifecycle", "explain", f"{name}/logs/a", "--json").records
    assert [one["rule"] for one in told["wishes"]] == ["age"]
    out = place.run("lifecycle", "explain", f"{name}/logs/a").out
    assert "expire  rule age: 30 days since it was made" in out
    assert "age" in place.run("bucket", "show", name).out
    [forecast] = place.run("lifecycle", "run", "--bucket", name, "--dry-run", "--json").records
    assert (forecast["kind"], forecast["objects"]) == ("lifecycle", 0)
    assert "lifecycle done" in place.run("lifecycle", "run", "--bucket", name).out
    place.run("lifecycle", "set", name, "-", stdin=b"[]")
    assert place.run("lifecycle", "show", name, "--json").records == []
    place.run("lifecycle", "check", "-", stdin=b"[{]", status=7)
    place.run("lifecycle", "check", "-", stdin=b'[{"expire": 1}]', status=7)


def test_holds_and_locks_on_the_command_line(tmp_path: Path, name: str) -> None:
    place = embedded(tmp_path)
    place.run("mb", name, "--versioning", "--default-lock", "governance:30")
    place.run("put", "-", f"{name}/k", stdin=b"content")
    [kept] = place.run("lock", "show", f"{name}/k", "--json").records
    assert (kept["mode"], kept["hold"]) == ("governance", False)
    one = ("--version-id", kept["version_id"])
    place.run("rm", f"{name}/k", *one, status=6)
    [held] = place.run("hold", "set", f"{name}/k", "--reason", "case 7", "--json").records
    assert held["hold"]
    place.run("lock", "set", f"{name}/k", "--mode", "none", status=6)
    place.run("lock", "set", f"{name}/k", "--mode", "none", "--bypass", "wrong file")
    assert "legal hold" in place.run("hold", "show", f"{name}/k").out
    place.run("rm", f"{name}/k", *one, status=6)
    place.run("hold", "clear", f"{name}/k")
    place.run("rm", f"{name}/k", *one)
    place.run("put", "-", f"{name}/k", stdin=b"content")
    assert (
        "until 2099-01-01T00:00:00Z"
        in place.run("lock", "set", f"{name}/k", "--mode", "governance", "--until", "2099-01-01").out
    )
    for wrong in (
        ("--mode", "firm", "--days", "1"),
        ("--mode", "none", "--days", "1"),
    ):
        place.run("lock", "set", f"{name}/k", *wrong, status=7)
    place.run("bucket", "set", name, "--default-lock", "none")
    assert place.run("bucket", "show", name, "--json").records[0]["default_lock"] is None
    place.run("bucket", "set", name, "--default-lock", "governance", status=7)


# -- Python -----------------------------------------------------------------------------------------------------------
def test_holds_and_locks_from_python(client: holdfast.Client, name: str) -> None:
    client.create_bucket(name, versioning=True, settings={"lifecycle": RULES})
    made = client.put(name, "logs/a", b"content")
    assert client.hold(name, "logs/a", reason="case 7").keeping.hold
    with pytest.raises(ConflictError):
        client.delete(name, "logs/a", version_id=made.id)
    with pytest.raises(ConflictError):
        client.delete_bucket(name, force=True)
    assert not client.hold(name, "logs/a", False, version_id=made.id).keeping.hold
    locked = client.lock(name, "logs/a", LockMode.GOVERNANCE, days=3)
    assert (locked.version_id, locked.keeping.mode) == (made.id, LockMode.GOVERNANCE)
    kept = client.keeping(name, "logs/a").keeping
    assert abs((kept.until or 0) - (locked.keeping.until or 0)) <= 1_000_000
    with pytest.raises(ConflictError):
        client.lock(name, "logs/a", None)
    with pytest.raises(InvalidRequestError):
        client.lock(name, "logs/a", LockMode.GOVERNANCE)
    longer = client.lock(name, "logs/a", LockMode.GOVERNANCE, until=(kept.until or 0) + 60_000_000)
    assert client.lock(name, "logs/a", None, reason="done").keeping.until is None
    assert (longer.keeping.until or 0) > (kept.until or 0)
    told = client.explain_lifecycle(name, "logs/a")
    assert [(wish.rule, wish.action) for wish in told.wishes] == [
        ("cool", Action.MOVE),
        ("age", Action.EXPIRE),
    ]
    with pytest.raises(NotFoundError):
        client.keeping(name, "none")
    assert client.bucket(name).bucket.settings.lifecycle[0].expire_days == 30


def test_a_described_bucket_has_rules_and_a_default_lock(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "first")
    (place.folder / "holdfast.toml").write_text(
        """
[apply.buckets.logs]
versioning = true
default_lock = { mode = "governance", days = 7 }

[[apply.buckets.logs.lifecycle]]
name = "old"
noncurrent_days = 30
max_size = "1MB"
"""
    )
    file = ("--config", str(place.folder / "holdfast.toml"))
    place.run("apply", "--yes", *file)
    [shown] = place.run("bucket", "show", "logs", "--json").records
    assert shown["lifecycle"] == [{"name": "old", "max_size": 1 << 20, "noncurrent_days": 30}]
    assert shown["default_lock"] == {"mode": "governance", "days": 7}
    assert "nothing to change" in place.run("apply", *file).err
