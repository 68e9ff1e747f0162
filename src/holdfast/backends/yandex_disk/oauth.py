"""The token: as it was configured, or renewed, with each newer refresh token kept where no process can lose it.

A refresh token may be good for one use only, so two processes must not both use it. Whoever wants to renew first claims
the note by compare-and-swap; the others wait for what comes out. A claim ends by itself when its process died.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from holdfast.backends._http import Http, parse_json, read_bounded, seconds
from holdfast.backends.yandex_disk.errors import Where, code_of
from holdfast.backends.yandex_disk.settings import YandexDiskSettings
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, HoldfastError, UnauthenticatedError, UnavailableError
from holdfast.core.notes import SEALED, Notes
from holdfast.core.renewing import Renewing

NOTE: Final = f"{SEALED}oauth"
_SECOND: Final = 1_000_000
_CLAIM: Final = 90.0  #: seconds after which a claim is taken to be of the dead
_PAUSE: Final = 0.5
_TRIES: Final = 4
_REST: Final = 5.0  #: seconds between tries to keep what could not be kept at once
_ENDING: Final = 10.0  #: seconds that closing waits for that
_MOST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Token:
    """What requests are signed with, until `expires` (microseconds; None: nobody said)."""

    access: str = field(repr=False)
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the note says. `seed` tells from which configured refresh token it all came."""

    seed: str
    refresh: str = field(repr=False)
    access: str = field(default="", repr=False)
    expires: int | None = None
    life: int = 0  #: how long it lasts from its beginning, in microseconds; 0: nobody said
    claim: str = ""
    until: int = 0

    def dump(self) -> bytes:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, sort_keys=True).encode()

    @classmethod
    def load(cls, raw: bytes | None) -> _Kept | None:
        try:
            found = parse_json(raw or b"")
            return cls(**found) if isinstance(found, dict) else None
        except (ValueError, TypeError):
            return None


