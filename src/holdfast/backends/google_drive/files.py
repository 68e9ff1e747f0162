"""The files of Drive as answers tell them, and the calls that concern one file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from holdfast.backends.google_drive import properties
from holdfast.backends.google_drive.client import Client
from holdfast.backends.google_drive.errors import Where, failure
from holdfast.core.errors import NotFoundError, UnavailableError

FOLDER: Final = "application/vnd.google-apps.folder"
FIELDS: Final = "id,name,mimeType,parents,size,md5Checksum,sha256Checksum,createdTime,modifiedTime,trashed,driveId,appProperties"
ALL_DRIVES: Final = {"supportsAllDrives": "true"}
_IDS: Final = 100  #: ids that are fetched at once


class File(msgspec.Struct, rename="camel", frozen=True):
    """One file or folder. Sizes arrive as text; folders and native documents have none, nor checksums."""

    id: str
    name: str = ""
    mime_type: str = ""
    parents: tuple[str, ...] = ()
    size: str = ""
    md5_checksum: str = ""
    sha256_checksum: str = ""
    created_time: str = ""
    modified_time: str = ""
    trashed: bool = False
    drive_id: str = ""
    app_properties: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        """Its size."""
        return int(self.size) if self.size.isascii() and self.size.isdigit() else 0

    @property
    def created(self) -> int:
        """When it was made, in microseconds."""
        return _moment(self.created_time)

    @property
    def modified(self) -> int:
        """When its content was made, in microseconds."""
        return _moment(self.modified_time) or self.created

    @property
    def label(self) -> properties.Label | None:
        """What it says of itself."""
        return properties.read(self.app_properties)


class Files:
    """Calls that concern one file."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: deque[str] = deque()
        self._fetching = asyncio.Lock()

    async def new_id(self, where: Where) -> str:
        """Return an id that no file has yet; they are fetched many at a time."""
        async with self._fetching:
            if not self._ids:
                params = {"count": str(_IDS), "space": "drive", "type": "files"}
                try:
                    answer = await self._client.json(where, "GET", "files/generateIds", params)
                except NotFoundError as error:  # it is not a blob that is missing
                    raise failure(UnavailableError, "Google gave no ids for new files", where) from error
                self._ids.extend(str(one) for one in (answer or {}).get("ids", ()))
            if not self._ids:
                raise failure(UnavailableError, "Google gave no ids for new files", where)
            return self._ids.popleft()

    async def get(self, where: Where, id: str) -> File:
        """Return what Drive says of a file; `NotFoundError` when it is not there or in the trash."""
        params = {"fields": FIELDS, **ALL_DRIVES}
        file = parsed(where, await self._client.json(where, "GET", f"files/{id}", params))
        if file.trashed:
            raise failure(NotFoundError, "the file is in the trash of Google Drive", where)
        return file

    async def remove(self, where: Where, id: str) -> bool:
        """Remove a file; False when it was not there."""
        trash = self._client.settings.trash
        try:
            if trash:
                await self._client.json(
                    where, "PATCH", f"files/{id}", {"fields": "id", **ALL_DRIVES}, {"trashed": True}
                )
            else:
                await self._client.json(where, "DELETE", f"files/{id}", ALL_DRIVES)
        except NotFoundError:
            return False
        return True

    async def make_folder(self, where: Where, name: str, parent: str) -> File:
        """Make a folder; a broken call may leave a second one, which does no harm."""
        body = {"name": name, "mimeType": FOLDER, "parents": [parent]}
        return parsed(
            where, await self._client.json(where, "POST", "files", {"fields": FIELDS, **ALL_DRIVES}, body)
        )


def parsed(where: Where, found: Any) -> File:
    """Return the file that an answer describes; an answer that describes none is a broken one."""
    try:
        return msgspec.convert(found, File)
    except msgspec.ValidationError:
        raise failure(UnavailableError, "Google's answer describes no file", where) from None


def listing(drive: str) -> Mapping[str, str]:
    """Return the parameters of a listing in My Drive, or in a shared drive."""
    if not drive:
        return {"spaces": "drive", "includeItemsFromAllDrives": "true", **ALL_DRIVES}
    return {"corpora": "drive", "driveId": drive, "includeItemsFromAllDrives": "true", **ALL_DRIVES}


def quoted(text: str) -> str:
    """Return `text` as a query holds it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _moment(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1_000_000)
    except ValueError:
        return 0
