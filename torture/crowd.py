"""Writers in processes of their own, killed in the middle of what they send and replaced by others."""
# ruff: noqa: S311 - chance is replayable on purpose

from __future__ import annotations

import http.client
import json
import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

BUCKETS = ("limited", "kept")
_KEYS = 60
_LARGEST = 200_000
_SLICE = 24_000
_HEAD = 3
#: `failed`: another status; `cut`: the connection broke; `unreached`: nobody listened.
COUNTED = ("stored", "refused", "removed", "failed", "cut", "unreached")


class Board:
    """Numbers that all processes see: a port, a phase, kills so far, and what each writer met."""

    def __init__(self, writers: int) -> None:
        self.writers = writers
        self._held = mmap.mmap(-1, 8 * (_HEAD + writers * len(COUNTED)))

    def get(self, place: int) -> int:
        """Return a number."""
        return int(struct.unpack_from("q", self._held, 8 * place)[0])

    def put(self, place: int, value: int) -> None:
        """Set a number; each place has one writer."""
        struct.pack_into("q", self._held, 8 * place, value)

    def count(self, writer: int, what: str) -> None:
        """Count one more of what a writer met."""
        place = _HEAD + writer * len(COUNTED) + COUNTED.index(what)
        self.put(place, self.get(place) + 1)

    def total(self, what: str) -> int:
        """Return how often all writers together met it."""
        offset = _HEAD + COUNTED.index(what)
        return sum(self.get(offset + writer * len(COUNTED)) for writer in range(self.writers))


PORT, PHASE, KILLS = 0, 1, 2
WAIT, RUN, STOP = 0, 1, 2


def crowd(board: Board, kills: int, seed: int, parent: int) -> None:
    """Keep all writers alive but for those that are killed; at the end kill them all. Runs in a process of its own."""
    chance = random.Random(seed)
    alive: dict[int, int] = {}
    lives = 0
    try:
        while board.get(PHASE) != STOP and os.getppid() == parent:
            if board.get(PHASE) == WAIT:
                time.sleep(0.02)
                continue
            for number in set(range(board.writers)) - set(alive.values()):
                lives += 1
                alive[_born(board, number, seed * 1_000_003 + lives)] = number
            time.sleep(chance.uniform(0.02, 0.15))
            if board.get(KILLS) < kills:
                victim = chance.choice(list(alive))
                os.kill(victim, signal.SIGKILL)
                board.put(KILLS, board.get(KILLS) + 1)
            while ended := _ended():
                alive.pop(ended, None)
    finally:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _ended() -> int:
    with suppress(ChildProcessError):
        return os.waitpid(-1, os.WNOHANG)[0]
    return 0


def _born(board: Board, number: int, seed: int) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        chance = random.Random(seed)
        while os.getppid() == parent:
            _live(board, number, chance)
    finally:
        os._exit(0)


def _live(board: Board, number: int, chance: random.Random) -> None:
    """Do one thing to the service."""
    try:
        status, removed = _act(board.get(PORT), chance)
    except ConnectionRefusedError:
        board.count(number, "unreached")
        time.sleep(chance.uniform(0.5, 1.5))
        return
    except (OSError, http.client.HTTPException):
        board.count(number, "cut")
        time.sleep(chance.uniform(0.02, 0.2))
        return
    if status in (507, 413):
        board.count(number, "refused")
        time.sleep(chance.uniform(0, 0.1))
    elif status < 300:
        board.count(number, "removed" if removed else "stored")
    else:
        board.count(number, "failed")
        time.sleep(chance.uniform(0.02, 0.2))


def _act(port: int, chance: random.Random) -> tuple[int, bool]:
    """Do one thing; return its status and whether it was a removal."""
    path = f"{chance.choice(BUCKETS)}/k{chance.randrange(_KEYS)}"
    size = chance.randrange(1, _LARGEST)
    kind = chance.random()
    if kind < 0.2:
        return _ask(port, "DELETE", f"/api/v1/objects/{path}")[0], True
    if kind < 0.35:
        return _in_parts(port, path, size, chance), False
    known = {"Content-Length": str(size)} if kind < 0.8 else {}
    return _ask(port, "PUT", f"/api/v1/objects/{path}", _body(size, chance), known)[0], False


def _in_parts(port: int, path: str, size: int, chance: random.Random) -> int:
    bucket, _, key = path.partition("/")
    about = {"bucket": bucket, "key": key} | ({"size": 2 * size} if chance.random() < 0.7 else {})
    status, answer = _ask(port, "POST", "/api/v1/uploads", iter([json.dumps(about).encode()]))
    if status >= 300:
        return status
    place = f"bucket={bucket}&key={key}"
    upload = f"/api/v1/uploads/{json.loads(answer)['upload_id']}"
    parts = []
    for number in (1, 2):
        sent = _body(size, chance)
        status, answer = _ask(
            port, "PUT", f"{upload}/parts/{number}?{place}", sent, {"Content-Length": str(size)}
        )
        if status >= 300:
            return status
        parts.append({"number": number, "etag": json.loads(answer)["etag"]})
    if chance.random() < 0.3:
        return _ask(port, "DELETE", f"{upload}?{place}")[0]
    done = iter([json.dumps({"parts": parts}).encode()])
    return _ask(port, "POST", f"{upload}/complete?{place}", done)[0]


def _ask(
    port: int,
    method: str,
    path: str,
    body: Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        try:
            connection.request(
                method, path, body, headers or {}, encode_chunked="Content-Length" not in (headers or {})
            )
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent: the answer may be here already
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _body(size: int, chance: random.Random) -> Iterator[bytes]:
    """Yield `size` bytes with pauses, so that there is a middle to die in."""
    while size > 0:
        piece = min(size, _SLICE)
        yield b"x" * piece
        size -= piece
        time.sleep(chance.uniform(0, 0.01))
