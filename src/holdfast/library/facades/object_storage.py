"""The port of object storage: a prefix, a key and bytes; and adapters that answer the same wherever the bytes are.

One answer each, for every adapter here: getting or deleting what is not there is a `NotFoundError`, and so is listing a
prefix under which there is nothing (but not the root, which is just empty); a listing shows what is directly under the
prefix, with the prefix before it, folders with a slash at their end, in byte order, however much there is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import InvalidRequestError, NotFoundError, PreconditionFailedError
from holdfast.library.client import AsyncClient
from holdfast.library.facades.holding import Finder, Held, Places, Runner
from holdfast.library.source import Source
from holdfast.library.sync import Client

_THERE: Final = Preconditions(if_match=("*",))


class IObjectStorageAdapter(ABC):
    """What an adapter must do, and two ways to move large objects, which one of foreign making gets for free."""

    @abstractmethod
    def get_object(self, prefix: str, key: str) -> bytes:
        """Return an object (of at most 1 GiB); `NotFoundError` when there is none."""

    @abstractmethod
    def put_object(self, prefix: str, key: str, content: bytes) -> None:
        """Store an object, replacing what is there."""

    @abstractmethod
    def delete_object(self, prefix: str, key: str) -> None:
        """Remove an object; `NotFoundError` when there is none."""

    @abstractmethod
    def list_objects(self, prefix: str) -> list[str]:
        """Return what is directly under `prefix`; `NotFoundError` when nothing is."""

    def get_object_to(self, prefix: str, key: str, path: Path | str) -> None:
        """Write an object to a file."""
        Path(path).write_bytes(self.get_object(prefix, key))

    def put_object_from(self, prefix: str, key: str, source: Path | BinaryIO) -> None:
        """Store what a `Path` names or an open binary file reads."""
        self.put_object(prefix, key, source.read_bytes() if isinstance(source, Path) else source.read())


class IObjectStorageDomain(IObjectStorageAdapter):
    """What a service offers: the same."""


class ObjectStorageService(IObjectStorageDomain):
    """The service in front of an adapter. It belongs to the service: closing that closes the adapter's client."""

    def __init__(self, adapter: IObjectStorageAdapter) -> None:
        self.adapter = adapter

    def get_object(self, prefix: str, key: str) -> bytes:
        """Return an object (of at most 1 GiB); `NotFoundError` when there is none."""
        return self.adapter.get_object(prefix, key)

    def put_object(self, prefix: str, key: str, content: bytes) -> None:
        """Store an object, replacing what is there."""
        self.adapter.put_object(prefix, key, content)

    def delete_object(self, prefix: str, key: str) -> None:
        """Remove an object; `NotFoundError` when there is none."""
        self.adapter.delete_object(prefix, key)

    def list_objects(self, prefix: str = "", queue: Queue[str] | None = None) -> list[str]:
        """Return what is directly under `prefix`, and put each into `queue` where one is given."""
        found = self.adapter.list_objects(prefix)
        for name in found if queue is not None else ():
            assert queue is not None
            queue.put(name)
        return found

    def get_object_to(self, prefix: str, key: str, path: Path | str) -> None:
        """Write an object of any size to a file."""
        self.adapter.get_object_to(prefix, key, path)

    def put_object_from(self, prefix: str, key: str, source: Path | BinaryIO) -> None:
        """Store what a `Path` names or an open binary file reads, of any size."""
        self.adapter.put_object_from(prefix, key, source)

    def close(self) -> None:
        """Close the adapter, if it is one that can be closed."""
        closing: Callable[[], None] | None = getattr(self.adapter, "close", None)
        if closing is not None:
            closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncObjectStorage:
    """The verbs of the port as coroutines, over one bucket of a client. Belongs to one event loop."""

    def __init__(self, held: Held, bucket: str, base_prefix: str = "") -> None:
        self._held = held
        self._bucket = bucket
        self._base = base_prefix
        self._places = Places()

    @classmethod
    def over(cls, client: AsyncClient, bucket: str, base_prefix: str = "") -> Self:
        """Return the port over a bucket of `client`, all keys below `base_prefix`."""
        return cls(Held(client, _unused), bucket, base_prefix)

    async def get_object(self, prefix: str, key: str) -> bytes:
        """See `IObjectStorageAdapter`."""
        return await (await self._held()).get(self._bucket, self._key(prefix, key))

    async def put_object(self, prefix: str, key: str, content: bytes) -> None:
        """See `IObjectStorageAdapter`."""
        await self.put_object_from(prefix, key, content)

    async def delete_object(self, prefix: str, key: str) -> None:
        """See `IObjectStorageAdapter`."""
        client, name = await self._held(), self._key(prefix, key)
        try:
            await client.delete(self._bucket, name, conditions=_THERE)
        except PreconditionFailedError:
            raise NotFoundError("there is no such object", name=name) from None

    async def list_objects(self, prefix: str = "") -> list[str]:
        """See `IObjectStorageAdapter`."""
        client, asked = await self._held(), _joined(prefix)
        below = f"{path}/" if (path := _joined(self._base, asked)) else ""
        skip = len(_joined(self._base)) + 1 if _joined(self._base) else 0
        found: list[str] = []
        try:
            async for page in client.pages(self._bucket, prefix=below, delimiter="/"):
                found += sorted([*(item.ref.key for item in page.items), *page.prefixes], key=str.encode)
        except NotFoundError:  # the bucket is made with the first object
            found = []
        if not found and asked:
            raise NotFoundError("there is nothing under this prefix", name=asked)
        return [name[skip:] for name in found if name != below]

    async def get_object_to(self, prefix: str, key: str, path: Path | str) -> None:
        """Write an object of any size to a file, whole and verified or not at all."""
        await (await self._held()).get_file(self._bucket, self._key(prefix, key), path)

    async def put_object_from(self, prefix: str, key: str, source: Source) -> None:
        """Store bytes, a `Path`, or what an open binary file reads, of any size."""
        client, name = await self._held(), self._key(prefix, key)
        await self._places.ensure(client, self._bucket)
        if isinstance(source, Path):
            await client.put_file(self._bucket, name, source)
        else:
            await client.put(self._bucket, name, source)

    async def close(self) -> None:
        """Close the client if it was opened here."""
        await self._held.close()

    def _key(self, prefix: str, key: str) -> str:
        if not key.strip("/"):
            raise InvalidRequestError("the key is empty; name the object")
        return _joined(self._base, prefix, key)


