"""Running the server: a socket, an application, and a stop that finishes what it began."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from holdfast.api import logs
from holdfast.api.server.gate import Gate
from holdfast.api.server.protocol import Protocol
from holdfast.api.server.tls import Acceptor, Certificate, certificate_of
from holdfast.api.server.workers import HURRY
from holdfast.config.exposure import TlsSettings
from holdfast.config.settings import LimitSettings, Settings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

BACKLOG: Final = 2048
_UNDONE: Final = 10.0  #: seconds for requests that were given up to undo what they began
_LOOK: Final = 100  #: ticks of 0.1 seconds between looks at the certificate's files


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; `ConfigError` when the address cannot be had.

    The socket can be inherited, so any number of processes may accept from it.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, proto=socket.IPPROTO_TCP
        )
        family, kind, proto, _, address = found[0]
        made = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    made.setblocking(False)
    return made


def url_of(listener: socket.socket, tls: TlsSettings | None = None) -> str:
    """Return the URL under which `listener` is reached."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if tls is None or tls.certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def allow_connections(wanted: int) -> int:
    """Raise this process's limit of open files to fit `wanted` connections, as far as it may; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = 2 * wanted + 512  # a connection may have a file open beside its socket
    if soft != resource.RLIM_INFINITY and soft < goal:
        soft = goal if hard == resource.RLIM_INFINITY else min(goal, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def serve(
    app: Any,
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda text: None,
    listener: socket.socket | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM, then finish what is in flight (at most `shutdown_timeout`) and return.

    Logs go to standard error as JSON. A second signal does not wait. SIGHUP loads the certificate again. `listener` is a socket from `listen`; without one, the settings' host and port.

    Raises:
        ConfigError: the address cannot be had, or the certificate not be used.
    """
    logs.configure(settings.log_level)
    allow_connections(settings.limits.max_connections)
    own = listener or listen(settings.host, settings.port)
    with contextlib.ExitStack() as stack:  # signals are heard until the shutdown is over
        async with running(app, settings.limits, own, tls=settings.tls) as server:
            say(f"Holdfast listens on {url_of(own, settings.tls)}")
            stack.enter_context(_signals(server))
            await server.main_loop()


@contextlib.asynccontextmanager
async def running(
    app: Any,
    limits: LimitSettings,
    listener: socket.socket,
    *,
    tls: TlsSettings | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Server]:
    """Give a server that accepts on `listener`; leaving the block stops it gracefully and closes the socket."""
    certificate = None if tls is None else certificate_of(tls)
    server = Server(app, limits, environment or Environment(), certificate)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    try:
        yield server
    finally:
        await server.shutdown(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's server with our connections, and without its own ideas about signals and logs."""

    def __init__(
        self,
        app: Any,
        limits: LimitSettings,
        environment: Environment,
        certificate: Certificate | None = None,
    ) -> None:
        self.gate = Gate(limits, environment)
        self.certificate = certificate
        config = uvicorn.Config(
            app,
            http=partial(Protocol, gate=self.gate),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(limits.shutdown_timeout),
        )
        config.load()
        super().__init__(config)
        self.lifespan = config.lifespan_class(config)

    def stop(self) -> None:
        """Ask for the end; asked twice, do not wait for requests in flight."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = self.gate.draining = True

    def leave(self) -> None:
        """Ask for the end, however often: whoever may hear of one stop twice waits for requests in flight."""
        self.should_exit = self.gate.draining = True

    def hurry(self) -> None:
        """End, and do not wait for requests in flight."""
        self.leave()
        self.force_exit = True

    def renew(self) -> None:
        """Load the certificate again."""
        if self.certificate is not None:
            self.certificate.refresh(always=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on `sockets`."""
        if self.certificate is None:
            await super().startup(sockets)
            return
        make = partial(Protocol, self.config, self.server_state, self.lifespan.state, gate=self.gate)
        self.servers = [
            Acceptor(listener, self.certificate.context, self.gate, make)  # type: ignore[misc]
            for listener in sockets or ()
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Do what is due ten times a second; True when a stop was asked for."""
        if self.certificate is not None and counter % _LOOK == _LOOK - 1:
            self.certificate.refresh()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say for a while that we are leaving, take no more connections, finish what is in flight, give up the rest."""
        self.gate.draining = True
        until = asyncio.get_running_loop().time() + self.gate.limits.shutdown_delay
        while asyncio.get_running_loop().time() < until and not self.force_exit:
            await super().on_tick(0)
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)
        left = list(self.server_state.tasks)
        for connection in list(self.gate.connections):
            connection.transport.abort()
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_UNDONE)


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop `server` inside the block, where this thread may do so.

    In a worker process they are counted by its supervisor, which says when to hurry.
    """
    loop = asyncio.get_running_loop()
    alone = multiprocessing.parent_process() is None
    stop = server.stop if alone else server.leave
    wanted = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: server.renew}
    if not alone:
        wanted[HURRY] = server.hurry
    taken: list[signal.Signals] = []
    for number, handler in wanted.items():
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            loop.add_signal_handler(number, handler)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
