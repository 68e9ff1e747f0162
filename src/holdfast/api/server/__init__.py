"""The HTTP server under the doors: connections, deadlines and the fastest way out for bytes.

Comes in: an ASGI application, settings and a listening socket. Goes out: a service on a port until it is told to
stop. Promises: malformed framing is refused, never guessed at; headers, bodies, idling and reading each have a time
limit; connections and requests are capped; a stop finishes what is in flight and takes nothing new. Applications find `Cycle`
under `scope["extensions"]["holdfast"]`: one call for a whole answer, and files sent by the kernel.
"""

from holdfast.api.server.cycle import ClientGone
from holdfast.api.server.serving import listen, serve, url_of
from holdfast.api.server.tls import certificate_of
from holdfast.api.server.workers import supervise

__all__ = ["ClientGone", "certificate_of", "listen", "serve", "supervise", "url_of"]
