"""Requests to the REST interface: signed with the token, answered with JSON, tried again while that may help."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

from holdfast.backends._http import Http, parse_json, read_bounded, retry_after, swaying
from holdfast.backends.yandex_disk.errors import Where, code_of, from_answer
from holdfast.backends.yandex_disk.oauth import Token, Tokens
from holdfast.backends.yandex_disk.settings import YandexDiskSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

_STRAY: Final = 1.0  #: seconds before a token that was refused is shown once more
_SHOWN: Final = 8  #: times that one request shows a token
_RENEWALS: Final = 2
_LONGEST: Final = 20.0
_PATIENCE: Final = 60.0  #: seconds that the service may ask us to wait; asked for more, we give up at once
Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: of an error that the caller bears, its status and code."""

    status: int
    code: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a text of the body, "" when it has none of that name."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


class Api:
    """The REST interface of one account."""

    def __init__(
        self, store: str, settings: YandexDiskSettings, http: Http, tokens: Tokens, environment: Environment
    ) -> None:
        self.store, self.settings, self.http = store, settings, http
        self.environment = environment
        self._tokens = tokens

    async def call(
        self,
        where: Where,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        bear: Collection[int] = (),
        retries: int | None = None,
    ) -> Answer:
        """Return the answer to a request; of the statuses in `bear` too, everything else is raised.

        A token that is refused is shown once more after a pause, since good ones are refused at times, and then
        renewed; only what is refused after that is an error.

        Raises:
            HoldfastError: any kind of `errors`; for a repeated failure the last one.
        """
        tries, most = 0, self.settings.retries if retries is None else retries
        while True:
            tries += 1
            try:
                return await self._signed(where, method, path, params or {}, bear)
            except HoldfastError as error:
                if tries > most or not passing(error):
                    raise
                await self.pause(tries, error.retry_after)

    def link(self, where: Where, answer: Answer) -> str:
        """Return where an answer sends us; never from an encrypted address to one that is not.

        Raises:
            UnavailableError: it names no place that may be used.
        """
        return self.allowed(where, answer.text("href"))

    def allowed(self, where: Where, href: str, *, base: str = "") -> str:
        """Return `href`, as it is meant at `base`, when bytes may travel there."""
        try:
            href = urljoin(base, href)
            parts = urlsplit(href)
            sound = bool(parts.hostname and parts.port != 0) and (
                parts.scheme == "https" or (parts.scheme == "http" and self._plain)
            )
        except ValueError:
            sound = False
        if not sound:
            raise where.error(UnavailableError, "the service gave no link that can be used")
        return href

    async def close(self) -> None:
        """Keep what is not kept yet of a renewed token, then close the connections."""
        await self._tokens.close()
        await self.http.close()

    @property
    def _plain(self) -> bool:
        return self.settings.api_url.startswith("http://")

    async def pause(self, tries: int, asked: float | None = None) -> None:
        """Wait before the next try: as long as the service asked, and longer each time."""
        own = min(swaying(self.environment, tries), _LONGEST)
        await self.environment.clock.sleep(max(own, asked or 0.0))

    async def _signed(
        self, where: Where, method: str, path: str, params: Params, bear: Collection[int]
    ) -> Answer:
        token = await self._tokens.current()
        shown_again, renewals = False, 0
        for _ in range(_SHOWN):
            answer, wait = await self._once(where, method, path, params, token)
            if answer.status != 401:
                if 200 <= answer.status < 300 or answer.status in bear:
                    return answer
                raise from_answer(answer.status, answer.code, where, retry_after=wait)
            newer = await self._tokens.current()
            if newer != token:
                token, shown_again = newer, False
            elif not shown_again:
                shown_again = True
                await self.environment.clock.sleep(_STRAY)
            elif self._tokens.renewable and renewals < _RENEWALS:
                token, shown_again, renewals = await self._tokens.renew(token), False, renewals + 1
            else:
                break
        raise from_answer(401, answer.code, where)

    async def _once(
        self, where: Where, method: str, path: str, params: Params, token: Token
    ) -> tuple[Answer, float | None]:
        url = self.settings.api_url + path + ("?" + _query(params) if params else "")
        headers = {
            "Authorization": f"OAuth {token.access}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        wait = self.settings.request_timeout + self.settings.connect_timeout
        try:
            async with (
                asyncio.timeout(2 * wait),
                self.http.exchange(
                    where.operation, where.name, method, url, headers=headers, encoded=True
                ) as response,
            ):
                return await self._read(response, where)
        except TimeoutError as error:
            raise where.error(UnavailableError, "the service did not answer in time") from error

    async def _read(self, response: aiohttp.ClientResponse, where: Where) -> tuple[Answer, float | None]:
        raw = await read_bounded(response)
        wait = retry_after(response.headers, self.environment.clock.now())
        body = json_of(response.content_type, raw)
        if body is None:
            if 200 <= response.status < 300 and raw:
                # A page where JSON was due, as gateways send: nothing in it is to be believed.
                raise where.error(UnavailableError, "the service sent something else than JSON")
            body = {}
        return Answer(response.status, code_of(body.get("error")), body), wait


def passing(error: HoldfastError) -> bool:
    """Tell whether to wait and try again: the error may pass, and not only after longer than we have patience for."""
    return error.retryable and (error.retry_after or 0.0) <= _PATIENCE


def json_of(content_type: str, raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an answer, None when it is something else: a page is never parsed."""
    if content_type.partition(";")[0].strip().lower() not in ("application/json", "application/hal+json"):
        return None
    try:
        found = parse_json(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _query(params: Params) -> str:
    # Everything is encoded, also `+`, `:` and `/`: what is not has been read as something else.
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
