"""Interrupted, cut off, squeezed: the command line stops at once, quietly, and leaves nothing half-done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.doors.cli_tools import EXECUTABLE, Place, clean_environment, embedded, noise

pytestmark = pytest.mark.doors

BIG = 300 << 20


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "embedded":
        found = embedded(tmp_path)
    else:
        found = request.getfixturevalue("server").place(tmp_path)
    found.run("mb", "bucket", "--if-absent")
    return found


def shell(place: Place, line: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `hf` is the executable with the place's options."""
    where = " ".join(place.where)
    script = f'set -o pipefail\nhf() {{ command="$1"; shift; {EXECUTABLE} "$command" {where} "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=place.folder,
        env=clean_environment(**place.environment),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_a_closed_pipe_is_no_drama(place: Place) -> None:
    (place.folder / "lines").write_text("line\n" * 2_000_000)
    place.run("put", "lines", "bucket/lines")
    done = shell(place, "hf cat bucket/lines | head -1")
    assert done.stdout == "line\n"
    assert done.stderr == ""
    assert done.returncode == 141  # as `cat` itself ends, for pipefail
    many = place.folder / "many"
    many.mkdir()
    for index in range(200):
        (many / f"{index:0100}").write_bytes(b"")
    place.run("put", "-r", "many", "bucket/many", "--jobs", "16", "--quiet")
    done = shell(
        place,
        "hf ls -r bucket/many | head -1; hf ls bucket/many --json | head -1 | cut -c1-10; hf ls | head -0",
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2


def test_ctrl_c_during_get_leaves_the_old_file(place: Place) -> None:
    source = place.folder / "source"
    source.write_bytes(noise(40 << 20))
    place.run("put", "source", "bucket/big")
    (place.folder / "target").write_bytes(b"old")
    process = place.start("get", "bucket/big", "target", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while (
        not list(place.folder.glob(".target.*.part"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (130, 0)  # 0: it was faster than the signal
    assert b"Traceback" not in err
    if process.returncode == 130:
        assert (place.folder / "target").read_bytes() == b"old"
    assert not list(place.folder.glob(".*part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_put_that_is_stopped_stores_nothing(place: Place, number: signal.Signals) -> None:
    process = place.start(
        "put", "-", "bucket/endless", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(noise(3 << 20))
    process.stdin.flush()
    time.sleep(1.5)
    process.send_signal(number)
    started = time.monotonic()
    assert process.wait(20) == 128 + number
    assert time.monotonic() - started < 10
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    place.run("stat", "bucket/endless", status=3)
    process.stdin.close()


def test_ctrl_c_while_the_reader_of_a_pipe_sleeps(place: Place) -> None:
    (place.folder / "source").write_bytes(noise(4 << 20))
    place.run("put", "source", "bucket/source")
    process = place.start("cat", "bucket/source", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(10)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_a_disk_that_is_full_is_said_so(place: Place) -> None:
    place.run("put", "-", "bucket/key", stdin=noise(200_000))
    done = shell(place, "ulimit -f 50; trap '' XFSZ; hf get bucket/key target")
    assert done.returncode == 13
    assert "quota_exceeded" in done.stderr
    assert not (place.folder / "target").exists()
    assert not list(place.folder.glob(".*part"))


def test_local_files_that_cannot_be_read(place: Place) -> None:
    if os.geteuid() == 0:
        target = "/proc/self/mem"  # readable by name, not by content
        result = place.run("put", target, "bucket/key", status=None)
        assert result.status in (7, 10, 12, 15)
    else:
        (place.folder / "secret").write_text("x")
        (place.folder / "secret").chmod(0)
        place.run("put", "secret", "bucket/key", status=12)
    place.run("put", ".", "bucket/key", status=7)
    place.run("put", "missing", "bucket/key", status=7)


_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak(place: Place, *arguments: str, stdin: str | None = None) -> int:
    """Run a command and return the most memory it had, in MiB."""
    with open(place.folder / stdin if stdin else os.devnull, "rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, EXECUTABLE, *arguments, *place.where],
            cwd=place.folder,
            env=clean_environment(**place.environment),
            stdin=file,
            capture_output=True,
            text=True,
            timeout=110,
        )
    status, size = done.stdout.split()
    assert status == "0", done.stderr
    return int(size)


def test_big_files_go_through_little_memory(place: Place) -> None:
    with (place.folder / "big").open("wb") as file:
        for index in range(BIG >> 20):
            file.write(noise(1 << 20, seed=index))
    small = peak(place, "ls")
    used = {
        "put": peak(place, "put", "big", "bucket/big"),
        "get": peak(place, "get", "bucket/big", "back"),
        "cat": peak(place, "cat", "bucket/big"),
        "stdin": peak(place, "put", "-", "bucket/big2", stdin="big"),
    }
    assert (place.folder / "back").stat().st_size == BIG
    assert subprocess.run(["cmp", "big", "back"], cwd=place.folder).returncode == 0
    assert all(size < small + 80 for size in used.values()), (small, used)
    place.run("rm", "bucket/big", "bucket/big2")


def test_a_terminal_sees_progress_and_colours_nothing_else(place: Place) -> None:
    import pty

    (place.folder / "big").write_bytes(noise(30 << 20))
    ours, theirs = pty.openpty()
    process = place.start("put", "big", "bucket/big", stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.stdout is not None
    out = process.stdout.read()
    assert process.wait(30) == 0
    os.close(ours)
    assert b"30.0" in shown or b"31.5" in shown  # the bar's total
    assert out.decode() == "big → bucket/big  30.0 MiB\n"
