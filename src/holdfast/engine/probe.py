"""Whether a store answers and lets us in, and if not, why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from holdfast.core.backend import Backend, Store
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

PATIENCE: Final = 2.5  #: seconds that a store or the catalog may take
_PREFIX: Final = "holdfast-health"  #: nothing is ever called so
#: The store answers, and its answer will be the same until somebody changes something.
_SETTLED: Final = (ConfigError, NotFoundError, PermissionDeniedError, UnauthenticatedError)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. `connected` without `usable`: it answers, but the bucket is missing or we are not let in."""

    connected: bool
    usable: bool
    seconds: float
    problem: str = ""  #: for operators
    cause: HoldfastError | None = None  #: what it answered instead, when it answered


async def check_usable(store: Store, environment: Environment, *, answers: bool = False) -> None:
    """Return when a store lets us in, or with `answers` false when it does not answer, which may pass.

    Raises:
        ConflictError: it answers something else, and will until somebody changes something. UnavailableError: nothing.
    """
    found = await probe(store.backend, environment)
    told = f"store {store.name!r} cannot be used: {found.problem}"
    if found.cause is not None:
        # whatever it said of us must not pass for said of the caller
        raise ConflictError(told) from found.cause
    if answers and not found.connected:
        raise UnavailableError(told)


async def probe(backend: Backend, environment: Environment) -> Probe:
    """Ask a store for a listing of nothing: unlike a look at one blob, that fails when the bucket is missing."""
    began = environment.clock.monotonic()

    def found(connected: bool, usable: bool, problem: str = "", cause: HoldfastError | None = None) -> Probe:
        return Probe(connected, usable, environment.clock.monotonic() - began, problem, cause)

    try:
        async with asyncio.timeout(PATIENCE):
            async for _ in backend.list(_PREFIX):
                break
    except _SETTLED as error:
        return found(True, False, error.message, error)
    except HoldfastError as error:
        return found(False, False, error.message)
    except TimeoutError:
        return found(False, False, f"no answer within {PATIENCE:g} seconds")
    return found(True, True)
