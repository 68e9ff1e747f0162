"""`holdfast tenant delete`, `restore` and `provision`, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app

pytestmark = pytest.mark.doors


class Shell:
    """Runs commands on one data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, "--data", str(self.folder / "data")])
        assert done.exit_code == status, done.output
        return done.output

    def record(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json"))
        return found


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_SERVER", "HOLDFAST_DATA", "HOLDFAST_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path)


def test_a_hierarchy_with_its_folders_on_disk(shell: Shell, tmp_path: Path) -> None:
    shell("tenant", "create", "acme")
    config = tmp_path / "h.toml"
    config.write_text(
        f'data = "{tmp_path / "data"}"\n[stores.disk]\ndriver = "local"\npath = "{tmp_path / "disk"}"\n'
        'create = true\nlayout = "readable"\n[placement]\nstores = ["disk"]\n'
    )
    arguments = ["tenant", "provision", "acme", "--category", "summer", "--config", str(config)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "made 4 of 4 buckets, 16 folders; 0 folders were there" in done.output
    assert "store disk: made 16 folders" in done.output
    assert (tmp_path / "disk" / "acme" / "portraits" / "summer" / "QR").is_dir()
    again = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert (again["buckets_made"], again["folders_made"], again["folders_there"]) == ([], [], 16)
    assert again["stores"]["disk"]["there"] == 16


def test_delete_restore_and_the_end(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engine.removing.NOTICED", 0)
    shell("tenant", "create", "acme")
    shell("tenant", "provision", "acme", "--content-type", "notes", "--category", "a", "--subfolder", "b")
    shown = shell.record("tenant", "show", "acme")
    assert shown["buckets"] == {"notes": {"objects": 1, "versions": 1, "bytes": 0}}
    assert (shown["categories"], shown["subfolders"]) == (["a"], ["b"])
    assert "bucket notes: 1 objects, 0 bytes" in shell("tenant", "show", "acme")
    assert "until then: holdfast tenant restore acme" in shell("tenant", "delete", "acme", "--grace", "1h")
    assert shell.record("tenant", "show", "acme")["state"] == "deleting"
    shell("tenant", "resume", "acme", status=6)
    assert "acme is active" in shell("tenant", "restore", "acme")
    shell("tenant", "delete", "default", status=6)
    shell("tenant", "delete", "acme", "--grace", "soon", status=7)
    shell("tenant", "delete", "acme", "--grace", "0s")
    assert shell.record("sweep", "--dry-run")["removed_tenants"] == []
    assert "removed tenant acme" in shell("sweep")
    assert [json.loads(line)["tenant"] for line in shell("tenant", "ls", "--json").splitlines()] == [
        "default"
    ]
    assert "its audit is kept" in shell("tenant", "create", "acme", status=4)
    verdicts = shell("audit", "verify")
    assert "acme" in verdicts
