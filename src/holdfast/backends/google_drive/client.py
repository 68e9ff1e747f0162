"""Requests to Google with a token, tried again while that may help; everything but success becomes one of our errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from holdfast.backends._http import Http, parse_json, read_bounded, retry_after
from holdfast.backends.google_drive.errors import DailyLimitError, Where, failure, from_answer, reason_of
from holdfast.backends.google_drive.settings import GoogleDriveSettings
from holdfast.backends.google_drive.tokens import Token, Tokens
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, RateLimitedError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
Data = bytes | bytearray | None
_SLICE: Final = 256 << 10
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 16.0
_PATIENCE: Final = 30.0  #: seconds that Google may ask us to wait; asked for more, the caller is told
_SLOW: Final = 20.0  #: seconds after which a request that failed is not sent again: silence is not met twice
_CLOSED: Final = (
    3600.0  #: seconds after which a day's limit is looked at again, should the project have more by then
)
_JSON: Final = "application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever its status, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        """Whether it tells of success."""
        return 200 <= self.status < 300


class Client:
    """Sends requests of one store. `homeless` says that a service account acts for itself."""

    def __init__(
        self, store: str, settings: GoogleDriveSettings, http: Http, source: Tokens, environment: Environment
    ) -> None:
        self.store, self.settings, self.environment = store, settings, environment
        self._http, self._tokens = http, source
        self._homeless = settings.kind == "service account" and not settings.subject
        self._closed: tuple[int, DailyLimitError] | None = None

    def where(self, operation: str, name: str = "") -> Where:
        """Return what goes into errors."""
        return Where(operation, self.store, name, self._homeless)

    async def json(
        self,
        where: Where,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a call of the API answers, decoded; None when that is nothing."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": _JSON}
        url = f"{self.settings.api_base}/{path}"

        within = 2 * (self.settings.read_timeout + self.settings.connect_timeout)

        async def attempt() -> Any:
            answer = await self.send(
                where, method, url, headers=headers, params=params, data=data, within=within
            )
            if not answer.good:
                raise self.judge(where, answer)
            return decoded(where, answer) if answer.body else None

        return await self.patiently(attempt)

    async def send(
        self,
        where: Where,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        data: Data = None,
        encoded: bool = False,
        within: float | None = None,
    ) -> Answer:
        """Return the answer to one request, whatever its status; sent once more when the token had ended.

        All of it has to be there `within` seconds: for what is small both ways.

        Raises:
            UnavailableError, DeadlineError: the outcome is open. RateLimitedError: the day is used up.
        """
        async with self.exchange(
            where, method, url, headers=headers, params=params, data=data, encoded=encoded, within=within
        ) as response:
            return Answer(response.status, dict(response.headers), await read_bounded(response))

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        where: Where,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        data: Data = None,
        encoded: bool = False,
        within: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer with its body still to be read; see `send`."""
        self._open_today()
        token = await self._tokens.current()
        async with contextlib.AsyncExitStack() as stack:
            for last in (False, True):
                sent = _Sent(token, headers, data)
                response = await stack.enter_async_context(
                    self._http.exchange(
                        where.operation,
                        where.name,
                        method,
                        url,
                        headers=sent.headers,
                        params=params,
                        data=sent.data,
                        encoded=encoded,
                        within=within,
                    )
                )
                if response.status != 401 or last:
                    break
                await stack.aclose()
                token = await self._tokens.renew(token)
            yield response

    def judge(self, where: Where, answer: Answer) -> HoldfastError:
        """Return the error that an answer means."""
        now = self.environment.clock.now()
        error = from_answer(
            answer.status,
            reason_of(answer.body),
            where,
            retry_after=retry_after(answer.headers, now),
            now=now,
        )
        if isinstance(error, DailyLimitError):
            wait = min(error.retry_after or _CLOSED, _CLOSED)
            self._closed = (now + int(wait * 1_000_000), error)
        return error

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, tried again after pauses that grow while its error is `retryable`.

        A limit of the rate that does not pass is raised with the time that a caller does well to wait.
        """
        clock, tries = self.environment.clock, 0
        while True:
            tries, began = tries + 1, clock.monotonic()
            try:
                return await attempt()
            except HoldfastError as error:
                limited = isinstance(error, RateLimitedError)
                wait = error.retry_after
                done = tries > self.settings.retries or (wait or 0.0) > _PATIENCE
                if not error.retryable or done or (clock.monotonic() - began > _SLOW and not limited):
                    if limited and wait is None:
                        error.retry_after = self._pause(tries)
                    raise
            await self.pause(tries, wait)

    async def pause(self, tries: int, asked: float | None = None) -> None:
        """Wait before the next try: as long as Google asked, else longer each time, by chance more or less."""
        await self.environment.clock.sleep(self._pause(tries) if asked is None else asked)

    def _pause(self, tries: int) -> float:
        widest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (tries - 1))
        return widest * (0.5 + self.environment.random.random())

    def _open_today(self) -> None:
        if self._closed is not None:
            until, error = self._closed
            left = (until - self.environment.clock.now()) / 1e6
            if left > 0:
                raise DailyLimitError(
                    error.message, operation=error.operation, store=self.store, retry_after=left
                )
            self._closed = None


class _Sent:
    """What one try sends: a large body in slices, so that the loop is not held up."""

    def __init__(self, token: Token, headers: Mapping[str, str] | None, data: Data) -> None:
        self.headers = {
            "Accept-Encoding": "identity",
            **(headers or {}),
            "Authorization": f"Bearer {token.value}",
        }
        self.data: Any = data
        if data is not None and len(data) > _SLICE:
            self.headers["Content-Length"] = str(len(data))
            self.data = _slices(data)


async def _slices(data: bytes | bytearray) -> AsyncIterator[bytes]:
    view = memoryview(data)
    for start in range(0, len(data), _SLICE):
        yield bytes(view[start : start + _SLICE])


def decoded(where: Where, answer: Answer) -> Any:
    """Return the JSON of a good answer; what is none is a broken answer, not a success."""
    try:
        return parse_json(answer.body)
    except ValueError:
        raise failure(UnavailableError, "Google's answer cannot be read", where) from None
