"""A real service in a thread: real engine, real sockets. And clients that send exactly what they are told."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from holdfast.api import create_app
from holdfast.api.server import serve
from holdfast.api.server.serving import Server, listen, running
from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.config.settings import Settings, load
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.records import Connection
from holdfast.core.types import Principal
from holdfast.drivers import InstalledDrivers
from holdfast.engine.engine import Engine
from holdfast.engine.settings import EngineSettings
from holdfast.jobs.holding import Habits
from holdfast.jobs.installed import installed
from holdfast.jobs.kinds import Kinds
from holdfast.jobs.runner import Runner
from holdfast.policy.artifacts import Naming
from tests.helpers import engine_on, local_store

Wrap = Callable[[Any], Any]
#: Of a process that looks often and does not wait long, so that tests are short.
HABITS = Habits(look=0.3, grace=1.0)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A service that is running."""

    port: int
    loop: asyncio.AbstractEventLoop
    engine: Engine
    server: Server
    stopping: asyncio.Event
    headers: dict[str, str] = field(default_factory=dict)

    def stop(self) -> None:
        """Tell it to stop, as a signal would, and do not wait."""
        self.loop.call_soon_threadsafe(self.stopping.set)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        """Make one request on a connection of its own; `path` goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})}, **more)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def put(self, key: str, body: bytes = b"content", **headers: str) -> Answer:
        """Store under the bucket `plain`; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("PUT", f"/api/v1/objects/plain/{key}", body, named)

    def get(self, key: str, **headers: str) -> Answer:
        """Read from the bucket `plain`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", f"/api/v1/objects/plain/{key}", headers=named)

    def form(self, path: str, *parts: tuple[str, str | None, bytes], boundary: str = "edge") -> Answer:
        """Send a form of (name, filename or None, content)."""
        body = encode_form(*parts, boundary=boundary)
        return self.ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def run(self, work: Any) -> Any:
        """Run a coroutine in the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def raw(self, data: bytes, *, timeout: float = 5.0) -> bytes:
        """Send bytes, and return everything until the service closes; what came before a timeout if it does not."""
        with self.connect(timeout) as sock:
            try:
                sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(sock)

    def connect(self, timeout: float = 5.0) -> socket.socket:
        """Return a connected socket."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)


def read_all(sock: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := sock.recv(65536):
            found += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return found


def encode_form(*parts: tuple[str, str | None, bytes], boundary: str = "edge") -> bytes:
    body = b""
    for name, filename, content in parts:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if filename is not None:
            body += f'; filename="{filename}"'.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


class Harmless(InstalledDrivers):
    """The real drivers up to where a store would be opened: no address is asked, and nothing is written to a disk."""

    def open(self, connection: Connection, values: Mapping[str, Any]) -> Store:
        inner = open_memory(connection.name, MemorySettings(), environment=self._environment)
        return Store(connection.name, inner, layout=connection.layout)


@contextmanager
def serving(
    root: Path,
    *,
    wrap: Wrap | None = None,
    authenticate: Any = None,
    drivers: bool = False,
    kinds: Kinds | None = None,
    **flags: Any,
) -> Iterator[Service]:
    """Run a service over a local store and SQLite under `root`; `flags` are settings, `wrap` wraps the application.

    With `drivers` stores can be added to it: their settings are checked as ever, and their bytes are kept in memory.
    """
    ready: dict[str, Any] = {}
    started = threading.Event()
    settings = load(None, **{"dev": authenticate is None, "data": str(root), **flags})
    thread = threading.Thread(
        target=lambda: uvloop.run(
            _serve(root, settings, authenticate, wrap, ready, started, drivers, kinds or installed())
        ),
        daemon=True,
    )
    thread.start()
    assert started.wait(20)
    if "error" in ready:
        raise ready["error"]
    try:
        yield ready["service"]
    finally:
        ready["loop"].call_soon_threadsafe(ready["stop"].set)
        thread.join(30)
        assert not thread.is_alive()


async def _serve(
    root: Path,
    settings: Settings,
    authenticate: Any,
    wrap: Wrap | None,
    ready: dict[str, Any],
    started: threading.Event,
    drivers: bool,
    kinds: Kinds,
) -> None:
    stop = asyncio.Event()
    ready.update(loop=asyncio.get_running_loop(), stop=stop)
    try:
        environment = Environment()
        store = local_store("local", root / "objects", environment)
        own = EngineSettings(
            artifact_buckets=Naming(settings.artifacts.prefix, settings.artifacts.bucket),
            artifact_roots=settings.artifacts.roots,
        )
        inline = settings.placement.inline if "inline" in settings.placement.model_fields_set else 0
        async with engine_on(
            f"sqlite:///{root}/catalog.db",
            store,
            environment=environment,
            settings=own,
            inline=inline,
            keys=True,
            drivers=Harmless(environment) if drivers else None,
        ) as (engine, _):
            asks = authenticate(engine) if authenticate else _anyone
            app = create_app(engine, authenticate=asks, settings=settings, kinds=kinds)
            listener = listen("127.0.0.1", 0)
            port = listener.getsockname()[1]
            async with running(
                wrap(app) if wrap else app, settings.limits, listener, tls=settings.tls
            ) as server:
                clock = asyncio.ensure_future(server.main_loop())
                worker = asyncio.ensure_future(Runner(engine, kinds, habits=HABITS).run())
                ready["service"] = Service(port, asyncio.get_running_loop(), engine, server, stop)
                started.set()
                await stop.wait()
                server.stop()
                await clock
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
    except BaseException as error:
        ready["error"] = error
        started.set()
        raise


async def _anyone(token: str) -> Principal:
    return Principal("tester", "default", "admin")


def serve_alone(root: str) -> None:
    """Serve from this process until it is told to stop, and print the port first: for tests that measure a process."""
    settings = load(None, dev=True, data=root, port=0)

    async def work() -> None:
        environment = Environment()
        store = local_store("local", Path(root) / "objects", environment)
        async with engine_on(f"sqlite:///{root}/catalog.db", store, environment=environment) as (engine, _):
            app = create_app(engine, authenticate=_anyone, settings=settings)
            worker = asyncio.ensure_future(Runner(engine, installed(), habits=HABITS).run())
            await serve(app, settings, say=lambda text: print(text.rpartition(":")[2], flush=True))
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    uvloop.run(work())


@contextmanager
def alone(code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run Python `code` that prints a port first, as a process; end it as an operator would."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
