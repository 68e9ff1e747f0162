"""What the service tells of files, read without trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.backends._http import whole
from holdfast.backends.yandex_disk.api import Api
from holdfast.backends.yandex_disk.errors import Where
from holdfast.core.errors import NotFoundError, UnavailableError
from holdfast.core.types import BlobInfo

FIELDS: Final = "type,name,size,md5,sha256,modified,resource_id"


@dataclass(frozen=True, slots=True)
class Resource:
    """A file or a folder. Digests are lower-case hexadecimal, "" where the service does not know them yet."""

    name: str
    kind: str
    size: int = -1
    md5: str = ""
    sha256: str = ""
    modified: int = 0
    id: str = ""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Resource:
        """Return what an answer says; what it does not say stays empty."""
        size = whole(said.get("size"))
        return cls(
            _text(said, "name"),
            _text(said, "type"),
            -1 if size is None else size,
            _text(said, "md5").lower(),
            _text(said, "sha256").lower(),
            _moment(_text(said, "modified")),
            _text(said, "resource_id"),
        )

    def info(self, name: str) -> BlobInfo:
        """Return it as the blob `name`."""
        return BlobInfo(name, self.size, self.modified, self.md5 or None)


async def look(api: Api, where: Where, path: str) -> Resource:
    """Return the file at `path`; `NotFoundError` when there is none (a folder is none)."""
    answer = await api.call(where, "GET", "/resources", {"path": path, "fields": FIELDS})
    found = Resource.of(answer.body)
    if found.kind == "dir":
        raise where.error(NotFoundError, "the store has no such blob")
    if found.kind != "file" or found.size < 0:
        raise where.error(UnavailableError, "the service does not say what it has there")
    return found


async def is_there(api: Api, where: Where, path: str) -> bool:
    """Return whether anything is at `path`."""
    answer = await api.call(where, "GET", "/resources", {"path": path, "fields": "type"}, bear=(404,))
    return answer.status != 404


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _moment(text: str) -> int:
    """Return microseconds for an ISO time; 0 when it cannot be read."""
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return 0
