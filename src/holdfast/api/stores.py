"""Stores over REST, for operators."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.api.store_models import (
    DriverInfo,
    NewStore,
    RewrapList,
    StateChange,
    StoreChange,
    StoreList,
    StoreOptions,
    rewrap_info,
    setting_info,
    store_info,
)
from holdfast.core.backend import LABEL_GROUPS, StoreState
from holdfast.core.names import Layout
from holdfast.engine.connections import Connections


def _desk(exchange: Exchange) -> Connections:
    return exchange.session.admin.connections


async def list_stores(exchange: Exchange) -> None:
    """Answer with all stores, those of the service's own file too; never with a secret."""
    found = await _desk(exchange).all()
    await exchange.answer_json(200, encode(StoreList([store_info(known) for known in found])))


async def show_store(exchange: Exchange, store: str) -> None:
    """Answer with one store."""
    await exchange.answer_json(200, encode(store_info(await _desk(exchange).store(store))))


async def create_store(exchange: Exchange) -> None:
    """Make a store. Secret settings are sealed before they are kept, and never shown again."""
    wish = decode(NewStore, await small_body(exchange, MAX_JSON))
    desk = _desk(exchange)
    made = await desk.create(
        wish.name,
        wish.driver,
        wish.settings,
        layout=Layout(wish.layout),
        state=StoreState(wish.state),
        labels=wish.labels,
        region=wish.region,
        price=wish.price,
        attempts=wish.attempts,
        max_in_flight=wish.max_in_flight,
        encrypt=wish.encrypt,
        cache=wish.cache,
        cache_bytes=wish.cache_bytes,
        describe=wish.describe,
        active=wish.active,
    )
    trial = None
    if wish.test:
        made, trial = await desk.test(wish.name)
    await exchange.answer_json(201, encode(store_info(made, trial)))


async def update_store(exchange: Exchange, store: str) -> None:
    """Change a store. With another driver or setting it takes new objects only when it was tested again."""
    wish = decode(StoreChange, await small_body(exchange, MAX_JSON))
    more: dict[str, Any] = {}
    if wish.max_in_flight is not UNSET:
        more["max_in_flight"] = wish.max_in_flight
    made = await _desk(exchange).update(
        store,
        driver=_given(wish.driver),
        settings=_given(wish.settings),
        layout=None if isinstance(wish.layout, UnsetType) else Layout(wish.layout),
        state=None if isinstance(wish.state, UnsetType) else StoreState(wish.state),
        labels=_given(wish.labels),
        region=_given(wish.region),
        price=_given(wish.price),
        attempts=_given(wish.attempts),
        active=_given(wish.active),
        encrypt=_given(wish.encrypt),
        cache=_given(wish.cache),
        cache_bytes=_given(wish.cache_bytes),
        describe=_given(wish.describe),
        **more,
    )
    await exchange.answer_json(200, encode(store_info(made)))


async def test_store(exchange: Exchange, store: str) -> None:
    """Open a store, look into it, and write, read and delete a small blob; what came of it is kept."""
    known, trial = await _desk(exchange).test(store)
    await exchange.answer_json(200, encode(store_info(known, trial)))


async def activate_store(exchange: Exchange, store: str) -> None:
    """Let a store take new objects, as soon as it is tested."""
    await exchange.answer_json(200, encode(store_info(await _desk(exchange).activate(store))))


async def deactivate_store(exchange: Exchange, store: str) -> None:
    """Let a store take no new objects. What it holds stays readable."""
    await exchange.answer_json(200, encode(store_info(await _desk(exchange).deactivate(store))))


async def set_state(exchange: Exchange, store: str) -> None:
    """Say what a store may do: active, read-only, draining or down."""
    wish = decode(StateChange, await small_body(exchange, MAX_JSON))
    made = await _desk(exchange).set_state(store, StoreState(wish.state))
    await exchange.answer_json(200, encode(store_info(made)))


async def retire_store(exchange: Exchange, store: str) -> None:
    """Remove a store that was deactivated, holds nothing and is named by no rule; 409 says what is in the way."""
    await _desk(exchange).retire(store)
    await exchange.answer(204, ())


async def rewrap(exchange: Exchange) -> None:
    """Seal the keys of all secrets with the first of the sealing keys, so that older ones can be taken away."""
    done = await _desk(exchange).rewrap()
    await exchange.answer_json(200, encode(RewrapList([rewrap_info(one) for one in done])))


async def show_options(exchange: Exchange) -> None:
    """Answer with the drivers that are installed, their settings, and the labels and states that a store may have."""
    drivers = [
        DriverInfo(name, [setting_info(field) for field in fields])
        for name, fields in _desk(exchange).options().items()
    ]
    told = StoreOptions(
        drivers,
        [list(group) for group in LABEL_GROUPS],
        [state.value for state in StoreState],
        [layout.value for layout in Layout],
    )
    await exchange.answer_json(200, encode(told))


def _given(value: Any) -> Any:
    return None if isinstance(value, UnsetType) else value
