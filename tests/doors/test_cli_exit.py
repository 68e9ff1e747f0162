"""Every kind of error ends the program with a status of its own, one clear line, and no traceback."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from holdfast.cli.exit import (
    BROKEN_PIPE,
    BROKEN_PROMISE,
    ENDINGS,
    INTERRUPTED,
    TERMINATED,
    USAGE,
    ending,
    hint,
)
from holdfast.core.errors import (
    BY_CODE,
    KINDS,
    HoldfastError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from tests.doors.cli_tools import EXECUTABLE, Place, clean_environment, embedded, free_port

pytestmark = pytest.mark.doors


def test_every_kind_has_a_status_of_its_own() -> None:
    assert set(ENDINGS) == set(KINDS)
    statuses = [end.status for end in ENDINGS.values()]
    reserved = {0, USAGE, BROKEN_PROMISE, INTERRUPTED, BROKEN_PIPE, TERMINATED}
    assert len(set(statuses)) == len(KINDS)
    assert not reserved & set(statuses)
    assert all(0 < status < 126 for status in statuses)


def test_a_kind_within_a_kind_ends_as_its_parent() -> None:
    class SpecialError(NotFoundError):
        """A narrower kind."""

    assert ending(SpecialError("x")) == ENDINGS[NotFoundError]


@pytest.mark.parametrize("kind", [UnauthenticatedError, PermissionDeniedError])
def test_the_hint_of_a_store_is_about_its_credentials(kind: type[HoldfastError]) -> None:
    assert "credentials of store far" in hint(kind("no", store="far"))
    assert "credentials of store" not in hint(kind("no"))


class _Refusing(BaseHTTPRequestHandler):
    """Answers every request with the error that its path names."""

    protocol_version = "HTTP/1.1"
    statuses: ClassVar[dict[str, int]] = {"not_found": 404, "unauthenticated": 401, "internal": 500}

    def do_GET(self) -> None:
        code = self.path.split("/list/")[1].split("?")[0].replace("-", "_")
        problem = {"code": code, "detail": f"told that it is {code}", "request_id": "r-1"}
        body = json.dumps(problem).encode()
        self.send_response(self.statuses.get(code, 400))
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_each_kind_ends_the_program_as_the_table_says(
    kind: type[HoldfastError], refusing: str, tmp_path: Path
) -> None:
    place = Place(tmp_path, ["--server", refusing])
    bucket = kind.code.replace("_", "-")
    result = place.run("ls", bucket, status=ENDINGS[kind].status)
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert f"told that it is {kind.code}" in result.err
    assert f"({kind.code})" in result.err
    told = json.loads(place.run("ls", bucket, "--json", status=ENDINGS[kind].status).err)
    assert told["error"]["code"] == kind.code
    assert told["error"]["code"] in BY_CODE


def test_usage_errors_end_with_2(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("no-such-command", status=2)
    place.run("ls", "--no-such-option", status=2)
    place.run("rm", status=2)


def test_a_server_that_is_down(tmp_path: Path) -> None:
    place = Place(tmp_path, ["--server", f"http://127.0.0.1:{free_port()}"])
    result = place.run("ls", status=15)
    assert "cannot connect" in result.err


def test_urls_that_cannot_be_a_server(tmp_path: Path) -> None:
    for url in ("ftp://x", "http://", "localhost:80", "http://user:canary-secret@host", "http://host:99999"):
        result = Place(tmp_path, ["--server", url]).run("ls", status=19)
        assert "canary-secret" not in result.err


def test_no_data_directory_is_made_by_looking(tmp_path: Path) -> None:
    result = embedded(tmp_path).run("ls", status=19)
    assert "no data directory" in result.err
    assert Place(tmp_path).run("ls", status=19)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_missing_or_wrong(tmp_path: Path) -> None:
    Place(tmp_path, ["--config", "missing.toml"]).run("ls", status=19)
    (tmp_path / "bad.toml").write_text("port = [")
    assert "TOML" in Place(tmp_path, ["--config", "bad.toml"]).run("ls", status=19).err
    (tmp_path / "unknown.toml").write_text('colour = "blue"')
    assert "colour" in Place(tmp_path, ["--config", "unknown.toml"]).run("ls", status=19).err


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    embedded(tmp_path).run("mb", "bucket", status=19)


def test_places_cannot_be_mixed(tmp_path: Path) -> None:
    place = Place(tmp_path, ["--server", "http://127.0.0.1:1", "--data", "d"])
    assert "--server" in place.run("ls", status=19).err
    assert Place(tmp_path, ["--server", "http://127.0.0.1:1"]).run("sweep", status=19)


def test_a_token_is_never_shown(tmp_path: Path, refusing: str) -> None:
    secret = "id.canary-0123456789abcdef"
    shown = subprocess.run(
        [EXECUTABLE, "ls", "not-found", "--server", refusing, "--token", secret, "--debug"],
        capture_output=True,
        env=clean_environment(),
        timeout=60,
    )
    assert b"Traceback" in shown.stderr
    assert b"canary" not in shown.stderr + shown.stdout
    (tmp_path / "empty").write_text("")
    Place(tmp_path, ["--server", refusing, "--token-file", "empty"]).run("ls", "x", status=19)
    Place(tmp_path, ["--server", refusing, "--token-file", "missing"]).run("ls", "x", status=19)
    (tmp_path / "two").write_text(f"{secret}\n{secret}\n")
    result = Place(tmp_path, ["--server", refusing, "--token-file", "two"]).run("ls", "x", status=19)
    assert "canary" not in result.err
    result = Place(tmp_path, ["--server", refusing, "--token", secret + "\u00e9"]).run("ls", "x", status=19)
    assert "canary" not in result.err
