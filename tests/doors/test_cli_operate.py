"""Running and looking after it: serve, store, catalog, config, sweep, help."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.doors.cli_tools import EXECUTABLE, Place, clean_environment, embedded, free_port, serving

pytestmark = pytest.mark.doors


def test_a_command_built_alone_is_the_one_of_the_whole_line() -> None:
    from typer.main import get_command

    from holdfast.cli.app import app
    from holdfast.cli.rooms import ROOMS, WORDS, register

    whole = get_command(app)
    for panel, modules in ROOMS.items():
        for module, words in modules.items():
            alone = typer.Typer()
            alone.callback()(lambda: None)
            register(alone, module, panel)
            assert shape(get_command(alone)) == {word: shape(whole)[word] for word in words}
    assert set(shape(whole)) == set(WORDS)


def shape(command: Any) -> Any:
    """Return the commands below one, each with its options."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(one.name, one.opts) for one in command.params]
    return {name: shape(one) for name, one in below.items()}


def test_help_is_complete(tmp_path: Path) -> None:
    place = Place(tmp_path)
    shown = place.run("--help").out
    for name in [
        "serve",
        "put",
        "get",
        "cat",
        "ls",
        "stat",
        "rm",
        "cp",
        "mb",
        "rb",
        "versions",
        "store",
        "catalog",
        "config",
        "sweep",
        "audit",
        "tenant",
        "key",
        "token",
    ]:
        assert re.search(rf"\b{name}\b", shown), name
        assert "Usage: holdfast " + name in place.run(name, "--help").out
    assert re.fullmatch(r"holdfast \d+\.\d+\S*\n", place.run("--version").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(tmp_path: Path, shell: str) -> None:
    place = Place(tmp_path)
    variables = {
        "_HOLDFAST_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "holdfast ver",
        "COMP_WORDS": "holdfast ver",
        "COMP_CWORD": "1",
    }
    assert (
        "versions"
        in place.run(
            status=None,
            **variables,
            **({"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}),
        ).out
    )
    assert (
        "_HOLDFAST_COMPLETE"
        in subprocess.run(
            [EXECUTABLE, "--show-completion", shell],
            capture_output=True,
            text=True,
            env=clean_environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
            timeout=60,
        ).stdout
    )


def test_the_first_token_is_needed_and_shown_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        Place(tmp_path, ["--server", server.url]).run("ls", status=11)
        wrong = server.token[:-4] + ("aaaa" if not server.token.endswith("aaaa") else "bbbb")
        result = Place(tmp_path, ["--server", server.url, "--token", wrong]).run("ls", status=11)
        assert wrong not in result.err
        assert server.place(tmp_path).run("mb", "bucket").status == 0
        (tmp_path / "token").write_text(server.token + "\n")
        Place(tmp_path, ["--server", server.url, "--token-file", "token"]).run("ls")
        Place(
            tmp_path, [], {"HOLDFAST_SERVER": server.url, "HOLDFAST_TOKEN_FILE": str(tmp_path / "token")}
        ).run("ls")
        token = server.token
    with serving(data, "--dev") as server:
        assert token not in "\n".join(server.lines)
        assert "bucket" in Place(tmp_path, ["--server", server.url]).run("ls").out


def test_dev_stays_on_loopback(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            EXECUTABLE,
            "serve",
            "--dev",
            "--host",
            "0.0.0.0",
            "--port",
            str(free_port()),
            "--data",
            str(tmp_path / "data"),
        ],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=60,
    )
    assert done.returncode == 19
    assert "loopback" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_ends_on_a_signal(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with serving(tmp_path / "data", "--dev") as server:
            server.process.send_signal(number)
            assert server.process.wait(20) in (0, 128 + number, -number)


def test_embedded_and_server_work_on_one_directory(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "bucket")
    with serving(tmp_path / "data", "--dev") as server:
        remote = Place(tmp_path, ["--server", server.url])
        remote.run("put", "-", "bucket/one", stdin=b"over http")
        place.run("put", "-", "bucket/two", stdin=b"embedded")
        assert place.run("cat", "bucket/one").raw == b"over http"
        assert remote.run("cat", "bucket/two").raw == b"embedded"


def test_the_catalog_is_set_up_and_told_about(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("catalog", "status", status=19)
    made = place.run("catalog", "upgrade", "--json").records[0]
    told = place.run("catalog", "status", "--json").records[0]
    assert (told["schema"], told["usable"]) == (made["schema"], True)
    assert "up to date" in place.run("catalog", "status").out
    (tmp_path / "empty").mkdir()
    Place(tmp_path, ["--data", "empty"]).run("catalog", "status", status=19)


def test_stores_are_listed_and_checked(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "bucket")
    assert place.run("store", "list", "--json").records[0]["driver"] == "local"
    outcomes = place.run("store", "check", "local", "--json").records
    assert len(outcomes) >= 50
    assert {outcome["state"] for outcome in outcomes} <= {"kept", "not offered"}
    one = outcomes[0]["promise"]
    shown = place.run("store", "check", "local", "--only", one).out
    assert one in shown
    assert "kept" in shown
    place.run("store", "check", "elsewhere", status=19)
    place.run("store", "check", "local", "--only", "no such promise", status=7)
    assert place.run("ls").out.count("bucket") == 1


def test_a_store_that_breaks_a_promise_is_an_exit_status(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        f'data = "{tmp_path / "data"}"\n[stores.local]\ndriver = "local"\npath = "/proc/self/nowhere"\n'
    )
    place = Place(tmp_path, ["--config", "c.toml"])
    result = place.run("store", "check", "local", status=None)
    assert result.status in (15, 19, 40)


def test_a_store_that_lets_nobody_in_is_named_and_stops_only_who_uses_it(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"AccessKey": "canary-secret", "Secret": "canary-secret"}))
    keys.chmod(0o600)
    (tmp_path / "c.toml").write_text(
        f"""
        data = "{tmp_path / "data"}"
        placement.stores = ["near"]
        [stores.near]
        driver = "local"
        path = "{tmp_path / "near"}"
        create = true
        [stores.far]
        driver = "s3"
        bucket = "blobs"
        credentials = "file"
        credentials_file = "{keys}"
        """
    )
    place = Place(tmp_path, ["--config", "c.toml"])
    said = place.run("mb", "docs").err
    assert "store far was not looked into: credentials = 'file' gave no access_key" in said
    checked = place.run("store", "check", "far", status=11)
    assert checked.out == ""
    assert "gave no access_key" in checked.err
    assert "credentials of store far" in checked.err
    assert "canary-secret" not in said + checked.err
    used = Place(tmp_path, ["--config", "d.toml"])
    text = (tmp_path / "c.toml").read_text()
    (tmp_path / "d.toml").write_text(text.replace('["near"]', '["far"]').replace('/data"', '/other"'))
    refused = used.run("mb", "docs", status=11).err
    assert "credentials of store far" in refused
    (tmp_path / "d.toml").write_text(text.replace('bucket = "blobs"', ""))
    assert "store far: driver s3: setting bucket: Field required" in used.run("ls", status=19).err


def test_the_first_store_makes_the_catalog(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    (tmp_path / "tape").mkdir()
    made = place.run(
        "store", "create", "tape", "--driver", "local", "--set", f"path={tmp_path / 'tape'}", "--activate"
    )
    assert "made store tape" in made.out
    assert "tape" in place.run("store", "list").out


def test_config_shows_where_values_come_from_and_no_secret(tmp_path: Path) -> None:
    canary = "canary-5ecret"
    (tmp_path / "c.toml").write_text(
        f"""
        port = 9000
        catalog = "postgresql://user:{canary}@db.example:5432/holdfast?password={canary}"
        [stores.main]
        driver = "s3"
        bucket = "b"
        access_key = "{canary}"
        secret_key = "{canary}"
        session_token = "{canary}"
        sse_key = "{canary}"
        endpoint = "https://u:{canary}@s3.example"
        """
    )
    place = Place(tmp_path, ["--config", "c.toml"])
    result = place.run(
        "config", "show", "--json", HOLDFAST_HOST="127.0.0.9", HOLDFAST_LIMITS__MAX_REQUESTS="7"
    )
    shown = {record["setting"]: record for record in result.records}
    assert canary not in result.out + result.err
    assert canary not in place.run("config", "show").out
    assert (shown["port"]["value"], shown["port"]["source"]) == (9000, "c.toml")
    assert (shown["host"]["value"], shown["host"]["source"]) == ("127.0.0.9", "HOLDFAST_HOST")
    assert shown["limits.max_requests"]["source"] == "HOLDFAST_LIMITS__MAX_REQUESTS"
    assert shown["workers"]["source"] == "default"
    assert shown["stores.main.bucket"]["value"] == "b"
    assert "db.example" in shown["catalog"]["value"]
    assert (shown["placement.stores"]["value"], shown["placement.stores"]["source"]) == (
        ["main"],
        "the only store",
    )
    assert embedded(tmp_path).run("config", "show", "--json").records[0]["source"] == "flag"


def test_two_variables_for_two_places_are_an_error(tmp_path: Path) -> None:
    both = {"HOLDFAST_SERVER": "http://127.0.0.1:1", "HOLDFAST_DATA": str(tmp_path / "data")}
    for arguments in (("ls",), ("key", "ls")):
        told = Place(tmp_path, [], both).run(*arguments, status=19).err
        assert "unset HOLDFAST_SERVER" in told
        assert "unset HOLDFAST_DATA" in told
    embedded(tmp_path).run("mb", "bucket")
    assert "bucket" in Place(tmp_path, ["--data", str(tmp_path / "data")], both).run("ls").out


def test_sweep_counts_then_deletes(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.environment["HOLDFAST_GRACE"] = "0"
    place.run("mb", "bucket")
    place.run("put", "-", "bucket/key", stdin=b"x" * 100_000)
    place.run("rm", "bucket/key")

    def blobs() -> list[Path]:
        return [path for path in (tmp_path / "data" / "objects" / "default").rglob("*") if path.is_file()]

    before = blobs()
    assert len(before) == 1
    assert "would give up 0" in place.run("sweep", "--dry-run").out
    told = place.run("sweep", "--dry-run", "--json").records[0]
    assert (told["deleted"], told["dry_run"]) == (1, True)
    assert blobs() == before
    assert place.run("sweep", "--json").records[0]["deleted"] == 1
    assert blobs() == []
    told = place.run("sweep", "--json").records[0]
    assert (told["deleted"], told["waiting"], told["waiting_until"]) == (0, 0, "")
    place.environment["HOLDFAST_GRACE"] = "1h"
    place.run("put", "-", "bucket/key", stdin=b"x" * 100_000)
    place.run("rm", "bucket/key")
    lines = place.run("sweep").out.splitlines()
    assert lines[0].startswith("deleted 0 blobs")
    assert re.match(r"1 blobs wait, the first until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: ", lines[1])


def test_a_limit_on_objects_is_told(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "bucket")
    (tmp_path / "file").write_bytes(b"x" * 2000)
    place.run("put", "file", "bucket/key", status=9, HOLDFAST_LIMITS__MAX_OBJECT_SIZE="1KB")
    place.run(
        "put", "-", "bucket/key", stdin=b"x" * 200_000, status=9, HOLDFAST_LIMITS__MAX_OBJECT_SIZE="1KB"
    )


def test_a_data_directory_that_cannot_be_used(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "bucket")
    place.run("put", "-", "bucket/key", stdin=b"x" * 100_000)
    (tmp_path / "data" / "catalog.db").write_bytes(b"this is no database, it is a text of some length" * 100)
    result = place.run("ls", status=None)
    assert result.status in (15, 17, 19)
    assert result.err.count("\n") == 1


def test_output_is_for_people_or_for_programs(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "bucket")
    assert place.run("put", "-", "bucket/key", "--quiet", stdin=b"x").out == ""
    for line in place.run("ls", "-r", "bucket", "--json").out.splitlines():
        assert set(json.loads(line)) >= {
            "bucket",
            "key",
            "version_id",
            "size",
            "etag",
            "sha256",
            "content_type",
            "last_modified",
        }
    bare = subprocess.run(
        [EXECUTABLE, "ls", "--data", str(tmp_path / "data")],
        capture_output=True,
        env={
            "PATH": os.environ["PATH"],
            "LC_ALL": "C",
            "HOME": str(tmp_path),
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        },
        timeout=60,
    )
    assert bare.returncode == 0
    place.run("put", "-", "bucket/ünï", "--quiet", stdin=b"x", LC_ALL="C")
    assert place.run("ls", "bucket", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").out


def test_the_reference_names_every_command_and_option() -> None:
    from holdfast.cli.reference import reference

    page = reference()
    for text in (
        "## holdfast put\n",
        "## holdfast store check\n",
        "## holdfast serve\n",
        "| 19 | `config` |",
        "`--if-absent`",
        "`--dry-run`",
        "`tenant` and `token` work where catalog and stores are",
    ):
        assert text in page
