"""`holdfast tenant`, `key` and `token`: beside the catalog, without any token."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from holdfast.cli.exit import hint
from holdfast.core.errors import NotFoundError, PermissionDeniedError
from tests.doors.cli_tools import Place, embedded, serving

pytestmark = pytest.mark.doors


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = embedded(tmp_path)
    found.run("mb", "photos")
    return found


def test_keys_are_made_listed_and_revoked(place: Place) -> None:
    options = ("--role", "writer", "--scope", "photos/in/*", "--expires", "90d", "--allow", "10.0.0.0/8")
    (made,) = place.run("key", "create", "ci", *options, "--json").records
    assert re.fullmatch(r"hf[0-9a-f]{20}\.[0-9a-f]{64}", made["token"])
    assert (made["role"], made["scopes"], made["allow"]) == ("writer", ["photos/in/*"], ["10.0.0.0/8"])
    assert made["expires"]
    plain = place.run("key", "create", "other")
    assert plain.out.strip().startswith("hf")
    assert "shown only now" in plain.err
    quiet = place.run("key", "create", "third", "--quiet").out.strip()
    assert re.fullmatch(r"hf[0-9a-f]{20}\.[0-9a-f]{64}", quiet)
    listed = place.run("key", "ls", "--json")
    assert {key["name"] for key in listed.records} == {"ci", "other", "third"}
    assert made["token"].partition(".")[2] not in listed.out
    assert "photos/in/*" in place.run("key", "ls").out
    (gone,) = place.run("key", "revoke", made["id"], "--json").records
    assert gone["revoked"]
    assert "revoked" in place.run("key", "ls").out
    place.run("key", "revoke", "hf0", status=3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "create", "x", "--role", "root"),
        ("key", "create", "x", "--scope", "fly:photos"),
        ("key", "create", "x", "--expires", "soon"),
        ("key", "create", "x", "--allow", "all"),
        ("key", "create", "x", "--requests", "many"),
        ("key", "create", ""),
        ("token", "create", "--expires", "31d"),
        ("token", "create", "--expires", "0s"),
        ("token", "revoke", "what"),
        ("tenant", "create", "../x"),
        ("tenant", "set", "default", "--max-bytes", "much"),
        ("tenant", "set", "default", "--max-objects", "-1"),
    ],
)
def test_what_makes_no_sense_is_refused(place: Place, arguments: tuple[str, ...]) -> None:
    assert place.run(*arguments, status=7).err.startswith("holdfast: ")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("key", "revoke", "hf0"), "holdfast key ls"),
        (("tenant", "show", "nowhere"), "holdfast tenant ls"),
        (("key", "ls", "--tenant", "nowhere"), "holdfast tenant ls"),
        (("job", "pause", "xyz"), "holdfast job list"),
    ],
)
def test_what_is_not_there_is_looked_up_where_it_would_be(
    place: Place, arguments: tuple[str, ...], hint: str
) -> None:
    assert hint in place.run(*arguments, status=3).err


def test_hints_fit_what_was_refused() -> None:
    for kind, command in (
        ("snapshot", "snapshot list BUCKET"),
        ("bucket", "bucket ls"),
        ("schedule", "schedule list"),
    ):
        assert (
            hint(NotFoundError(f"there is no such {kind}")) == f"see which there are with: holdfast {command}"
        )
    assert hint(NotFoundError("there is no store 'x'; see: holdfast store list")) == ""
    for message, text in (
        ("tenant acme is suspended; ask whoever operates this service", "holdfast tenant resume"),
        ("this credential cannot be used from this address", "holdfast tenant set --allow"),
        ("the bucket does not let this address in", "holdfast bucket set --ip-allow"),
        ("role reader does not allow put", "another role"),
    ):
        assert text in hint(PermissionDeniedError(message))


def test_revoking_says_what_ends_what_had_ended_and_who_is_left(place: Place) -> None:
    (boss,) = place.run("key", "create", "boss", "--role", "operator", "--json").records
    (other,) = place.run("key", "create", "other", "--role", "operator", "--json").records
    assert "last key" not in place.run("key", "revoke", other["id"]).err
    again = place.run("key", "revoke", other["id"])
    assert "was revoked already" in again.out
    last = place.run("key", "revoke", boss["id"])
    assert "the last key with the role operator" in last.err
    assert "holdfast key create NAME --role operator" in last.err
    (admin,) = place.run("key", "create", "a", "--role", "admin", "--json").records
    assert "the last key of tenant default with the role admin" in place.run("key", "revoke", admin["id"]).err


def test_suspending_the_tenant_of_the_service_is_told(place: Place) -> None:
    place.run("tenant", "create", "acme")
    assert "of the service itself" not in place.run("tenant", "suspend", "acme").err
    told = place.run("tenant", "suspend", "default").err
    assert "of the service itself" in told
    assert "holdfast tenant resume default" in told


def test_lists_of_networks_are_emptied_with_none_alone(place: Place) -> None:
    place.run("tenant", "create", "acme", "--allow", "10.0.0.0/8", "--deny", "10.1.0.0/16")
    for wrong in (("--allow", ""), ("--deny", " "), ("--allow", "none", "--allow", "10.0.0.0/8")):
        assert "none alone" in place.run("tenant", "set", "acme", *wrong, status=7).err
    (shown,) = place.run("tenant", "set", "acme", "--allow", "none", "--deny", "none", "--json").records
    assert (shown["allow"], shown["deny"]) == ([], [])


def test_tenants_are_made_limited_suspended_and_shown(place: Place) -> None:
    place.run("tenant", "create", "acme", "--max-bytes", "1GB", "--allow", "10.0.0.0/8", "--requests", "50")
    place.run("tenant", "create", "acme", status=4)
    (shown,) = place.run("tenant", "show", "acme", "--json").records
    assert (shown["max_bytes"], shown["allow"], shown["requests"]) == (1 << 30, ["10.0.0.0/8"], 50)
    assert (shown["bytes"], shown["state"]) == (0, "active")
    changed = place.run(
        "tenant", "set", "acme", "--max-bytes", "none", "--max-objects", "7", "--allow", "none", "--json"
    )
    (shown,) = changed.records
    assert (shown["max_bytes"], shown["max_objects"], shown["allow"], shown["requests"]) == (None, 7, [], 50)
    assert "no limit" in place.run("tenant", "show", "acme").out
    assert place.run("tenant", "suspend", "acme", "--json").records[0]["state"] == "suspended"
    assert "suspended" in place.run("tenant", "ls").out
    assert place.run("tenant", "resume", "acme", "--json").records[0]["state"] == "active"
    assert place.run("tenant", "rotate-signing", "acme", "--json").records[0]["signing_generation"] == 2
    place.run("tenant", "show", "nowhere", status=3)
    place.run("key", "create", "first", "--tenant", "acme", "--role", "admin")
    place.run("key", "create", "first", "--tenant", "nowhere", status=3)


def test_tokens_are_signed_inspected_and_revoked(place: Place) -> None:
    options = ("--name", "job", "--role", "writer", "--scope", "read:photos", "--expires", "10m")
    (made,) = place.run("token", "create", *options, "--json").records
    token = made["token"]
    (seen,) = place.run("token", "inspect", token, "--json").records
    assert seen["holds"]
    assert (seen["claims"]["sub"], seen["claims"]["scope"], seen["header"]["alg"]) == (
        "job",
        "read:photos",
        "HS256",
    )
    assert "it holds" in place.run("token", "inspect", token).out
    place.run("token", "inspect", token[:-3] + "AAA", status=11)
    place.run("token", "inspect", "rubbish", status=11)
    place.run("token", "revoke", token)
    assert "revoked" in place.run("token", "inspect", token, status=11).out
    place.run("token", "revoke", made["id"])


def test_a_lost_first_token_is_replaced_while_the_service_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    beside = Place(tmp_path, ["--data", str(data)])
    with serving(data) as server:
        (first,) = beside.run("key", "ls", "--json").records
        assert (first["name"], first["role"]) == ("first admin", "operator")
        beside.run("key", "revoke", first["id"])
        (made,) = beside.run("key", "create", "new boss", "--role", "operator", "--json").records
        time.sleep(5)
        server.place(tmp_path).run("ls", status=11)
        place = Place(tmp_path, ["--server", server.url], {"HOLDFAST_TOKEN": made["token"]})
        place.run("mb", "photos")
        place.run("put", "-", "photos/k", stdin=b"content")
        signed = beside.run("token", "create", "--scope", "get,head:photos", "--quiet").out.strip()
        reading = Place(tmp_path, ["--server", server.url], {"HOLDFAST_TOKEN": signed})
        assert reading.run("cat", "photos/k").raw == b"content"
        reading.run("rm", "photos/k", status=12)
        beside.run("token", "revoke", signed)
        beside.run("tenant", "suspend", "default")
        time.sleep(5)
        reading.run("cat", "photos/k", status=11)
        place.run("ls", status=12)
    said = json.dumps(server.lines)
    for secret in (made["token"].partition(".")[2], signed, signed.rpartition(".")[2]):
        assert secret not in said
