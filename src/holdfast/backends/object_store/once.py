"""A large body whose digests are known before it flows, in one request: nothing of it is held, and nothing digested here.

Over http the request is signed with the SHA-256 of the body, over TLS it carries its CRC-64; the server refuses a body
that is another. It is asked first whether it wants the body (`Expect: 100-continue`), so that a refusal is heard before
bytes flow; a server that leaves the question unanswered, or does not know it (417), is not asked again.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from holdfast.backends._http import RETRIED, Tries
from holdfast.backends.object_store import sigv4, upload
from holdfast.backends.object_store.control import ControlClient, UnansweredError, needed_header
from holdfast.backends.object_store.dialects import MIB
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.core.body import CHUNK, Body
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Digests

MOST: Final = 128 * MIB  #: larger bodies go in parts, each of which is sent again alone when it breaks
_ANSWER: Final = 10.0  #: seconds at most in which a server says whether it wants a body


class _Flow(upload.Feed):
    """One try to send a body: its bytes, whether the server is asked first, and how long it may be silent."""

    def __init__(self, body: Body, payload: str, seconds: float, *, asked: bool) -> None:
        self._silence = asyncio.timeout(min(_ANSWER, seconds) if asked else seconds)
        self._length = body.size or 0
        super().__init__(_timed(body, self._silence, seconds), limit=self._length, least=CHUNK)
        self._payload = payload
        self.asked = asked
        self.begun = False

    async def __anext__(self) -> memoryview:
        self.begun = True
        return await super().__anext__()

    @property
    def failed(self) -> bool:
        """Whether it was the body that failed."""
        return self.error is not None and not isinstance(self.error, upload.StoppedError)

    async def sent(self, client: ControlClient, where: Where, key: str, headers: Mapping[str, str]) -> str:
        """Send it, and return the ETag."""
        try:
            async with self._silence:
                answer = await client.stream(where, key, headers, self, self._length, self._payload)
            return needed_header(answer, where, "etag").strip('"')
        except HoldfastError as error:
            if self.error is None or not self.failed:
                raise
            raise self.error from error
        except TimeoutError as error:
            if self.asked and not self.begun:
                raise UnansweredError from error
            raise unreachable(error, where) from error
        finally:
            await self.end()


class Once:
    """Puts bodies in one request each. One server's way is remembered."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._settings = client.settings
        self._asks = True

    def takes(self, size: int | None, known: Digests) -> bool:
        """Tell whether a body of that size goes this way: one above a part, of which enough is known."""
        if size is None or not self._settings.part_size < size <= min(MOST, self._settings.server.max_part):
            return False
        wanted = {self._settings.checksum_algorithm, None if self._settings.tls else "sha256"} - {None}
        return known.sha256 is not None and all(getattr(known, str(name)) is not None for name in wanted)

    async def put(self, where: Where, key: str, body: Body, headers: Mapping[str, str]) -> str:
        """Store `body`, which `takes` it, and return the ETag.

        Raises:
            HoldfastError: what the body itself fails with, as it is; or what the server says, or its silence.
        """
        headers = {**headers, **self._checksum(body.known)}
        tries = Tries(self._client.environment, self._settings.retries, slow=RETRIED)
        while True:
            tries.begin()
            flow = self._flow(body)
            try:
                return await flow.sent(self._client, where, key, headers)
            except UnansweredError:
                self._asks = False
            except HoldfastError as error:
                if flow.failed or (flow.begun and not body.replayable):
                    raise
                await tries.failed(error)

    def _flow(self, body: Body) -> _Flow:
        seconds = self._settings.read_timeout
        payload = sigv4.UNSIGNED if self._settings.tls else (body.known.sha256 or b"").hex()
        return _Flow(body, payload, seconds, asked=self._asks)

    def _checksum(self, known: Digests) -> dict[str, str]:
        name = self._settings.checksum_algorithm
        if name is None:
            return {}
        return {f"x-amz-checksum-{name}": base64.b64encode(getattr(known, name)).decode()}


def _timed(body: Body, limit: asyncio.Timeout, seconds: float) -> Body:
    """Return the same bytes; `limit` is `seconds` from each piece on, and rests while the next is awaited."""
    loop = asyncio.get_running_loop()

    def run(until: float | None) -> None:
        with suppress(RuntimeError):  # it is over, and somebody still pulls
            limit.reschedule(until)

    async def chunks() -> AsyncIterator[bytes]:
        run(None)
        async for chunk in body.chunks():
            run(loop.time() + seconds)
            yield chunk
            run(None)
        run(loop.time() + seconds)

    return replace(body, opener=chunks)
