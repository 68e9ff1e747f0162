"""Running the server: a socket, an application, and a stop that finishes what it began."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn

from holdfast.api import logs
from holdfast.api.server.gate import Gate
from holdfast.api.server.protocol import Protocol
from holdfast.config.settings import LimitSettings, Settings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

BACKLOG: Final = 2048
GRACE: Final = 60  #: seconds that requests in flight have to finish after a stop was asked for


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


def url_of(listener: socket.socket) -> str:
    """Return the URL under which `listener` is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    app: Any,
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda text: None,
    listener: socket.socket | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM, then finish what is in flight (at most a minute) and return.

    Logs go to standard error as JSON. A second signal does not wait. `listener` is a socket from `listen`; without one, the settings' host and port.

    Raises:
        ConfigError: the address cannot be had.
    """
    logs.configure(settings.log_level)
    own = listener or listen(settings.host, settings.port)
    async with running(app, settings.limits, own) as server:
        say(f"Holdfast listens on {url_of(own)}")
        with _signals(server):
            await server.main_loop()


@contextlib.asynccontextmanager
async def running(
    app: Any, limits: LimitSettings, listener: socket.socket, *, environment: Environment | None = None
) -> AsyncIterator[Server]:
    """Give a server that accepts on `listener`; leaving the block stops it gracefully and closes the socket."""
    server = Server(app, limits, environment or Environment())
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    try:
        yield server
    finally:
        await server.shutdown(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's server with our connections, and without its own ideas about signals and logs."""

    def __init__(self, app: Any, limits: LimitSettings, environment: Environment) -> None:
        self.gate = Gate(limits, environment)
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
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE,
        )
        config.load()
        super().__init__(config)
        self.lifespan = config.lifespan_class(config)

    def stop(self) -> None:
        """Ask for the end; asked twice, do not wait for requests in flight."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop `server` inside the block, where this thread may do so."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            loop.add_signal_handler(number, server.stop)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
