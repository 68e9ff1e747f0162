"""The folder that a store lives in, and the sixteen folders in it that hold its blobs.

A folder holds at most 500,000 items, so blobs are spread by a digit of their name's SHA-256. Which folder a file lies in
matters to nobody but the folder's limit: files are known by their ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from holdfast.backends.google_drive.client import Client
from holdfast.backends.google_drive.errors import OWN_SPACE, Where, failure
from holdfast.backends.google_drive.files import FIELDS, FOLDER, File, Files, listing, parsed, quoted
from holdfast.backends.google_drive.index import Index
from holdfast.backends.google_drive.properties import digest
from holdfast.core.errors import ConfigError, NotFoundError, UnavailableError

_PAGE: Final = 1000
_SHARDS: Final = "0123456789abcdef"
_NAME: Final = "holdfast-"
_ROOT: Final = "root"  #: the fact that names the folder which the notes belong to
_INDEX: Final = "index"  #: the fact that tells that every file has its note
_COMPLETE: Final = "complete"


@dataclass(frozen=True, slots=True)
class Root:
    """The folder, and the shared drive that it lies in ("": none)."""

    id: str
    drive: str


class Home:
    """Looks once whether the folder can be used, and makes the folders in it as they are needed."""

    def __init__(self, client: Client, files: Files, index: Index) -> None:
        self._client, self._files, self._index = client, files, index
        self._root: Root | None = None
        self._complete = False
        self._shards: dict[str, str] = {}
        self._locks = {shard: asyncio.Lock() for shard in (*_SHARDS, _ROOT)}

    async def root(self, where: Where) -> Root:
        """Return the folder.

        Raises:
            ConfigError: it cannot be used, or these notes belong to another one.
        """
        if self._root is None:
            async with self._locks[_ROOT]:
                if self._root is None:
                    self._root = await self._found(where)
        return self._root

    async def complete(self, where: Where) -> bool:
        """Return whether a name without a note is no blob; if not, Drive has to be asked."""
        if not self._complete:
            await self.root(where)
            self._complete = await self._index.fact(_INDEX) == _COMPLETE
        return self._complete

    async def completed(self) -> None:
        """Note that every file has its note now."""
        self._complete = True
        await self._index.set_fact(_INDEX, "", _COMPLETE)

    async def look(self, where: Where) -> None:
        """Raise when the folder is not there for us any more: then a missing file proves nothing."""
        await self._look(where, await self.root(where))

    async def _look(self, where: Where, root: Root) -> None:
        try:
            await self._files.get(where, root.id)
        except NotFoundError as error:
            self._root = None
            raise failure(
                ConfigError,
                "the folder of this store is gone, in the trash, or not shown to these credentials any more",
                where,
            ) from error

    async def shard(self, where: Where, name: str) -> str:
        """Return the id of the folder for a blob of that name, made if need be."""
        shard = digest(name)[0]
        if shard not in self._shards:
            async with self._locks[shard]:
                if shard not in self._shards:
                    self._shards[shard] = await self._made(where, shard)
        return self._shards[shard]

    async def mend(self, where: Where, folder: str) -> None:
        """Forget a folder that somebody removed; one that is there stays."""
        for shard, id in list(self._shards.items()):
            if id == folder:
                try:
                    await self._files.get(where, id)
                except NotFoundError:
                    await self.look(where)
                    self._shards.pop(shard, None)
                    await self._index.set_fact(_note(shard), id, "")

    async def folders(self, where: Where) -> list[str]:
        """Return the ids of all folders that may hold blobs, also of those that lost a race to be the one."""
        noted = [await self._index.fact(_note(shard)) for shard in _SHARDS]
        return sorted({*filter(None, noted), *await self._inside(where, await self.root(where))})

    async def search(self, where: Where, query: str) -> AsyncIterator[File]:
        """Yield the files that a query finds, page by page; what was just made or removed may be wrong."""
        root = await self.root(where)
        async for file in self._pages(where, root, query):
            yield file

    async def _inside(self, where: Where, root: Root) -> list[str]:
        """Return the folders of ours that a listing shows."""
        query = f"{quoted(root.id)} in parents and mimeType = {quoted(FOLDER)} and trashed = false"
        return [file.id async for file in self._pages(where, root, query) if file.name.startswith(_NAME)]

    async def _pages(self, where: Where, root: Root, query: str) -> AsyncIterator[File]:
        params = {
            "q": query,
            "pageSize": str(_PAGE),
            "fields": f"nextPageToken,incompleteSearch,files({FIELDS})",
            **listing(root.drive),
        }
        seen: set[str] = set()
        while True:
            try:
                answer: Any = await self._client.json(where, "GET", "files", params) or {}
            except NotFoundError as error:
                await self._look(where, root)
                raise failure(
                    UnavailableError, "Google does not find the drive at the moment", where
                ) from error
            if answer.get("incompleteSearch"):
                raise failure(
                    UnavailableError, "Google did not look everywhere; the listing is not whole", where
                )
            for one in answer.get("files", ()):
                yield parsed(where, one)
            token = str(answer.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise failure(UnavailableError, "Google's listing runs in a circle", where)
            seen.add(token)
            params["pageToken"] = token

    async def _found(self, where: Where) -> Root:
        settings = self._client.settings
        wanted = settings.folder_id or settings.drive_id or "root"
        try:
            file = await self._files.get(where, wanted)
        except NotFoundError as error:
            raise failure(
                ConfigError,
                "the folder is not there, in the trash, or not shown to these credentials: correct folder_id or"
                " drive_id, or share the folder with them",
                where,
            ) from error
        if file.mime_type != FOLDER:
            raise failure(ConfigError, "folder_id is no folder", where)
        if settings.drive_id and file.drive_id != settings.drive_id and file.id != settings.drive_id:
            raise failure(ConfigError, "the folder does not lie in the shared drive of drive_id", where)
        drive = file.drive_id or settings.drive_id
        if where.homeless and not drive:
            raise failure(ConfigError, OWN_SPACE, where)
        root = Root(file.id, drive)
        await self._settle(where, root)
        return root

    async def _settle(self, where: Where, root: Root) -> None:
        """Note which folder the notes belong to; in an empty one the index is complete from the start."""
        noted = await self._index.fact(_ROOT)
        if not noted:
            # Looked at before anything is noted: a look that fails is made again.
            if not await self._inside(where, root):
                await self._index.set_fact(_INDEX, "", _COMPLETE)
            await self._index.set_fact(_ROOT, "", root.id)
            noted = await self._index.fact(_ROOT)
        if noted != root.id:
            raise failure(
                ConfigError,
                "this store's notes belong to another folder: put folder_id back, or give the store a new name",
                where,
            )

    async def _made(self, where: Where, shard: str) -> str:
        note = _note(shard)
        if known := await self._index.fact(note):
            return known
        root = await self.root(where)
        try:
            made = await self._files.make_folder(where, _NAME + shard, root.id)
        except NotFoundError as error:
            await self._look(where, root)
            raise failure(UnavailableError, "Google made no folder, and does not say why", where) from error
        if await self._index.set_fact(note, "", made.id):
            return made.id
        await self._files.remove(where, made.id)
        return await self._index.fact(note) or await self._made(where, shard)


def _note(shard: str) -> str:
    return f"folder/{shard}"
