"""Listings, which may lag behind, and contents, of which a range may be asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from holdfast.testing.fakes.google_drive.answers import Refused
from holdfast.testing.fakes.google_drive.state import NATIVE, Item, Person, State
from holdfast.testing.fakes.google_drive.uploading import BrokenOffError
from holdfast.testing.fakes.google_drive.views import FEW, parse, pick, shown

_BLOCK: Final = 256 << 10
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_USUAL: Final = 100


def page(
    state: State, query: Mapping[str, str], person: Person, test: Callable[[Item], bool] | None
) -> dict[str, Any]:
    """Return one page of `files.list`: newest change first, as Drive's own order is nobody's promise."""
    size = int(query.get("pageSize", _USUAL))
    if not 1 <= size <= 1000:
        raise Refused(400, "invalid", "Invalid value for pageSize")
    drive = query.get("driveId", "")
    if drive and query.get("corpora") != "drive":
        raise Refused(400, "invalid", "driveId needs corpora=drive")
    everywhere = query.get("includeItemsFromAllDrives") == "true" and query.get("supportsAllDrives") == "true"
    if drive and not everywhere:
        raise Refused(403, "teamDrivesParentLimit", "Shared drives have to be asked for.")
    found = []
    for item in state.items.values():
        if not _listed(state, item) or (item.drive and not everywhere) or (drive and item.drive != drive):
            continue
        item.is_trashed = state.in_trash(item)
        if state.may_see(person.email, item) and (test is None or test(item)):
            found.append(item)
    found.reverse()
    start = int(query.get("pageToken") or 0)
    end = start + min(size, state.page)
    fields = parse(query.get("fields", f"kind,nextPageToken,incompleteSearch,files({FEW})"))
    body: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False}
    if end < len(found):
        body["nextPageToken"] = str(end)
    body["files"] = [shown(item) for item in found[start:end]]
    picked: dict[str, Any] = pick(body, fields)
    return picked


async def content(request: web.Request, item: Item, *, half: bool) -> web.StreamResponse:
    """Send an item's bytes, of `half` only the first half."""
    if item.mime_type.startswith(NATIVE):
        raise Refused(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
    if item.abusive and request.query.get("acknowledgeAbuse") != "true":
        raise Refused(403, "cannotDownloadAbusiveFile")
    first, last, status = _span(request.headers.get("Range", ""), item.size)
    headers = {"Content-Type": item.mime_type, "Content-Length": str(last - first + 1)}
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{item.size}"
    # Opened before the first await: a file that is deleted meanwhile is read to its end.
    file = item.path.open("rb") if item.path is not None else None
    data = item.data
    try:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        length = last - first + 1
        left = length // 2 if half else length
        if file is not None:
            file.seek(first)
        while left:
            chunk = file.read(min(_BLOCK, left)) if file is not None else data[first : first + left]
            if not chunk:
                raise BrokenOffError
            await response.write(chunk)
            left -= len(chunk)
        if half:
            raise BrokenOffError
        await response.write_eof()
        return response
    finally:
        if file is not None:
            file.close()


def _listed(state: State, item: Item) -> bool:
    """Whether a listing shows an item now: what is new comes late, and what is gone stays for a while."""
    now = state.now()
    if item.gone is not None:
        return now < item.vanishes
    return item.shown <= now


def _span(text: str, size: int) -> tuple[int, int, int]:
    """Return the first and last byte to send, and the status."""
    match = _RANGE.fullmatch(text)
    if match is None or (not match[1] and not match[2]):
        return 0, size - 1, 200
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    if first >= size or last < first:
        raise Refused(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    return first, last, 206
