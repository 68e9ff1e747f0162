"""Clients that hold connections and hardly send: `python -m bench.drip PORT COUNT SECONDS`.

A third says nothing, a third sends a header byte by byte, a third a body, one byte a second each, each at its own moment
of the second, since clients do not know each other. They come from many addresses of loopback, so that it is not the
cap per address which ends them. When all are connected it prints `ready`; in the end, as JSON, how many were closed and
when the last one was, counted from its own connection.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time

_KINDS = ("silent", "headers", "body")
_HEAD = b"Host: localhost\r\n"
_OPENING = {
    "silent": b"",
    "headers": b"GET /api/v1/buckets HTTP/1.1\r\n" + _HEAD + b"X-Slow: ",
    "body": b"PUT /api/v1/objects/bench/slow HTTP/1.1\r\n" + _HEAD + b"Content-Length: 1000000\r\n\r\n",
}
_PER_ADDRESS = 100
_TURNS = 200  #: moments of a second
_TURN = 1 / _TURNS


def main(port: int, count: int, seconds: float) -> dict[str, object]:
    """Hold `count` connections for up to `seconds` and return what became of them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    poll = select.epoll()
    held: dict[int, tuple[socket.socket, str, float]] = {}
    for number in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.1.{number // _PER_ADDRESS % 250 + 1}", 0))
        sock.connect(("127.0.0.1", port))
        kind = _KINDS[number % len(_KINDS)]
        sock.sendall(_OPENING[kind])
        sock.setblocking(False)
        held[sock.fileno()] = (sock, kind, time.monotonic())
        poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
    print("ready", flush=True)
    ends: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    begun = time.monotonic()
    until, turn = begun + seconds, 0
    turns: list[list[int]] = [list(held)[place::_TURNS] for place in range(_TURNS)]
    while held and time.monotonic() < until:
        for fd, _ in poll.poll(_TURN / 2):
            if _closed(held[fd][0]):
                sock, kind, began = held.pop(fd)
                poll.unregister(fd)
                sock.close()
                ends[kind].append(time.monotonic() - began)
        while time.monotonic() >= begun + turn * _TURN:
            for fd in turns[turn % _TURNS]:
                if fd in held and held[fd][1] != "silent":
                    _one_byte(held[fd][0])
            turn += 1
    return {
        "count": count,
        "open": len(held),
        "last": {kind: max(found) if found else None for kind, found in ends.items()},
        "closed": {kind: len(found) for kind, found in ends.items()},
    }


def _closed(sock: socket.socket) -> bool:
    """Read what there is; tell whether the other side has closed."""
    try:
        while sock.recv(4096):
            continue
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def _one_byte(sock: socket.socket) -> None:
    try:
        sock.send(b"x")
    except OSError:
        pass  # closed: the next look says so


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
