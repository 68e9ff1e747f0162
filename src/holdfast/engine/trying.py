"""Trying a store out: does it open, answer, take a blob, give it back as it was, and delete it?"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Backend, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import DeadlineError, HoldfastError, NotFoundError, UnavailableError
from holdfast.engine.probe import probe

_LOG: Final = logging.getLogger("holdfast")
_FOLDER: Final = "holdfast-test"
_SIZE: Final = 64  #: bytes of the blob
_PATIENCE: Final = 30.0  #: seconds for all of it


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `trouble` says what went wrong, "" for nothing; `wrote`: a blob was written, and is gone again.

    `unanswered`: the store did not answer, which says nothing of whether it is described rightly.
    """

    trouble: str
    wrote: bool
    seconds: float
    unanswered: bool = False

    @property
    def well(self) -> bool:
        """Whether all went well."""
        return not self.trouble


async def attempt(
    opened: Callable[[], Store],
    environment: Environment,
    *,
    write: bool,
    close: bool = False,
    expected: Sequence[str] = (),
) -> Trial:
    """Open a store and try it; `close` it in the end. Errors of the store are the answer, and none is raised.

    `expected` are names of blobs that should be there: one of them has to be.
    """
    began = environment.clock.monotonic()
    trouble, store, unanswered = "", None, False
    try:
        store = opened()
        async with asyncio.timeout(_PATIENCE):
            found = await probe(store.backend, environment)
            trouble, unanswered = found.problem, not found.connected
            if not trouble and expected:
                trouble = await _look_for(store.backend, expected)
            if not trouble and write:
                trouble = await _round_trip(store.backend, environment)
    except HoldfastError as error:
        trouble, unanswered = error.message, isinstance(error, UnavailableError | DeadlineError)
    except TimeoutError:
        unanswered = True
        trouble = f"it took longer than {_PATIENCE:g} seconds"
    except Exception as error:
        trouble = _unexpected(error)
    finally:
        if close and store is not None:
            with suppress(HoldfastError, OSError):
                await store.backend.close()
    return Trial(trouble, write and not trouble, environment.clock.monotonic() - began, unanswered)


async def _reads(backend: Backend, name: str, content: bytes) -> bool:
    """Tell whether a blob reads as `content`; of one that sleeps in an archive class, whether it has that size."""
    try:
        async with backend.get(name) as reader:
            return await reader.read() == content
    except AsleepError:
        return (await backend.head(name)).size == len(content)


def _unexpected(error: Exception) -> str:
    """Log where a driver failed, without what the error says: a secret may be in it."""
    kind = type(error).__name__
    where = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("testing a store: its driver failed with %s at\n%s", kind, where)
    return f"the driver failed unexpectedly ({kind}); the log of the service says where"


async def _look_for(backend: Backend, names: Sequence[str]) -> str:
    """Return what is wrong when none of these blobs is there; raise when that cannot be looked at."""
    for name in names:
        try:
            await backend.head(name)
        except NotFoundError:
            continue
        except HoldfastError as error:
            raise type(error)(f"what the store holds cannot be looked at: {error.message}") from error
        return ""
    return (
        "the blobs that the catalog has in this store are not there: its settings name another place, or its disk is"
        " not mounted; set them back, or move the data there first (an empty disk is another store)"
    )


async def _round_trip(backend: Backend, environment: Environment) -> str:
    """Write, read and delete a blob; return what was wrong with it, or raise what a step failed with."""
    name = f"{_FOLDER}/{environment.new_id()}"
    content = environment.random.getrandbits(8 * _SIZE).to_bytes(_SIZE, "big")
    step = "a blob cannot be written"
    try:
        await backend.put(name, Body.of_bytes(content))
        step = "what was written cannot be read"
        if not await _reads(backend, name, content):
            return "what is read is not what was written"
        step = "what was written cannot be deleted"
        await backend.delete(name)
    except HoldfastError as error:
        with suppress(HoldfastError):
            await backend.discard(name)
        raise type(error)(f"{step}: {error.message}") from error
    try:
        await backend.head(name)
    except NotFoundError:
        return ""
    except HoldfastError as error:
        raise type(error)(f"what was deleted cannot be looked for: {error.message}") from error
    return "what was deleted is still there"
