"""One HTTP connection to a bucket, and one request over it, for threads that wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final, cast

from holdfast.backends._http import tls_context
from holdfast.backends._http.reading import WITHIN
from holdfast.backends.object_store.xml import MAX_BYTES
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.backends.object_store.settings import S3Settings
    from holdfast.backends.object_store.usual import Usual

Reply = tuple[int, Mapping[str, str], bytes]  #: status, headers whose names are found in any case, and body
BROKEN: Final = (HTTPException, OSError, EOFError, ValueError)  #: what `exchange` raises
_CHUNK: Final = 256 << 10


def made(host: str, reach: S3Settings | Usual, *, store: str) -> HTTPConnection:
    """Return a connection that is not yet open.

    Raises:
        ConfigError: the certificates that it is to trust cannot be read.
    """
    patience = reach.connect_timeout
    if not reach.tls:
        return HTTPConnection(host, timeout=patience)
    try:
        context = tls_context(verify=reach.verify_tls, ca_file=reach.ca_file)
    except OSError as error:
        raise ConfigError(
            f"ca_file cannot be read: {error.strerror or 'no certificate'}", operation="open", store=store
        ) from error
    return HTTPSConnection(host, timeout=patience, context=context)


def exchange(
    connection: HTTPConnection, method: str, target: str, headers: Mapping[str, str], *, silence: float
) -> Reply:
    """Send a request over an open connection and return the answer, all of it.

    Raises:
        one of `BROKEN`: it broke, was silent for `silence` seconds, or was too much.
    """
    connection.sock.settimeout(silence)
    connection.request(method, target, headers=dict(headers))
    with connection.getresponse() as response:
        until, content = time.monotonic() + WITHIN, bytearray()
        while chunk := response.read(_CHUNK):
            content += chunk
            if len(content) > MAX_BYTES:
                raise EOFError("an endless answer")
            if time.monotonic() > until:
                raise TimeoutError("timed out")
        if response.length:  # bounded reads do not tell of it
            raise EOFError("the answer broke off")
        return response.status, cast("Mapping[str, str]", response.headers), bytes(content)
