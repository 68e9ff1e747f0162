"""TLS: the certificate that is shown, renewed without a restart, and connections that are capped before they shake hands."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast.api.server.gate import Gate, group
from holdfast.api.server.protocol import Protocol
from holdfast.config.exposure import TlsSettings
from holdfast.config.secrets import read_secret
from holdfast.core.errors import ConfigError

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  #: of TLS 1.2; those of 1.3 are all sound
_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_BURST: Final = 64  #: connections taken at once before others get their turn
_PAUSE: Final = 0.5  #: seconds without accepting when the process is out of descriptors
_SHUTDOWN: Final = 5.0  #: seconds for the other side to answer our goodbye
_log = logging.getLogger("uvicorn.error")


class Certificate:
    """The certificate of the settings, loaded; `context` shows the newest that was sound."""

    def __init__(self, settings: TlsSettings) -> None:
        assert settings.certificate is not None
        assert settings.key is not None
        self._settings = settings
        self._certificate, self._key = settings.certificate, settings.key
        self.context = self._load()
        self._seen = self._stamp()

    def refresh(self, *, always: bool = False) -> bool:
        """Load the files again when they changed; what cannot be used is logged, and the old one stays."""
        stamp = self._stamp()
        if stamp == self._seen and not always:
            return False
        self._seen = stamp
        try:
            self._load()  # aside, so that a half-written pair never replaces a sound one
            self.context.load_cert_chain(self._certificate, self._key)
        except (ConfigError, OSError) as error:
            _log.error("the new certificate is not used: %s", error)
            return False
        _log.warning("the certificate was loaded again")
        return True

    def _load(self) -> ssl.SSLContext:
        read_secret(self._key, "tls.key")
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = _MINIMUM[self._settings.minimum]
        made.set_ciphers(_CIPHERS)
        made.set_alpn_protocols(["http/1.1"])
        made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            made.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise ConfigError(f"tls: {self._certificate} and {self._key} cannot be used: {error}") from error
        return made

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stat(path) for path in (self._certificate, self._key))


def certificate_of(settings: TlsSettings) -> Certificate | None:
    """Return the certificate of the settings, None without one; `ConfigError` when it cannot be used."""
    return None if settings.certificate is None else Certificate(settings)


class Acceptor:
    """Takes connections from a listening socket and speaks TLS on them; closed like asyncio's servers.

    The caps count from here on, since a handshake costs more than anything a plain connection can ask for unasked.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        gate: Gate,
        make: Callable[[], Protocol],
    ) -> None:
        self._listener = listener
        self._context = context
        self._gate = gate
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._open = True
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Take no more; handshakes under way are given up."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)
            for task in self._shaking:
                task.cancel()

    async def wait_closed(self) -> None:
        """Return when no handshake is under way."""
        await asyncio.gather(*self._shaking, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_BURST):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("cannot accept connections: %s", error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE, self._resume)
                return
            sock.setblocking(False)
            place = group(address[0])
            if self._gate.admit(place) is not None:
                sock.close()
                continue
            task = self._loop.create_task(self._shake(sock, place))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener, self._accept)

    async def _shake(self, sock: socket.socket, place: str) -> None:
        """Do the handshake; the connection keeps its place under the caps from before it."""
        connection = self._make()
        connection.admitted(place)
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._gate.limits.header_timeout,
                ssl_shutdown_timeout=_SHUTDOWN,
            )
        except (OSError, asyncio.CancelledError):  # not TLS, too slow, gone, or we are stopping
            sock.close()
            connection.leave()


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino


def _no_password() -> str:
    raise ConfigError("tls.key is encrypted; the service has nobody to ask for its password")