class ObjectStorageAdapter(IObjectStorageAdapter):
    """The port over one bucket of a client: all adapters here are this one, over different clients."""

    def __init__(
        self,
        client: Client | None,
        bucket: str,
        base_prefix: str = "",
        *,
        find: Finder | None = None,
    ) -> None:
        held = Held(None if client is None else client.aio, find or _unused)
        self.aio = AsyncObjectStorage(held, bucket, base_prefix)
        self._run = Runner(client, self.aio.close)

    def get_object(self, prefix: str, key: str) -> bytes:
        """See `IObjectStorageAdapter`."""
        return self._run(self.aio.get_object(prefix, key))

    def put_object(self, prefix: str, key: str, content: bytes) -> None:
        """See `IObjectStorageAdapter`."""
        self._run(self.aio.put_object(prefix, key, content))

    def delete_object(self, prefix: str, key: str) -> None:
        """See `IObjectStorageAdapter`."""
        self._run(self.aio.delete_object(prefix, key))

    def list_objects(self, prefix: str = "") -> list[str]:
        """See `IObjectStorageAdapter`."""
        return self._run(self.aio.list_objects(prefix))

    def get_object_to(self, prefix: str, key: str, path: Path | str) -> None:
        """Write an object of any size to a file, whole and verified or not at all."""
        self._run(self.aio.get_object_to(prefix, key, path))

    def put_object_from(self, prefix: str, key: str, source: Source) -> None:
        """Store bytes, a `Path`, or what an open binary file reads, of any size."""
        self._run(self.aio.put_object_from(prefix, key, source))

    def close(self) -> None:
        """Close the client if it was opened here; the next call opens it again."""
        self._run.close()


def _joined(*parts: str) -> str:
    return "/".join(piece for part in parts if (piece := part.strip("/")))


def _unused() -> Any:
    raise AssertionError("a client was given")
