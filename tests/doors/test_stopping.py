"""Stopping `holdfast serve`: what is in flight is finished, or given up when it is asked for twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.doors.cli_tools import Place, Server, embedded, free_port, serving
from tests.doors.rest_service import read_all

pytestmark = pytest.mark.doors


def uploading(server: Server, key: str) -> socket.socket:
    """Return the connection of an upload that has begun and goes on for as long as we like."""
    port = int(server.url.rpartition(":")[2])
    sock = socket.create_connection(("127.0.0.1", port), 20)
    head = f"PUT /api/v1/objects/bucket/{key} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    sock.sendall(head.encode() + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert b" 100 " in sock.recv(1024)
    sock.sendall(b"4\r\nhalf\r\n")
    return sock


def workers_of(server: Server) -> list[int]:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_does_not_wait(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path / "data", "--dev", "--workers", workers) as server:
        place = server.place(tmp_path)
        place.run("mb", "bucket")
        uploads = [uploading(server, f"k{n}") for n in range(4)]
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        for sock in uploads:
            assert b" 201 " not in read_all(sock)
            sock.close()
        assert not any("Traceback" in line for line in server.lines), server.lines
    place = embedded(tmp_path)
    assert place.run("ls", "bucket", "--json").records == []


def test_one_stop_that_all_processes_hear_of_is_one(tmp_path: Path) -> None:
    """As Ctrl-C in a terminal, or a service manager: workers hear it twice, and still finish what they do."""
    with serving(tmp_path / "data", "--dev", "--workers", "2") as server:
        server.place(tmp_path).run("mb", "bucket")
        sock = uploading(server, "key")
        for pid in [*workers_of(server), server.process.pid]:
            os.kill(pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1.5)
        sock.sendall(b"0\r\n\r\n")
        assert b" 201 " in read_all(sock)
        assert server.process.wait(15) == 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded(tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_keeps_it_from_starting_is_told_in_one_line(place: Place, workers: str) -> None:
    start = ("serve", "--dev", "--workers", workers, "--port")
    said = place.run(*start, "0", status=19, HOLDFAST_SHARED="/proc/nowhere")
    assert "HOLDFAST_SHARED" in said.err
    assert said.err.count("/proc/nowhere") == 1
    said = place.run(*start, "0", status=15, HOLDFAST_CATALOG="postgresql://nobody@127.0.0.1:1/none")
    assert said.err.count("(unavailable)") == 1
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        said = place.run(*start, str(port), status=19)
    assert said.err.splitlines()[0].startswith(f"holdfast: cannot listen on 127.0.0.1 port {port}")
