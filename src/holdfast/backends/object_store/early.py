"""The first pages of a listing, fetched by a thread while the program that is to list is still starting.

What has come so is used for the very request that is due, as with `Ahead`, and is asked for once. Whoever lists asks
himself for what is not here, and from then on nothing more is fetched early; nor when a few pages wait to be taken.
"""

from __future__ import annotations

import re
from concurrent.futures import Future
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.connection import BROKEN, Reply, exchange, made
from holdfast.backends.object_store.onward import SLOW_TOKENS, page_of
from holdfast.backends.object_store.usual import Usual
from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.backends.object_store.credentials import Credentials

_MOST: Final = 8  #: pages that wait to be taken
_LAST_KEY: Final = re.compile(rb".*<Key>([^<>&]+)</Key>", re.DOTALL)
_begun: list[Early] = []


class Early:
    """The beginning of one listing, of what begins with `prefix` in the bucket that `reach` names."""

    def __init__(self, reach: Usual, keys: Credentials, prefix: str, clock: Clock) -> None:
        self._reach, self._keys, self._prefix, self._clock = reach, keys, prefix, clock
        self.address = Address.of(reach)
        self._coming: dict[str, Future[Reply | None]] = {}
        self._over = False

    def begin(self) -> None:
        """Ask for the first page, and go on."""
        Thread(target=self._run, args=self._expect(""), name="holdfast-early", daemon=True).start()

    def take(self, target: str) -> Future[Reply | None] | None:
        """Return what will be the answer to that request, None in it if it failed; None when it was not sent."""
        found = self._coming.pop(target, None)
        self._over = self._over or found is None
        return found

    def _expect(self, after: str) -> tuple[sigv4.Query, str, Future[Reply | None]]:
        query = [*page_of(self._prefix), *([("start-after", after)] if after else [])]
        target = f"{self.address.path()}?{sigv4.encode_query(query)}"
        future: Future[Reply | None] = Future()
        future.set_running_or_notify_cancel()  # whoever waits for it may give up, and it comes all the same
        self._coming[target] = future
        return query, target, future

    def _run(self, query: sigv4.Query, target: str, future: Future[Reply | None]) -> None:
        try:
            with closing(made(self.address.host, self._reach, store="s3")) as connection:
                while True:
                    if connection.sock is None:  # the first time, or the server closed it
                        connection.connect()
                    headers = self._signed(query)
                    reply = exchange(connection, "GET", target, headers, silence=self._reach.read_timeout)
                    after = "" if self._over or len(self._coming) >= _MOST else _onward(reply)
                    done = future
                    if after:
                        query, target, future = self._expect(after)
                    done.set_result(reply)
                    if not after:
                        return
        except (*BROKEN, ConfigError):
            return  # it is asked for again, and told then
        finally:
            if not future.done():
                future.set_result(None)

    def _signed(self, query: sigv4.Query) -> dict[str, str]:
        request = sigv4.Request("GET", self.address.host, self.address.path(), query)
        region, now = self._reach.server.region, self._clock.now()
        return sigv4.sign(request, self._keys, region=region, payload=sigv4.EMPTY_SHA256, now=now)


def begin(reach: Usual, keys: Credentials, prefix: str, clock: Clock) -> None:
    """Begin to list what begins with `prefix`, for a client of this process that will do so in a moment."""
    early = Early(reach, keys, prefix, clock)
    early.begin()
    _begun[:] = [early]


def of(address: Address) -> Early | None:
    """Return what was begun for that bucket; it is given away once."""
    found = next((early for early in _begun if early.address == address), None)
    _begun.clear()
    return found


def _onward(reply: Reply) -> str:
    """Return the key after which the next page begins; "" when there is none, or it is not asked for by key."""
    status, headers, body = reply
    if status != 200 or headers.get("server") != SLOW_TOKENS or b"<IsTruncated>true<" not in body:
        return ""
    found = _LAST_KEY.match(body)
    if found is None or b"<EncodingType>url<" not in body:
        return ""
    return unquote_plus(found[1].decode("ascii", "replace"))
