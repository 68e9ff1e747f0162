"""Running the checks: for an operator's store, and for the test file of a backend."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.testing.checks import CHECKS
from holdfast.testing.harness import Broken, Check, Harness

_TIMEOUT = 120.0
Factory = Callable[[Environment, Path], Backend | Awaitable[Backend]]


class State(StrEnum):
    """How a promise fared."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One promise and how it fared; `reason` says what happened instead, or what is missing."""

    name: str
    promise: str
    state: State
    reason: str = ""
    seconds: float = 0.0


async def run(
    backend: Backend,
    *,
    environment: Environment | None = None,
    prefix: str = "holdfast-check/",
    only: Iterable[str] | None = None,
    timeout: float = _TIMEOUT,
    close: bool = False,
    progress: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Try every promise (or those named in `only`) on `backend` and return how each fared, in a fixed order.

    Each check writes under a fresh name below `prefix` and removes what it wrote. With `close` the checks that end
    with a closed backend are tried as well, last. No check lasts longer than `timeout` seconds.
    """
    environment = environment or Environment()
    wanted = set(CHECKS) if only is None else set(only)
    outcomes = []
    for check in sorted(CHECKS.values(), key=lambda check: check.last):
        if check.name in wanted and (close or not check.last):
            outcomes.append(await try_one(check, backend, environment, prefix=prefix, timeout=timeout))
            if progress is not None:
                progress(outcomes[-1])
    return outcomes


async def try_one(
    check: Check,
    backend: Backend,
    environment: Environment,
    *,
    prefix: str = "holdfast-check/",
    timeout: float = _TIMEOUT,
) -> Outcome:
    """Try one promise."""
    if missing := _missing(check, backend):
        return Outcome(check.name, check.promise, State.NOT_OFFERED, missing)
    harness = Harness(backend, f"{prefix}{environment.new_id()}/", environment)
    began = environment.clock.monotonic()
    reason = await _reason(check, harness, timeout)
    seconds = environment.clock.monotonic() - began
    if reason is None and not check.last:
        reason = await _untidy(harness, timeout)
    state = State.KEPT if reason is None else State.BROKEN
    return Outcome(check.name, check.promise, state, reason or "", seconds)


def conformance(factory: Factory) -> Callable[..., None]:
    """Return a pytest test that tries every promise on a backend of `factory(environment, empty folder)`.

    Assign it to a name that begins with `test_`; each promise becomes a case of its own. What is not offered is
    reported as such in the case's output and does not count as kept anywhere else.
    """
    import pytest

    @pytest.mark.parametrize("promise", list(CHECKS))
    def test(promise: str, tmp_path: Path) -> None:
        outcome = asyncio.run(_once(factory, promise, tmp_path))
        if outcome.state is State.NOT_OFFERED:
            print(f"not offered: {outcome.reason}")  # noqa: T201
        assert outcome.state is not State.BROKEN, f"{outcome.promise} But: {outcome.reason}"

    return test


async def _once(factory: Factory, name: str, folder: Path) -> Outcome:
    environment = Environment()
    made: Any = factory(environment, folder)
    backend: Backend = await made if inspect.isawaitable(made) else made
    try:
        return await try_one(CHECKS[name], backend, environment)
    finally:
        await backend.close()


def _missing(check: Check, backend: Backend) -> str:
    """Return what `backend` does not offer but the check needs; "" when nothing is missing."""
    lacking = check.needs & ~backend.capabilities
    if lacking:
        return f"the backend does not offer {lacking.name}"
    if check.outside and any(getattr(part, "in_process", False) for part in _parts(backend)):
        return "the backend keeps its blobs in the memory of this process"
    return ""


def _parts(backend: Backend) -> Iterable[object]:
    """Yield the backend and, layer by layer, what it wraps."""
    part: object = backend
    while part is not None:
        yield part
        part = getattr(part, "inner", None)


async def _reason(check: Check, harness: Harness, timeout: float) -> str | None:
    """Return how the promise was broken, or None."""
    try:
        async with asyncio.timeout(timeout):
            await check.run(harness)
    except Broken as error:
        return str(error)
    except TimeoutError:
        return f"it did not end within {timeout:.0f} seconds"
    except HoldfastError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # a driver let a foreign error through
        return f"{type(error).__name__} is no error of ours: {error}"
    return None


async def _untidy(harness: Harness, timeout: float) -> str | None:
    """Remove what the check wrote; return what went wrong, or None."""
    try:
        async with asyncio.timeout(timeout):
            await harness.clean()
            left = await harness.names()
    except (HoldfastError, TimeoutError) as error:
        return f"what the check wrote cannot be removed: {type(error).__name__}: {error}"
    return f"{len(left)} blobs are listed after they were deleted" if left else None
