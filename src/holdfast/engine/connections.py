"""The stores as operators look after them: made, tested, activated, changed and retired, whatever holds their bytes.

A store of the catalog takes new objects when it is active *and* what it is now has been tested; changing its driver or
settings, secrets too, asks for another test. Secrets go in and never come out: what is answered, audited or logged has
their names at most. Stores that a process's own file describes cannot be changed from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.backend import StoreState, check_labels
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from holdfast.core.names import INLINE, Layout, check_store
from holdfast.core.records import CACHE_BYTES, DESCRIBE, READ_TEST, Connection
from holdfast.core.types import EMPTY, ReplicaState
from holdfast.engine.context import Context
from holdfast.engine.known_stores import MASK, KnownStore, kept_store, own_store
from holdfast.engine.notes import CatalogNotes
from holdfast.engine.permits import Permit
from holdfast.engine.sealing import Sealer, key_id_of
from holdfast.engine.store_settings import StoreSettings, present
from holdfast.engine.stores import DriverField
from holdfast.engine.trying import Trial, attempt

_SETTLE: Final = 3_000_000  #: microseconds after which every process knows that a store takes nothing more
_MOST_ATTEMPTS: Final = 10
_LEAST_CACHE: Final = 16 << 20
_MOST_CACHE: Final = 1 << 50
_MOST_IN_FLIGHT: Final = 65536
_PAGE: Final = 1000  #: copies that are looked through at once
_SAMPLE: Final = 8  #: blobs of which a tested store has to have one
_WORD: Final = 100  #: characters of a region or price key


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What became of the secrets of one store when they were to be sealed with key `key_id`."""

    store: str
    key_id: str
    changed: bool = False
    trouble: str = ""


