"""Trying a store out: does it open, answer, take a blob, give it back as it was, and delete it?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from holdfast.core.backend import Backend, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.engine.probe import probe

_FOLDER: Final = "holdfast-test"
_SIZE: Final = 64  #: bytes of the blob
_PATIENCE: Final = 30.0  #: seconds for all of it


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `trouble` says what went wrong, "" for nothing; `wrote`: a blob was written, and is gone again."""

    trouble: str
    wrote: bool
    seconds: float

    @property
    def well(self) -> bool:
        """Whether all went well."""
        return not self.trouble


async def attempt(
    opened: Callable[[], Store], environment: Environment, *, write: bool, close: bool = False
) -> Trial:
    """Open a store and try it; `close` it in the end. Errors of the store are the answer, and none is raised."""
    began = environment.clock.monotonic()
    trouble, store = "", None
    try:
        store = opened()
        async with asyncio.timeout(_PATIENCE):
            found = await probe(store.backend, environment)
            trouble = found.problem
            if not trouble and write:
                trouble = await _round_trip(store.backend, environment)
    except HoldfastError as error:
        trouble = error.message
    except TimeoutError:
        trouble = f"it took longer than {_PATIENCE:g} seconds"
    finally:
        if close and store is not None:
            with suppress(HoldfastError, OSError):
                await store.backend.close()
    return Trial(trouble, write and not trouble, environment.clock.monotonic() - began)


async def _round_trip(backend: Backend, environment: Environment) -> str:
    """Write, read and delete a blob; return what was wrong."""
    name = f"{_FOLDER}/{environment.new_id()}"
    content = environment.random.getrandbits(8 * _SIZE).to_bytes(_SIZE, "big")
    step = "a blob cannot be written"
    try:
        await backend.put(name, Body.of_bytes(content))
        step = "what was written cannot be read"
        async with backend.get(name) as reader:
            if await reader.read() != content:
                return "what is read is not what was written"
        step = "what was written cannot be deleted"
        await backend.delete(name)
    except HoldfastError as error:
        with suppress(HoldfastError):
            await backend.discard(name)
        return f"{step}: {error.message}"
    try:
        await backend.head(name)
    except NotFoundError:
        return ""
    except HoldfastError as error:
        return f"what was deleted cannot be looked for: {error.message}"
    return "what was deleted is still there"
