"""What is there, in byte order, whatever order the service has and whatever changes meanwhile.

A folder is read in pages that overlap by one item: when the last item of a page is no longer the first one of the next,
something before it came or went, and the folder is read anew. The service's order by name is not known to be by bytes,
so the items of one folder are sorted here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from holdfast.backends.yandex_disk.api import Answer, Api
from holdfast.backends.yandex_disk.errors import Where
from holdfast.backends.yandex_disk.paths import BLOB, LONG, Paths, join
from holdfast.backends.yandex_disk.resources import FIELDS, Resource
from holdfast.core.errors import InvalidRequestError, UnavailableError
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo

_PAGE: Final = 500  #: larger pages are known to run into the service's own time-out
_STRICT: Final = 3  #: readings in which nothing at all may change
_READINGS: Final = 12
_FIELDS: Final = ",".join(
    ("type", "_embedded.total", *(f"_embedded.items.{name}" for name in FIELDS.split(",")))
)


@dataclass(frozen=True, slots=True)
class _Item:
    """A blob, or a folder to go into; `key` is where it stands in the order."""

    key: str
    blob: BlobInfo | None


async def blobs(
    api: Api, where: Where, paths: Paths, prefix: str, after: str
) -> AsyncGenerator[BlobInfo, None]:
    """Yield the blobs whose names begin with `prefix` and are greater than `after`, in byte order."""
    folder = prefix.rpartition("/")[0]
    if folder:
        try:
            check_blob_name(folder)
        except InvalidRequestError:
            return  # no blob can have a name that begins so
    # Folders still to be gone into, each with what is left of it.
    stack = [iter(await _items(api, where, paths, folder, prefix, after))]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif item.blob is not None:
            yield item.blob
        else:
            stack.append(iter(await _items(api, where, paths, item.key[:-1], prefix, after)))


async def children(api: Api, where: Where, path: str) -> list[Resource]:
    """Return all that is in the folder at `path`, each once; nothing when it is not there."""
    for reading in range(_READINGS):
        found = await _read(api, where, path, strict=reading < _STRICT)
        if found is not None:
            return found
        await api.pause(min(reading + 1, 4))
    raise where.error(UnavailableError, "a folder changes faster than it can be listed")


async def _items(api: Api, where: Where, paths: Paths, folder: str, prefix: str, after: str) -> list[_Item]:
    """Return what is in a folder and wanted, sorted."""
    start = f"{folder}/" if folder else ""
    path = paths.folder(folder)
    found: list[_Item] = []
    for child in await children(api, where, path):
        if child.kind == "file":
            found += _blob(child, start)
        elif child.name.startswith(LONG):
            long = start + child.name[1:]
            if _wanted(_Item(long, None), prefix, after):
                for inner in await children(api, where, join(path, child.name)):
                    found += _blob(inner, long)
        elif _sound(child.name):
            found.append(_Item(f"{start}{child.name}/", None))
    return sorted((item for item in found if _wanted(item, prefix, after)), key=lambda item: item.key)


def _blob(child: Resource, start: str) -> Iterator[_Item]:
    """Yield the blob that a file is; nothing for files that are not ours."""
    if child.kind == "file" and child.name.startswith(BLOB) and _sound(name := start + child.name[1:]):
        yield _Item(name, child.info(name))


def _wanted(item: _Item, prefix: str, after: str) -> bool:
    """Return whether it is, or may hold, a name with that prefix behind `after`."""
    if item.blob is not None:
        return item.key.startswith(prefix) and item.key > after
    within = item.key.startswith(prefix) or prefix.startswith(item.key)
    return within and (item.key > after or after.startswith(item.key))


def _sound(name: str) -> bool:
    try:
        return bool(check_blob_name(name))
    except InvalidRequestError:
        return False


async def _read(api: Api, where: Where, path: str, *, strict: bool) -> list[Resource] | None:
    """Read a folder once; None when it changed under the reading (`strict`: at all, else so that items may be missed)."""
    found: dict[str, Resource] = {}
    offset, total, last = 0, -1, ""
    while True:
        answer = await _page(api, where, path, offset)
        if answer.status == 404 or answer.text("type") == "file":
            return []
        inside = answer.body.get("_embedded")
        page = [Resource.of(one) for one in _members(inside, "items")]
        count = inside.get("total") if isinstance(inside, dict) else None
        if not isinstance(count, int) or any(not one.name or not one.kind for one in page):
            raise where.error(UnavailableError, "the service does not say what is in a folder")
        if last and (not page or _key(page[0]) != last):
            return None
        if strict and total not in (-1, count):
            return None
        total = count
        fresh = [one for one in page if _key(one) not in found]
        found.update((_key(one), one) for one in page)
        if offset + len(page) >= total:
            return _once(found.values())
        if not fresh:
            return None  # it says that there is more, and shows none of it
        offset, last = offset + len(page) - 1, _key(page[-1])


async def _page(api: Api, where: Where, path: str, offset: int) -> Answer:
    params = {
        "path": path,
        "limit": str(_PAGE),
        "offset": str(offset),
        "sort": "name",
        "fields": _FIELDS,
    }
    return await api.call(where, "GET", "/resources", params, bear=(404,))


def _members(inside: object, name: str) -> list[dict[str, Any]]:
    items = inside.get(name) if isinstance(inside, dict) else None
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _key(one: Resource) -> str:
    return one.id or one.name


def _once(found: Iterable[Resource]) -> list[Resource]:
    """Return each name once: the newest of those that had it while the folder was read."""
    by_name: dict[tuple[str, str], Resource] = {}
    for one in found:
        held = by_name.get((one.kind, one.name))
        if held is None or held.modified <= one.modified:
            by_name[one.kind, one.name] = one
    return list(by_name.values())