class Connections:
    """Verbs on stores. `Administration.connections` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, actor: Actor) -> None:
        self._context = context
        self._catalog = context.catalog
        self._permit = permit
        self._actor = actor

    # -- what there is ------------------------------------------------------------------------------------------
    async def all(self) -> Sequence[KnownStore]:
        """Return all stores: those of the file of this process first, then those of the catalog, by name."""
        self._permit.allow("stores")
        stores = self._context.stores
        own = [own_store(self._context.stores, name) for name in stores.own if name != INLINE]
        _, kept = await self._catalog.stores()
        return [*own, *(kept_store(self._context.stores, connection) for connection in kept)]

    async def store(self, name: str) -> KnownStore:
        """Return one store; `NotFoundError` when there is none."""
        self._permit.allow("stores")
        return await self._find(name)

    def options(self) -> Mapping[str, Sequence[DriverField]]:
        """Return every driver with its settings."""
        self._permit.allow("stores")
        drivers = self._settings.drivers
        return {name: drivers.fields(name) for name in drivers.names()}

    # -- changes ------------------------------------------------------------------------------------------------
    async def create(
        self,
        name: str,
        driver: str,
        settings: Mapping[str, Any],
        *,
        layout: Layout = Layout.IMMUTABLE,
        state: StoreState = StoreState.ACTIVE,
        labels: Iterable[str] = (),
        region: str = "",
        price: str = "",
        attempts: int = 3,
        max_in_flight: int | None = None,
        active: bool = False,
        encrypt: bool = False,
        cache: bool = False,
        cache_bytes: int = CACHE_BYTES,
        describe: str = "auto",
    ) -> KnownStore:
        """Make a store. It takes nothing before it is tested and active.

        Raises:
            AlreadyExistsError: there is one of that name. InvalidRequestError: it cannot be like that.
        """
        self._permit.allow("update_stores")
        check_store(name)
        if name in self._context.stores.own:
            raise AlreadyExistsError("the file of this service describes a store of that name", store=name)
        plain, secrets = self._settings.parted(driver, present(settings))
        self._settings.check(driver, {**plain, **secrets})
        now = await self._catalog.now()
        made = Connection(
            name,
            driver,
            plain,
            self._settings.sealer.seal(name, secrets),
            layout,
            state,
            tuple(sorted(check_labels(labels))),
            _word(region, "region"),
            _word(price, "price"),
            _between(attempts, 1, _MOST_ATTEMPTS, "attempts"),
            _in_flight(max_in_flight),
            active,
            self._settings.fingerprint(name, driver, plain, secrets),
            created=now,
            updated=now,
            encrypt=encrypt,
            cache=cache,
            cache_bytes=_between(cache_bytes, _LEAST_CACHE, _MOST_CACHE, "cache_bytes"),
            describe=_described(describe),
        )
        made = await self._catalog.create_store(made, actor=self._actor)
        await self._context.stores.refresh(at_once=True)
        return kept_store(self._context.stores, made)

    async def update(
        self,
        name: str,
        *,
        driver: str | None = None,
        settings: Mapping[str, Any] | None = None,
        whole: bool = False,
        layout: Layout | None = None,
        labels: Iterable[str] | None = None,
        region: str | None = None,
        price: str | None = None,
        attempts: int | None = None,
        max_in_flight: int | EllipsisType | None = ...,
        active: bool | None = None,
        state: StoreState | None = None,
        encrypt: bool | None = None,
        cache: bool | None = None,
        cache_bytes: int | None = None,
        describe: str | None = None,
    ) -> KnownStore:
        """Change what is given. A setting of None goes; `whole`: those that are not given go too, also secret ones.

        `max_in_flight` None: as many as is usual for the driver.

        Another driver or setting asks for another test before the store takes new objects again.

        Raises:
            ConflictError: the file of this service describes it. NotFoundError: there is none.
            InvalidRequestError: it cannot be like that. ConfigError: its other secrets cannot be opened.
        """
        self._permit.allow("update_stores")
        self._check_ours(name)
        given = None if settings is None else dict(settings)
        words = None if labels is None else tuple(sorted(check_labels(labels)))

        def change(held: Connection) -> Connection:
            made = (
                held
                if given is None and driver is None
                else self._settings.changed(held, driver, given or {}, whole)
            )
            return replace(
                made,
                layout=layout or made.layout,
                state=state or made.state,
                labels=made.labels if words is None else words,
                region=made.region if region is None else _word(region, "region"),
                price=made.price if price is None else _word(price, "price"),
                attempts=made.attempts
                if attempts is None
                else _between(attempts, 1, _MOST_ATTEMPTS, "attempts"),
                max_in_flight=made.max_in_flight if max_in_flight is ... else _in_flight(max_in_flight),
                active=made.active if active is None else active,
                encrypt=made.encrypt if encrypt is None else encrypt,
                cache=made.cache if cache is None else cache,
                cache_bytes=made.cache_bytes
                if cache_bytes is None
                else _between(cache_bytes, _LEAST_CACHE, _MOST_CACHE, "cache_bytes"),
                describe=made.describe if describe is None else _described(describe),
            )

        said = {
            "driver": driver or "",
            "settings": ", ".join(sorted(given or ())),
            "layout": layout or "",
            "state": state or "",
            "labels": " ".join(words or ()),
            "region": region or "",
            "price": price or "",
            "active": "" if active is None else str(active).lower(),
            "encrypt": "" if encrypt is None else str(encrypt).lower(),
            "cache": "" if cache is None else str(cache).lower(),
            "cache_bytes": "" if cache_bytes is None else str(cache_bytes),
            "describe": describe or "",
        }
        return await self._change(
            name, change, "update-store", {key: text for key, text in said.items() if text}
        )

    async def activate(self, name: str) -> KnownStore:
        """Let a store take new objects, as soon as it is tested."""
        return await self._switch(name, "activate-store", active=True)

    async def deactivate(self, name: str) -> KnownStore:
        """Let a store take no new objects. What it holds stays readable."""
        return await self._switch(name, "deactivate-store", active=False)

    async def set_state(self, name: str, state: StoreState) -> KnownStore:
        """Say what a store may do: active, read-only, draining or down. Nothing is opened anew for it."""
        self._permit.allow("update_stores")
        self._check_ours(name)
        return await self._change(
            name, lambda held: replace(held, state=state), "store-state", {"state": state.value}
        )

    async def test(self, name: str) -> tuple[KnownStore, Trial]:
        """Open a store, look into it, and write, read and delete a small blob; keep what came of it.

        A store that does not answer stays as tested as it was: an outage takes nothing out of service for good.
        A store of the catalog that should hold blobs fails when they are not there: its place may be a wrong one.
        A read-only store is only looked into; should it take writes later, it needs another test first.
        """
        self._permit.allow("update_stores")
        stores = self._context.stores
        if name in stores.own and name != INLINE:
            reads = stores.own[name].state is StoreState.READ_ONLY
            trial = await attempt(lambda: stores.own[name], self._context.environment, write=not reads)
            return own_store(self._context.stores, name), trial
        held = await self._catalog.store(name)
        expected = await self._held_blobs(name)
        trial = await self._try(held, write=held.state is not StoreState.READ_ONLY, expected=expected)
        at = await self._catalog.now()

        def change(now: Connection) -> Connection:
            if now.fingerprint != held.fingerprint:
                raise ConflictError("the store was changed while it was tested; test it again", store=name)
            tested = held.fingerprint + ("" if trial.wrote else READ_TEST)
            if not trial.well:  # no answer says nothing against settings that were tested well before
                tested = now.tested if trial.unanswered else ""
            return replace(now, tested=tested, tested_at=at, trouble=trial.trouble)

        known = await self._change(name, change, "test-store", {"trouble": trial.trouble or "none"})
        return known, trial

    async def try_out(self, driver: str, settings: Mapping[str, Any]) -> Trial:
        """Test what a store would be, and keep nothing of it."""
        self._permit.allow("update_stores")
        plain, secrets = self._settings.parted(driver, present(settings))
        self._settings.check(driver, {**plain, **secrets})
        return await self._try(Connection("untested", driver, {**plain, **secrets}), write=True)

    async def retire(self, name: str, *, stop: bool = False) -> None:
        """Remove a store that was deactivated, is empty, and is named by no rule; `stop` deactivates one that is so.

        Raises:
            ConflictError: it is not so; the message says how many blobs it holds, or which rule names it.
        """
        self._permit.allow("update_stores")
        self._check_ours(name)
        if name in self._context.placement.stores:
            raise ConflictError("a placement rule in force names the store; change it first", store=name)
        if stop:
            await self._catalog.check_store_unused(name)
            await self._switch(name, "deactivate-store", active=False)
        held = await self._catalog.store(name)
        left = held.updated + _SETTLE - await self._catalog.now()
        if held.tested and not held.active and left > 0:  # until every process knows that it takes nothing
            await self._context.environment.clock.sleep(min(left, _SETTLE) / 1_000_000)
        await self._catalog.retire_store(name, actor=self._actor)
        await self._context.stores.refresh(at_once=True)

    async def rewrap(self) -> Sequence[Rewrapped]:
        """Seal the data keys of all stores with the first of the sealing keys; older keys can be taken away then."""
        self._permit.allow("update_stores")
        sealer = self._settings.sealer
        _, kept = await self._catalog.stores()
        done = {held.name: await self._rewrap(sealer, held) for held in kept if held.sealed}
        for name in {*self._context.stores.own, *(held.name for held in kept)} - {INLINE}:
            found = await self._rewrap_notes(sealer, name)
            if (found.changed or found.trouble) and not done.get(name, found).trouble:
                done[name] = found
        await self._context.stores.refresh(at_once=True)
        return [done[name] for name in sorted(done)]

    # -----------------------------------------------------------------------------------------------------------
    @property
    def _settings(self) -> StoreSettings:
        return StoreSettings(self._context.stores, self._context.secret)

    async def _switch(self, name: str, action: str, *, active: bool) -> KnownStore:
        self._permit.allow("update_stores")
        self._check_ours(name)
        return await self._change(name, lambda held: replace(held, active=active), action, EMPTY)

    async def _change(
        self, name: str, change: Callable[[Connection], Connection], action: str, detail: Mapping[str, str]
    ) -> KnownStore:
        made = await self._catalog.update_store(name, change, action=action, detail=detail, actor=self._actor)
        await self._context.stores.refresh(at_once=True)
        return kept_store(self._context.stores, made)

    async def _rewrap(self, sealer: Sealer, held: Connection) -> Rewrapped:
        key_id = ""
        try:
            key_id = key_id_of(held.name, held.sealed)
            sealed = sealer.rewrap(held.name, held.sealed)
        except ConfigError as error:
            return Rewrapped(held.name, key_id, trouble=error.message)
        if sealed == held.sealed:
            return Rewrapped(held.name, sealer.key_id)

        def change(now: Connection) -> Connection:
            return replace(now, sealed=sealed) if now.sealed == held.sealed else now

        try:
            await self._catalog.update_store(
                held.name, change, action="rewrap-store", detail={"key": sealer.key_id}, actor=self._actor
            )
        except NotFoundError as error:
            return Rewrapped(held.name, key_id, trouble=error.message)
        return Rewrapped(held.name, sealer.key_id, changed=True)

    async def _rewrap_notes(self, sealer: Sealer, name: str) -> Rewrapped:
        try:
            changed = await CatalogNotes(self._catalog, name, sealer).rewrap()
        except ConfigError as error:
            return Rewrapped(name, "", trouble=error.message)
        return Rewrapped(name, sealer.key_id, changed=changed > 0)

    async def _held_blobs(self, name: str) -> list[str]:
        """Return a few blobs that the catalog has in a store; suspect ones where there are no others."""
        after, suspect = "", list[str]()
        while page := await self._catalog.replicas(store=name, after=after, limit=_PAGE):
            if found := [one.blob for one in page if one.state is ReplicaState.LIVE]:
                return found[:_SAMPLE]
            suspect += [one.blob for one in page if one.state is ReplicaState.SUSPECT][:_SAMPLE]
            after = page[-1].id
        return suspect[:_SAMPLE]

    async def _try(self, held: Connection, *, write: bool, expected: Sequence[str] = ()) -> Trial:
        drivers, stores = self._settings.drivers, self._context.stores
        fields = drivers.fields(held.driver)
        names = {field.name for field in fields if field.secret}
        values: dict[str, Any] = {}

        def opened() -> Any:
            values.update(stores.values_of(held))
            return drivers.open(replace(held, state=StoreState.ACTIVE), values)

        trial = await attempt(opened, self._context.environment, write=write, close=True, expected=expected)
        secrets = [str(value) for name, value in values.items() if name in names and str(value)]
        trouble = trial.trouble
        for secret in secrets:
            trouble = trouble.replace(secret, MASK)
        return replace(trial, trouble=trouble)

    def _check_ours(self, name: str) -> None:
        if name == INLINE:
            raise ConflictError(
                "this store is the catalog itself, which holds small contents; it cannot be changed or removed",
                store=name,
            )
        if name in self._context.stores.own:
            raise ConflictError(
                "the store is described in the file or the variables of this service; change it there",
                store=name,
            )

    async def _find(self, name: str) -> KnownStore:
        if name in self._context.stores.own and name != INLINE:
            return own_store(self._context.stores, name)
        try:
            return kept_store(self._context.stores, await self._catalog.store(name))
        except NotFoundError:
            raise NotFoundError("there is no such store", store=name) from None


def _word(text: str, what: str) -> str:
    if len(text) > _WORD or not text.isprintable():
        raise InvalidRequestError(f"{what} is a word of at most {_WORD} printable characters")
    return text


def _described(word: str) -> str:
    if word not in DESCRIBE:
        raise InvalidRequestError(f"describe is one of {', '.join(DESCRIBE)}")
    return word


def _in_flight(number: int | None) -> int | None:
    return None if number is None else _between(number, 2, _MOST_IN_FLIGHT, "max_in_flight")


def _between(number: int, least: int, most: int, what: str) -> int:
    if not least <= number <= most:
        raise InvalidRequestError(f"{what} is a number from {least} to {most}")
    return number
