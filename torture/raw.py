"""Broken requests by the thousand, sent to the real server over plain sockets.

Each trial takes a request of the corpus, breaks it further as its seed says, and sends it in front of one more. Whatever
comes back must be answers that can be read one after the other, none of them a defect (500), none of success when the
request could be read in two ways; the connection must end or stay usable; and the server must live, in bounded memory.
"""
# ruff: noqa: T201, S311, S603 - this prints; chance is replayable on purpose; the server is started without a shell

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from holdfast.testing.servers import free_port, stop
from torture.raw_corpus import BEHIND, CORPUS, ENDING, SOUND

_BASES: Final = [*CORPUS.values(), *ENDING.values(), *SOUND.values()]
_NASTY: Final = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\x0b",
        b"\x7f",
        b"\xff",
        b"%00",
        b"%0d%0a",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"0\r\n\r\n", b"\r\n\r\n"),
    *(
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\n",
        b"Trailer: Host\r\n",
        b"1\r\na\r\n",
    ),
)
_LONGEST: Final = 500_000
_PATIENCE: Final = 20.0  #: seconds after which the server should long have closed
_AT_A_TIME: Final = 24
_MOST_MEMORY: Final = 400 << 20
_SETTINGS: Final = """
[limits]
header_timeout = "1s"
idle_timeout = "1s"
body_window = "2s"
"""
#: So that what should be refused would succeed if it were not.
_BUCKET: Final = (
    b"POST /api/v1/buckets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Connection: close\r\nContent-Length: 17\r\n\r\n{"name": "plain"}'
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one seed did: the statuses that came back, and what is wrong with that."""

    seed: int
    statuses: tuple[int, ...]
    wrong: str = ""


def report(trials: int, seed: int, *, replay: int | None = None) -> bool:
    """Run the trials, print what came back, and tell whether all was as promised."""
    seeds = [replay] if replay is not None else [seed * 1_000_003 + number for number in range(trials)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-raw-") as home, _server(Path(home)) as (process, port):
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            found = list(threads.map(lambda one: trial(one, port), seeds))
        alive, memory = process.poll() is None and _lives(port), _memory(process.pid)
        log = (Path(home) / "log").read_text(errors="replace")
    wrong = [one for one in found if one.wrong]
    defects = log.count('"request failed"') + log.count("the application")
    for one in wrong[:10]:
        print(f"raw: seed {one.seed}: {one.wrong} {one.statuses}")
    classes = Counter(f"{status // 100}xx" for one in found for status in one.statuses)
    silent = sum(not one.statuses for one in found)
    print(
        f"raw: {len(found):,} requests in {time.monotonic() - began:.0f} s: answers {dict(sorted(classes.items()))}, "
        f"{silent:,} cut off without one; {len(wrong)} wrong, {defects} defects in the log, "
        f"server {'alive' if alive else 'DEAD'}, {memory >> 20} MiB"
    )
    return not wrong and not defects and alive and memory < _MOST_MEMORY


def trial(seed: int, port: int) -> Trial:
    """Break a request as `seed` says, send it, and judge the answers."""
    request = mutant(Random(seed))
    answer, closed = _exchange(port, request + BEHIND)
    statuses, sound = read_answers(answer)
    if not closed:
        return Trial(seed, statuses, "the connection stays open")
    if not sound:
        return Trial(seed, statuses, "the answers cannot be read one after the other")
    if any(status >= 500 and status not in (501, 503, 507) for status in statuses):
        return Trial(seed, statuses, "a defect")
    if statuses and 200 <= statuses[0] < 300 and (why := ambiguous(request)):
        return Trial(seed, statuses, f"success, though {why}")
    return Trial(seed, statuses)


def mutant(chance: Random) -> bytes:
    """Return a request of the corpus with one to four further faults."""
    data = bytearray(chance.choice(_BASES))
    for _ in range(chance.randint(1, 4)):
        # Most faults go where the head is, which is where they matter.
        at = chance.randrange(min(len(data), chance.choice((80, 300, len(data) or 1))) + 1) if data else 0
        match chance.randrange(6):
            case 0:
                del data[at : at + chance.randint(1, 3)]
            case 1:
                data[at:at] = chance.choice(_NASTY)
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                data[at:at] = bytes(data[at : at + chance.randint(1, 60)]) * chance.randint(1, 3)
            case 4:
                other = chance.choice(_BASES)
                data[at:] = other[chance.randrange(len(other) + 1) :]
            case 5:
                del data[chance.randrange(len(data) + 1) :]
    return bytes(data[:_LONGEST])


def ambiguous(request: bytes) -> str:
    """Return why a request may be read in two ways, "" when it is none of the ways looked for here."""
    head = request.lstrip(b"\r\n").partition(b"\r\n\r\n")[0]
    if b"\0" in head:
        return "there is a NUL in its head"
    if re.search(rb"(?<!\r)\n|\r(?!\n)", head):
        return "a line of its head ends in half a line break"
    if re.search(rb"\r\n[ \t]", head):
        return "a line of its head is folded"
    names = Counter(line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n")[1:])
    if names[b"content-length"] and names[b"transfer-encoding"]:
        return "it has a length and a coding"
    return next(
        (
            f"it has two {name.decode()}"
            for name in (b"content-length", b"transfer-encoding", b"host")
            if names[name] > 1
        ),
        "",
    )


def read_answers(data: bytes) -> tuple[tuple[int, ...], bool]:
    """Return the statuses of the answers in `data`, and whether each began where the one before ended."""
    statuses = []
    while data:
        match = _STATUS.match(data)
        head, found, rest = data.partition(b"\r\n\r\n")
        if match is None or not found:
            return tuple(statuses), False
        status = int(match[1])
        statuses.append(status)
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if status == 100 or status == 204 or length is None:
            data = rest
        else:
            data = rest[int(length[1]) :] if not _is_head(rest) else rest
    return tuple(statuses), True


def _is_head(rest: bytes) -> bool:
    """Tell whether an answer's body was left out: what follows its head is the next answer, or nothing."""
    return not rest or _STATUS.match(rest) is not None


def _exchange(port: int, data: bytes) -> tuple[bytes, bool]:
    found = b""
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        try:
            while chunk := sock.recv(65536):
                found += chunk
        except TimeoutError:
            return found, False
        except OSError:
            pass
    return found, True


@contextlib.contextmanager
def _server(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    (home / "holdfast.toml").write_text(f"port = {port}\n{_SETTINGS}")
    command = [sys.executable, "-m", "holdfast", "serve", "--dev", "--data", str(home / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--config", str(home / "holdfast.toml")],
            stdout=log,
            stderr=log,
            cwd=home,
            env=environment,
        )
    try:
        until = time.monotonic() + 40
        while not _lives(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not come up: {(home / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        _exchange(port, _BUCKET)
        yield process, port
    finally:
        stop(process)


def _lives(port: int) -> bool:
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        return _exchange(port, request)[0].startswith(b"HTTP/1.1 200")
    return False


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