class Tokens:
    """Gives the token that holds now, and another one when the service no longer takes it."""

    def __init__(
        self, store: str, settings: YandexDiskSettings, http: Http, notes: Notes, environment: Environment
    ) -> None:
        self._store, self._settings, self._http, self._notes = store, settings, http, notes
        self._environment = environment
        self._first = settings.refresh_token.get_secret_value()
        self._seed = sha256(self._first.encode()).hexdigest()[:32]
        self._refused: set[str] = set()  # digests of tokens that the service did not take
        self._unsaved: _Kept | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._renewing: Renewing[Token] = Renewing(self._fetch, clock=environment.clock)

    @property
    def renewable(self) -> bool:
        """Whether there is a way to another token."""
        return bool(self._first)

    async def current(self) -> Token:
        """Return the token to use.

        Raises:
            UnauthenticatedError, UnavailableError: there is none, and none could be got.
        """
        if not self.renewable:
            return Token(self._settings.token.get_secret_value())
        self._keep()
        return await self._renewing.current()

    async def renew(self, stale: Token) -> Token:
        """Return another token than `stale`, which the service does not take; one renewal for all who bring it."""
        self._refused.add(_digest(stale.access))
        return await self._renewing.renew(stale)

    async def close(self) -> None:
        """Keep what could not be kept yet, if that goes now."""
        try:
            async with asyncio.timeout(_ENDING):
                await self._renewing.settled()
                if self._keeping is not None:
                    await asyncio.wait({self._keeping})
                await self._try_to_keep()
        except TimeoutError:
            return

    def _keep(self) -> None:
        """Try again, beside the request that is under way, to keep a refresh token that could not be kept."""
        now = self._environment.clock.monotonic()
        if self._unsaved is None or self._keeping is not None or now < self._not_before:
            return
        self._not_before = now + _REST
        self._keeping = asyncio.ensure_future(self._try_to_keep())
        self._keeping.add_done_callback(self._rested)

    def _rested(self, task: asyncio.Task[None]) -> None:
        self._keeping = None
        if not task.cancelled():
            task.exception()

    async def _try_to_keep(self) -> None:
        """Write down what is not kept yet; nothing happens while that fails."""
        made = self._unsaved
        if made is None:
            return
        try:
            if await self._written(made, await self._notes.read(NOTE)) and self._unsaved is made:
                self._unsaved = None
        except HoldfastError:
            return

    async def _written(self, made: _Kept, held: bytes | None) -> bool:
        """Put `made` in the place of `held`; True also when what is there now is better than that."""
        found = _Kept.load(held)
        if held == made.dump() or self._newer(held) or (found is not None and found.seed != made.seed):
            return True
        return await self._notes.swap(NOTE, held, made.dump())

    async def _fetch(self) -> Token:
        """Return what another process has got already, else renew."""
        clock = self._environment.clock
        give_up = clock.monotonic() + 2 * _CLAIM
        while True:
            raw = await self._notes.read(NOTE)
            kept = _Kept.load(raw)
            if kept is None or kept.seed != self._seed:
                kept = _Kept(self._seed, self._first, self._settings.token.get_secret_value())
            if self._unsaved is not None and self._unsaved.seed == kept.seed:
                kept = replace(kept, **_result(self._unsaved))
            if self._holds(kept):
                return Token(kept.access, kept.expires)
            now = clock.now()
            if not kept.claim or kept.until <= now:
                claimed = replace(
                    kept, claim=self._environment.new_id(), until=now + int(_CLAIM * _SECOND)
                ).dump()
                if await self._notes.swap(NOTE, raw, claimed):
                    return await self._renew(kept, claimed)
            elif clock.monotonic() > give_up:
                raise self._where.error(
                    UnavailableError, "another process is renewing the token and does not end"
                )
            else:
                await clock.sleep(_PAUSE)

    @property
    def _where(self) -> Where:
        return Where("renew", self._store)

    def _holds(self, kept: _Kept) -> bool:
        """Return whether the kept token may be used: not refused, and not so near its end that it is due."""
        if not kept.access or _digest(kept.access) in self._refused:
            return False
        # A little earlier than `Renewing` asks, so that what it asks for is never the same token again.
        return kept.expires is None or self._environment.clock.now() < kept.expires - kept.life // 4

    async def _renew(self, kept: _Kept, claimed: bytes) -> Token:
        """Renew under our claim and write down the outcome; a claim that failed is given back."""
        try:
            made = await self._ask(kept)
        except UnauthenticatedError:
            late = await self._of_others(kept, claimed)
            if late is None:
                raise
            return late
        except BaseException:
            await self._give_back(kept, claimed)
            raise
        await self._save(made, claimed)
        return Token(made.access, made.expires)

    async def _of_others(self, kept: _Kept, claimed: bytes) -> Token | None:
        """Give our claim back; return the token that another process got for the same refresh token, None without one.

        Only a process whose claim has just run out may still come with one, and only for that one is it worth waiting.
        """
        late = bool(kept.claim) and self._environment.clock.now() < kept.until + int(_CLAIM * _SECOND)
        await self._give_back(kept, claimed, again=late)
        for turn in range(_TRIES if late else 1):
            if turn:
                await self._environment.clock.sleep(_PAUSE * 2 ** (turn - 1))
            found = _Kept.load(await self._notes.read(NOTE))
            if found is not None and found.seed == kept.seed and self._holds(found):
                return Token(found.access, found.expires)
        return None

    async def _give_back(self, kept: _Kept, claimed: bytes, *, again: bool = False) -> None:
        """End our claim; with `again` the one before it, which ran out, is seen again."""
        before = kept if again else replace(kept, claim="", until=0)
        try:
            await self._notes.swap(NOTE, claimed, before.dump())
        except HoldfastError:
            return  # the claim ends by itself

    async def _save(self, made: _Kept, held: bytes) -> None:
        """Keep the new refresh token; while it cannot be, this process still works with it and tries again later."""
        self._unsaved = made
        now: bytes | None = held
        for turn in range(_TRIES):
            try:
                if await self._written(made, now):
                    self._unsaved = None
                    return
                now = await self._notes.read(NOTE)
            except HoldfastError:
                await self._environment.clock.sleep(_PAUSE * 2**turn)
        self._not_before = self._environment.clock.monotonic() + _REST

    def _newer(self, raw: bytes | None) -> bool:
        """Return whether somebody whose claim came after ours has written a token of his own."""
        kept = _Kept.load(raw)
        return kept is not None and kept.seed == self._seed and not kept.claim and self._holds(kept)

    async def _ask(self, kept: _Kept) -> _Kept:
        """Return what the service gives for the refresh token."""
        answer = await self._exchange(kept.refresh)
        access, refresh = answer.get("access_token"), answer.get("refresh_token")
        if not isinstance(access, str) or not access:
            raise self._where.error(UnavailableError, "the answer to a renewal holds no token")
        life = int(seconds(answer.get("expires_in")) * _SECOND)
        return _Kept(
            seed=self._seed,
            refresh=refresh if isinstance(refresh, str) and refresh else kept.refresh,
            access=access,
            expires=self._environment.clock.now() + life if life else None,
            life=life,
        )

    async def _exchange(self, refresh: str) -> Mapping[str, Any]:
        for turn in range(_TRIES):
            try:
                return await self._once(refresh)
            except UnavailableError:
                # An answer that was lost may have ended the old refresh token; only asking again tells.
                if turn == _TRIES - 1:
                    raise
                await self._environment.clock.sleep(_PAUSE * 2**turn)
        raise AssertionError("the last try returns or raises")

    async def _once(self, refresh: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh,
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret.get_secret_value(),
        }
        url = f"{self._settings.oauth_url}/token"
        within = 2 * (self._settings.request_timeout + self._settings.connect_timeout)
        async with self._http.exchange("renew", "", "POST", url, data=form, within=within) as response:
            raw = await read_bounded(response, _MOST)
            status = response.status
        try:
            found = parse_json(raw)
        except ValueError:
            found = {}
        said = found if isinstance(found, dict) else {}
        if status == 200:
            return said
        raise self._refusal(status, code_of(said.get("error")))

    def _refusal(self, status: int, code: str) -> HoldfastError:
        shown = f"({status}{' ' + code if code else ''})"
        if code == "invalid_grant":
            return self._where.error(
                UnauthenticatedError,
                f"the refresh token is not accepted any more; get a new one and set `refresh_token` {shown}",
            )
        if code in ("invalid_client", "unauthorized_client"):
            return self._where.error(
                ConfigError,
                f"the OAuth application is not known; correct client_id and client_secret {shown}",
            )
        if status in (408, 429) or status >= 500:
            return self._where.error(UnavailableError, f"the token could not be renewed now {shown}")
        return self._where.error(UnauthenticatedError, f"the token could not be renewed {shown}")


def _result(kept: _Kept) -> dict[str, Any]:
    return {"refresh": kept.refresh, "access": kept.access, "expires": kept.expires, "life": kept.life}


def _digest(access: str) -> str:
    return sha256(access.encode()).hexdigest()
