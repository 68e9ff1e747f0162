"""moto as a server that answers one request at a time: `python -m holdfast.testing.moto_server PORT`.

moto looks whether a key exists and then writes it; answered side by side, two conditional writers could both win. And an
object whose restore has just begun passes for restored until moto looks at it again; here it is under way at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def one_at_a_time(application: Application) -> Application:
    """Return `application`, entered by one thread at a time; bodies are sent side by side."""
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT" and "form" in environ.get("CONTENT_TYPE", ""):
            # A plain client calls any body a form; moto would read it as one and then wait for it again.
            environ["CONTENT_TYPE"] = "application/octet-stream"
        with lock:
            return application(environ, start_response)

    return serve


def begun_at_once(key: type[Any]) -> None:
    """Have what is restored be under way from its first moment, for as long as moto's state manager says."""
    make = key.__init__

    def begin(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        self.status = "IN_PROGRESS"

    key.__init__ = begin


def main(port: int) -> None:
    """Serve on loopback until ended."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from moto.s3.models import FakeKey
    from werkzeug.serving import run_simple

    begun_at_once(FakeKey)
    application = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(int(sys.argv[1]))
