"""What every store promises that copies from another one by itself, told of a pair: the source, and who copies from it.

    test_copies_between_buckets = copies.kept_by(pair)

`pair(environment, folder)` returns two stores, both empty below `copies/`. What a driver is refused, and how it copies
what one request cannot, differ with the service; they are in the driver's own tests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from holdfast.core.backend import Backend, Capability, CopierFrom, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError, UnavailableError
from holdfast.layers.base import Layer
from holdfast.testing.harness import noise
from tests.conformance.foreign import ForeignBackend

Promise = Callable[[Backend, Any], Awaitable[None]]
Pair = Callable[[Environment, Path], Any]
_ROOT: Final = "copies/"
_SIZE: Final = 400_000


async def put(store: Backend, name: str, data: bytes, **metadata: str) -> None:
    await store.put(_ROOT + name, Body.of_bytes(data), options=PutOptions("text/plain", metadata))


async def read(store: Backend, name: str) -> bytes:
    async with store.get(_ROOT + name) as reader:
        return await reader.read()


async def names(store: Backend) -> list[str]:
    return [info.name.removeprefix(_ROOT) async for info in store.list(_ROOT)]


async def copied(here: Backend, there: CopierFrom, source: str, target: str) -> None:
    await there.copy_from(here, _ROOT + source, _ROOT + target)


async def it_says_of_whom_it_copies(here: Backend, there: Any) -> None:
    assert isinstance(there, CopierFrom)
    assert there.can_copy_from(here)
    assert not there.can_copy_from(ForeignBackend())
    assert Layer(there).can_copy_from(Layer(here))


async def a_copy_has_the_bytes_the_name_and_the_metadata(here: Backend, there: Any) -> None:
    keeps = Capability.METADATA in here.capabilities & there.capabilities
    for size in (0, 1000, _SIZE + 1):
        data, about = noise(size, size), {"colour": "deep blue", "ort": "Köln"}
        await put(here, "source", data, **about)
        info = await there.copy_from(here, _ROOT + "source", _ROOT + "folder/copy")
        assert (info.name, info.size) == (_ROOT + "folder/copy", size)
        assert await read(there, "folder/copy") == data
        found = await there.head(_ROOT + "folder/copy")
        assert (found.size, dict(found.metadata)) == (size, about if keeps else {})


async def a_copy_is_a_blob_of_its_own(here: Backend, there: Any) -> None:
    await put(here, "source", b"first")
    await copied(here, there, "source", "copy")
    await put(here, "source", b"second")
    assert await read(there, "copy") == b"first"
    await here.delete(_ROOT + "source")
    assert await read(there, "copy") == b"first"
    await put(here, "source", b"third")
    await copied(here, there, "source", "other")
    await put(there, "other", b"fourth")
    assert await read(here, "source") == b"third"


async def a_copy_replaces_its_target_and_leaves_no_third_name(here: Backend, there: Any) -> None:
    await put(here, "source", b"new")
    await put(there, "target", b"old and longer", old="1")
    for _ in range(2):
        await copied(here, there, "source", "target")
        assert await read(there, "target") == b"new"
        assert dict((await there.head(_ROOT + "target")).metadata) == {}
    assert (await names(here), await names(there)) == (["source"], ["target"])


async def a_source_that_is_not_there_is_told(here: Backend, there: Any) -> None:
    await put(there, "target", b"old")
    for target in ("target", "never"):
        with pytest.raises(NotFoundError):
            await copied(here, there, "none", target)
    assert await names(there) == ["target"]
    assert await read(there, "target") == b"old"


async def names_of_any_kind_are_found(here: Backend, there: Any) -> None:
    for name in ("a+b/c=d", "it's/(so)!~*$1,000;x", "c:d@e/-._~/0"):
        await put(here, name, name.encode())
        await copied(here, there, name, f"to/{name}")
        assert await read(there, f"to/{name}") == name.encode()


async def a_source_that_changes_meanwhile_is_copied_whole_or_not(here: Backend, there: Any) -> None:
    contents = [noise(_SIZE, number) for number in range(2)]

    await put(here, "source", contents[0])
    for number in (1, 0, 1, 0):
        writing = asyncio.create_task(put(here, "source", contents[number]))
        try:
            await copied(here, there, "source", "copy")
        except UnavailableError:
            continue
        finally:
            await writing
        assert await read(there, "copy") in contents
    await copied(here, there, "source", "copy")
    assert await read(there, "copy") == contents[0]


async def a_source_that_goes_meanwhile_is_copied_whole_or_not(here: Backend, there: Any) -> None:
    data = noise(_SIZE)
    for number in range(3):
        await put(here, "source", data)
        copying = asyncio.create_task(copied(here, there, "source", f"copy{number}"))
        await asyncio.sleep(0.002 * number)
        await here.delete(_ROOT + "source")
        try:
            await copying
        except (NotFoundError, UnavailableError):
            assert f"copy{number}" not in await names(there)
        else:
            assert await read(there, f"copy{number}") == data


async def who_is_stopped_leaves_all_or_nothing(here: Backend, there: Any) -> None:
    data = noise(_SIZE)
    await put(here, "source", data)
    for number in range(4):
        name = f"copy{number}"
        copying = asyncio.create_task(copied(here, there, "source", name))
        await asyncio.sleep(0.003 * number)
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        if name in await names(there):
            assert await read(there, name) == data
        await there.discard(_ROOT + name)
    assert await names(there) == []


PROMISES: Final[dict[str, Promise]] = {
    promise.__name__: promise
    for promise in (
        it_says_of_whom_it_copies,
        a_copy_has_the_bytes_the_name_and_the_metadata,
        a_copy_is_a_blob_of_its_own,
        a_copy_replaces_its_target_and_leaves_no_third_name,
        a_source_that_is_not_there_is_told,
        names_of_any_kind_are_found,
        a_source_that_changes_meanwhile_is_copied_whole_or_not,
        a_source_that_goes_meanwhile_is_copied_whole_or_not,
        who_is_stopped_leaves_all_or_nothing,
    )
}


def kept_by(pair: Pair, *, only: Iterable[str] = tuple(PROMISES)) -> Callable[..., None]:
    """Return a test that tries every promise (or those named in `only`) on a pair of stores.

    Assign it to a name that begins with `test_`.
    """

    @pytest.mark.parametrize("promise", list(only))
    def test(promise: str, tmp_path: Path) -> None:
        asyncio.run(_once(pair, PROMISES[promise], tmp_path))

    return test


async def _once(pair: Pair, promise: Promise, folder: Path) -> None:
    made = pair(Environment(), folder)
    stores = await made if inspect.isawaitable(made) else made
    try:
        await promise(*stores)
    finally:
        for store in stores:
            for name in await names(store):
                await store.discard(_ROOT + name)
            await store.close()
