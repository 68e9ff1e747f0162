"""Closing, forgetting, forking, interrupting, exiting: never a hang, never a traceback."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import ConfigError, InvalidRequestError
from tests.doors.cli_tools import clean_environment

pytestmark = pytest.mark.doors


def run_program(text: str, folder: Path, timeout: float = 40) -> subprocess.CompletedProcess[str]:
    """Run a small program of its own and see how it ends."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(text)],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def threads_named(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == prefix]


def test_a_closed_client_refuses_and_its_thread_is_gone(tmp_path: Path) -> None:
    before = len(threads_named("holdfast"))
    client = holdfast.open(tmp_path / "data")
    client.create_bucket("bucket")
    assert len(threads_named("holdfast")) == before + 1
    client.close()
    client.close()
    assert len(threads_named("holdfast")) == before
    with pytest.raises(InvalidRequestError, match="closed"):
        client.put("bucket", "key", b"")
    with holdfast.open(tmp_path / "data") as again:
        assert [bucket.name for bucket, _ in again.buckets()] == ["bucket"]


def test_a_client_that_cannot_open_leaves_no_thread(tmp_path: Path) -> None:
    before = len(threads_named("holdfast"))
    (tmp_path / "file").write_text("port = [")
    with pytest.raises(ConfigError):
        holdfast.open(tmp_path / "file")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "objects").write_text("in the way")
    with pytest.raises(holdfast.core.errors.HoldfastError):  # type: ignore[attr-defined]
        holdfast.open(tmp_path / "bad")
    assert len(threads_named("holdfast")) == before


def test_a_forgotten_client_closes_itself(tmp_path: Path) -> None:
    before = len(threads_named("holdfast"))
    client = holdfast.open(tmp_path / "data")
    client.create_bucket("bucket")
    del client
    gc.collect()
    deadline = time.monotonic() + 10
    while len(threads_named("holdfast")) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(threads_named("holdfast")) == before


def test_closing_ends_calls_under_way(tmp_path: Path) -> None:
    client = holdfast.open(tmp_path / "data")
    client.create_bucket("bucket")
    started, release = threading.Event(), threading.Event()
    seen: list[Exception] = []

    def endless():  # type: ignore[no-untyped-def]
        yield b"x"
        started.set()
        release.wait(30)
        yield b"y"

    def writer() -> None:
        try:
            client.put("bucket", "key", endless())
        except Exception as error:
            seen.append(error)

    thread = threading.Thread(target=writer)
    thread.start()
    assert started.wait(10)
    client.close()
    thread.join(10)
    release.set()
    assert not thread.is_alive()
    assert isinstance(seen[0], InvalidRequestError)
    with holdfast.open(tmp_path / "data") as again:
        assert list(again.list("bucket")) == []


def test_programs_end_well_however_they_leave_the_client(tmp_path: Path) -> None:
    endings = {
        "forgotten": "",
        "in a with": "client.close()",
        "in the middle of a download": "stream = client.stream('bucket', 'key'); download = stream.__enter__(); next(iter(download))",
        "with an error": "raise SystemExit(0)",
        "in a cycle": "class Node: pass\nnode = Node(); node.self = node; node.client = client; del client",
        "with work in a thread": "import contextlib, threading\ndef work():\n  with contextlib.suppress(Exception):\n    client.get('bucket', 'key')\nthreading.Thread(target=work, daemon=True).start()",
    }
    for name, ending in endings.items():
        program = (
            "import holdfast\nclient = holdfast.open('data')\n"
            "if not client.buckets(): client.create_bucket('bucket')\n"
            "client.put('bucket', 'key', b'x' * 3_000_000)\n" + ending
        )
        started = time.monotonic()
        done = run_program(program, tmp_path)
        assert done.returncode == 0, (name, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr, (name, done.stderr)
        assert time.monotonic() - started < 15, name


def test_ctrl_c_stops_a_call_and_leaves_a_usable_client(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time, holdfast
        client = holdfast.open("data")
        client.create_bucket("bucket")
        def endless():
            while True:
                yield b"x" * 1000
                print("writing", flush=True)
                time.sleep(0.05)
        try:
            client.put("bucket", "key", endless())
        except KeyboardInterrupt:
            print("stopped", list(client.list("bucket")))
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert rest.splitlines()[-1] == "stopped []"
    assert process.returncode == 0


def test_a_forked_child_is_told_and_does_not_hang(tmp_path: Path) -> None:
    program = """
        import os, holdfast
        client = holdfast.open("data")
        client.create_bucket("bucket")
        child = os.fork()
        if child == 0:
            try:
                client.buckets()
            except holdfast.core.errors.InvalidRequestError as error:
                assert "fork" in str(error)
                client.close()
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert [bucket.name for bucket, _ in client.buckets()] == ["bucket"]
    """
    done = run_program(program, tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_holdfast_is_cheap() -> None:
    program = "import sys, holdfast; print(sorted(m for m in ('pydantic', 'aiohttp', 'sqlalchemy', 'rich', 'typer', 'obstore') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment(), timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_open_reads_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "from-variable"))
    with holdfast.open() as client:
        client.create_bucket("bucket")
    assert (tmp_path / "from-variable").is_dir()
    (tmp_path / "holdfast.toml").write_text(f'data = "{tmp_path / "from-file"}"')
    monkeypatch.delenv("HOLDFAST_DATA")
    with holdfast.open(tmp_path / "holdfast.toml") as client:
        client.create_bucket("bucket")
    assert (tmp_path / "from-file").is_dir()
    assert os.environ.get("HOLDFAST_SERVER") is None
    monkeypatch.setenv("HOLDFAST_SERVER", "http://127.0.0.1:1")
    with holdfast.open() as client, pytest.raises(holdfast.core.errors.UnavailableError):  # type: ignore[attr-defined]
        client.buckets()


def test_what_is_no_url_does_not_become_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        holdfast.open("ftp://host/path")
    monkeypatch.setenv("HOLDFAST_SERVER", "localhost:8083")
    with pytest.raises(ConfigError):
        holdfast.open()
    assert list(tmp_path.iterdir()) == []
