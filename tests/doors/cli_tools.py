"""The real `holdfast` executable, over an engine of its own or against a real server."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doors import preloaded

EXECUTABLE = str(Path(sys.executable).with_name("holdfast"))


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's variables without any of Holdfast's own, and without proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HOLDFAST_") and not name.lower().endswith("_proxy")
    }
    return {**kept, "COLUMNS": "200", **extra}


@dataclass
class Result:
    """How a run ended."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of JSON that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Place:
    """Where the commands of a test work."""

    folder: Path
    where: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, *arguments: str, stdin: bytes | None = None, status: int | None = 0, **extra: str
    ) -> Result:
        """Run one command and check its exit status (None: any)."""
        done = subprocess.run(
            [preloaded.executable(), *arguments, *self.where],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            cwd=self.folder,
            env=clean_environment(**self.environment, **extra),
            timeout=90,
        )
        result = Result(done.returncode, done.stdout, done.stderr.decode())
        assert "Traceback" not in result.err, result.err
        if status is not None:
            assert result.status == status, (arguments, result.status, result.out[:2000], result.err[:2000])
        return result

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
        """Start one command and leave it running."""
        return subprocess.Popen(
            [EXECUTABLE, *arguments, *self.where],
            cwd=self.folder,
            env=clean_environment(**self.environment),
            **how,
        )


def embedded(folder: Path) -> Place:
    """Return a place without a server."""
    return Place(folder, ["--data", str(folder / "data")])


def noise(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running service."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    lines: list[str]

    def place(self, folder: Path) -> Place:
        """Return a place that talks to this server."""
        return Place(folder, ["--server", self.url], {"HOLDFAST_TOKEN": self.token} if self.token else {})


@contextmanager
def serving(data: Path, *flags: str, program: str = EXECUTABLE, **variables: str) -> Iterator[Server]:
    """Run `holdfast serve` until the block ends; by `preloaded.executable()` it starts at once, and ends by SIGKILL."""
    port = free_port()
    process = subprocess.Popen(
        [program, "serve", "--data", str(data), "--port", str(port), *flags],
        env=clean_environment(**variables),
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    lines: list[str] = []
    reader = threading.Thread(target=_gather, args=(process, lines), daemon=True)
    reader.start()
    try:
        _wait(port, process, lines)
        token = "" if "--dev" in flags else _token(lines)
        yield Server(f"http://127.0.0.1:{port}", token, process, lines)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        reader.join(5)


def _gather(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.decode(errors="replace").rstrip("\n"))


def _wait(port: int, process: subprocess.Popen[bytes], lines: list[str]) -> None:
    for _ in range(300):
        assert process.poll() is None, "\n".join(lines)
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not come up:\n" + "\n".join(lines))


def _token(lines: list[str]) -> str:
    for line in lines:
        if re.fullmatch(r"\s+[\w.~-]{20,}", line):
            return line.strip()
    raise AssertionError("no token was printed:\n" + "\n".join(lines))
