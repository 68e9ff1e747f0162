"""What the workers of a test do; a module of its own, because workers are spawned."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

from holdfast.api.server import serve
from holdfast.config.settings import Settings
from holdfast.core.errors import ConfigError, UnavailableError


async def tell_pid(scope: Any, receive: Any, send: Any) -> None:
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


def work(listener: socket.socket, _: Any) -> None:
    asyncio.run(serve(tell_pid, Settings(), listener=listener))


def fail(listener: socket.socket, _: Any) -> None:
    sys.exit(3)


def misconfigured(listener: socket.socket, _: Any) -> None:
    print("tried", flush=True)
    raise ConfigError("this setting is wrong")


def unavailable(listener: socket.socket, _: Any) -> None:
    print("tried", flush=True)
    raise UnavailableError("it does not answer", store="far")
