"""No verb of a session or of its administration works before permission was asked; no handler goes round them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.catalog.contract import Actor
from holdfast.core.errors import PermissionDeniedError, UnauthenticatedError
from holdfast.core.search import Search
from holdfast.core.types import ObjectRef, Principal, Version
from holdfast.engine.administration import Administration
from holdfast.engine.executions import Executions
from holdfast.engine.moments import Moments
from holdfast.engine.permits import Permit
from holdfast.engine.retention import Retention
from holdfast.engine.session import Session
from holdfast.policy.access import ANONYMOUS
from tests.helpers import run

pytestmark = pytest.mark.engine

#: Answers of a session that tell of nothing but itself.
TELLING = {"may", "default_settings", "written", "asked", "admin"}
#: What each parameter gets; whatever is not here gets an object that can be used for nothing.
GIVEN: dict[str, Any] = {
    "name": "plain",
    "bucket": "plain",
    "key": "k",
    "source": ("plain", "k"),
    "target": ("plain", "k2"),
    "file_id": "0",
    "upload_id": "0",
    "upload_ids": ("0",),
    "version_id": "0",
    "on": True,
    "mode": None,
    "verb": "head",
    "wish": Search(),
    "role": "reader",
    "tenant": "default",
    "issuer": "us",
    "jti": "1",
    "key_id": "hf1",
    "path": "a/b",
    "kind": "logs",
    "execution_id": "run",
    "artifact_id": "a",
    "number": 1,
    "offset": 0,
    "parts": (),
    "version": Version("0", ObjectRef("default", "plain", "k"), 0, "", 0),
}


class WorkedError(Exception):
    """Something was done before permission was asked."""


class Forbidden:
    """A part of the engine that must not be touched."""

    def __getattr__(self, name: str) -> Any:
        raise WorkedError(name)


def strangers() -> list[Principal]:
    return [Principal("p", "default", "unheard-of"), Principal("", "default", ANONYMOUS)]


def verbs_of(kind: type) -> dict[str, Callable[..., Any]]:
    return {
        name: member
        for name, member in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(member) and name not in TELLING
    }


async def call(owner: Any, name: str, verb: Callable[..., Any]) -> None:
    """Call a verb with the arguments that it must have."""
    needed = [
        parameter
        for parameter in list(inspect.signature(verb).parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty
    ]
    positional = [
        GIVEN.get(parameter.name, Forbidden())
        for parameter in needed
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    named = {
        parameter.name: GIVEN.get(parameter.name, Forbidden())
        for parameter in needed
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    answer = getattr(owner, name)(*positional, **named)
    if inspect.isawaitable(answer):
        await answer
    elif isinstance(answer, AbstractAsyncContextManager):
        async with answer:
            pass


def session_of(principal: Principal) -> Session:
    nothing: Any = Forbidden()
    session = object.__new__(Session)
    session.principal = principal
    session._context = session._catalog = session._health = session._hot = nothing
    session._actor = Actor(principal.id)
    session._permit = Permit(nothing, principal, "192.0.2.1")
    return session


def administration_of(principal: Principal) -> Administration:
    nothing: Any = Forbidden()
    found = object.__new__(Administration)
    found._context = found._catalog = nothing
    found._principal, found._actor = principal, Actor(principal.id)
    found._permit = Permit(nothing, principal, "192.0.2.1")
    return found


@pytest.mark.parametrize("name", sorted(verbs_of(Session)))
def test_no_verb_of_a_session_works_for_a_stranger(name: str) -> None:
    verb = verbs_of(Session)[name]
    for principal in strangers():
        if principal.role == ANONYMOUS and name in ("get", "head", "file", "file_facts", "location"):
            continue  # what is public is found out on the way; see the test of public buckets
        with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
            run(call(session_of(principal), name, verb))


@pytest.mark.parametrize("name", sorted(verbs_of(Administration)))
def test_no_verb_of_the_administration_works_for_a_stranger(name: str) -> None:
    for principal in strangers():
        with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
            run(call(administration_of(principal), name, verbs_of(Administration)[name]))


@pytest.mark.parametrize("name", sorted(verbs_of(Retention)))
def test_no_verb_of_retention_works_for_a_stranger(name: str) -> None:
    for principal in strangers():
        session = session_of(principal)
        with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
            run(call(session.retention, name, verbs_of(Retention)[name]))


@pytest.mark.parametrize("name", sorted(verbs_of(Moments)))
def test_no_verb_of_moments_works_for_a_stranger(name: str) -> None:
    for principal in strangers():
        session = session_of(principal)
        with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
            run(call(session.moments, name, verbs_of(Moments)[name]))


@pytest.mark.parametrize("name", sorted(verbs_of(Executions)))
def test_no_verb_of_executions_works_for_a_stranger(name: str) -> None:
    for principal in strangers():
        session = session_of(principal)
        verb = verbs_of(Executions)[name]
        with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
            run(call(session.executions, name, verb))


def test_the_proof_notices_work_before_permission() -> None:
    async def careless(self: Session, bucket: str) -> Any:
        found = await self._catalog.bucket("default", bucket)
        self._permit.allow("list", bucket)
        return found

    session = session_of(strangers()[0])
    session.__class__ = type("Careless", (Session,), {"careless": careless})
    with pytest.raises(WorkedError):
        run(call(session, "careless", careless))


#: Modules of the door that may use the engine itself and not a session: they look after the service, for nobody.
LOOKING_AFTER = {"application", "health", "scrape", "stats", "pages/session"}


def test_no_handler_goes_round_its_session() -> None:
    room = Path(holdfast.__file__).parent / "api"
    guilty = []
    for path in sorted(room.rglob("*.py")):
        if str(path.relative_to(room).with_suffix("")) in LOOKING_AFTER:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or node.attr not in ("catalog", "_catalog", "stores"):
                continue
            if not (isinstance(node.value, ast.Name) and node.value.id in ("found", "settings")):
                guilty.append(f"{path.relative_to(room)}:{node.lineno} .{node.attr}")
    assert guilty == []
