"""Stores of the catalog made, changed and retired as a file wants them: tested before they serve."""

from __future__ import annotations

from typing import Any, Final

from holdfast.core.backend import StoreState, check_labels
from holdfast.core.errors import ConfigError, ConflictError, InvalidRequestError
from holdfast.core.names import Layout, check_store
from holdfast.engine.connections import Connections
from holdfast.engine.context import Context
from holdfast.engine.standing import Standing, values_of
from holdfast.engine.store_settings import StoreSettings, present
from holdfast.policy.differences import Action, Change, Kind, Wanted

_PLAIN: Final = (
    "labels",
    "region",
    "price",
    "attempts",
    "max_in_flight",
    "encrypt",
    "cache",
    "cache_bytes",
    "describe",
)


def trouble(context: Context, wanted: Wanted, now: Standing, name: str) -> str:
    """Return why a store cannot be as it is described; "" when only its test can tell."""
    members, held = wanted.things[Kind.STORE, name], now.stores.get(name)
    try:
        check_store(name)
        check_labels(members.get("labels", ()))
        if name in context.stores.own:
            return "a store of that name is in the file of this process; rename one of them"
        before = values_of(context, held) if held is not None and held.driver == members["driver"] else {}
        settings = StoreSettings(context.stores, context.secret)
        settings.check(members["driver"], present({**before, **members["settings"]}))
    except InvalidRequestError as error:
        return error.message
    return ""


async def carry_out(connections: Connections, wanted: Wanted, now: Standing, change: Change) -> None:
    """Make one change of a store. One that is to serve is tested, and left inactive when the test fails.

    Raises:
        ConfigError: the test failed; the message says what is wrong.
        ConflictError: it is no longer what it was when this was planned.
    """
    name = change.name
    if change.action is not Action.CREATE:
        found = (await connections.store(name)).connection
        if found.updated != now.stores[name].updated:
            raise ConflictError("the store was changed by somebody else meanwhile; plan it again")
    if change.action is Action.REMOVE:
        await connections.deactivate(name)
        await connections.retire(name)
        return
    members = wanted.things[Kind.STORE, name]
    edited = {edit.member for edit in change.edits}
    given: dict[str, Any] = {member: members[member] for member in _PLAIN if member in edited}
    if "layout" in edited:
        given["layout"] = Layout(members["layout"])
    if "state" in edited:
        given["state"] = StoreState(members["state"])
    serves = bool(members["active"])
    if change.action is Action.CREATE:
        await connections.create(name, members["driver"], members["settings"], **given)
    else:
        settings = {
            member.removeprefix("settings."): members["settings"][member.removeprefix("settings.")]
            for member in edited
            if member.startswith("settings.")
        }
        driver = members["driver"] if "driver" in edited else None
        await connections.update(
            name,
            driver=driver,
            settings=members["settings"] if driver else settings or None,
            whole=driver is not None,
            active=None if serves else False,
            **given,
        )
    if serves:
        await _start(connections, name, "created" if change.action is Action.CREATE else "changed")


async def _start(connections: Connections, name: str, done: str) -> None:
    """Test a store and let it serve."""
    known = await connections.store(name)
    if known.connection.serves:
        return
    _, trial = await connections.test(name)
    if not trial.well:
        raise ConfigError(
            f"the store was {done}, but not activated: its test failed: {trial.trouble}; it takes no new objects until"
            f" a test goes well (holdfast store test {name}, or apply again)"
        )
    if not known.connection.active:
        await connections.activate(name)
