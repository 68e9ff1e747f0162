"""Server-sent events of jobs and batches: as many watchers as a process bears, each let go when it is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.api.exchange import Exchange
from holdfast.api.job_models import job_info
from holdfast.api.models import encode
from holdfast.api.server.cycle import ClientGone
from holdfast.core.errors import UnavailableError
from holdfast.core.jobs import ENDED, Job
from holdfast.engine.engine import Engine
from holdfast.jobs.desk import JobDesk

MOST: Final = 200  #: watchers of one process; each looks twice a second
SHARE: Final = 100  #: of those, the most that one tenant may have
_LOOK: Final = 0.5  #: seconds between two looks
_ALIVE: Final = 15.0  #: seconds after which a watcher hears something anyway
_LONGEST: Final = 300.0  #: seconds that one watch lasts; who wants more asks again
SSE: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class Watchers:
    """Whoever watches a job or a batch from this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.context.environment.clock
        self._of: Counter[str] = Counter()

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Give a watcher of a tenant a place, for as long as it is entered.

        Raises:
            UnavailableError: too many are watching here.
        """
        if self._of.total() >= MOST or self._of[tenant] >= SHARE:
            raise UnavailableError("too many are watching jobs here; ask again", retry_after=5)
        self._of[tenant] += 1
        try:
            yield
        finally:
            self._of[tenant] -= 1
            self._of = +self._of

    async def watch(self, exchange: Exchange, desk: JobDesk, job_id: str) -> None:
        """Send a job whenever it has changed, until it has ended, the time is over, or nobody is there.

        Raises:
            UnavailableError: too many are watching here.
        """
        with self.place(exchange.session.principal.tenant):
            job = await desk.job(job_id)  # so that what is refused is refused before the answer begins
            await exchange.send({"type": "http.response.start", "status": 200, "headers": list(SSE)})
            await self._tell(exchange, desk, job)
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, exchange: Exchange, desk: JobDesk, job: Job) -> None:
        known = exchange.headers.get(b"last-event-id", b"").decode("ascii", "replace")
        heard = self._clock.monotonic()
        ends = heard + _LONGEST
        await _say(exchange, b"retry: 1000\n\n")
        while True:
            ended, now = job.state in ENDED, self._clock.monotonic()
            if ended or number(job) != known:
                known, heard = number(job), now
                await _say(exchange, event(job))
            elif now - heard > _ALIVE:
                heard = now
                await _say(exchange, b": still there\n\n")
            if ended or now > ends or exchange.draining:
                return
            await self._clock.sleep(_LOOK)
            if exchange.forsaken:
                raise ClientGone("nobody watches any more")
            await self._engine.directory.check_still(exchange.session.principal)
            job = await desk.job(job.id)


def number(job: Job) -> str:
    """Return what a watcher names to be told only of what came later."""
    return f"{job.updated}-{job.state.value}"


def event(job: Job) -> bytes:
    """Return a job as one event."""
    name = b"end" if job.state in ENDED else b"progress"
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (number(job).encode(), name, encode(job_info(job)))


async def _say(exchange: Exchange, text: bytes) -> None:
    await exchange.send({"type": "http.response.body", "body": text, "more_body": True})
