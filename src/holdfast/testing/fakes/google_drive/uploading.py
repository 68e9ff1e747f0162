"""The three types of upload: `media`, `multipart` and `resumable`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import aiohttp
from aiohttp import web

from holdfast.testing.fakes.google_drive.answers import Refused
from holdfast.testing.fakes.google_drive.changing import Changing
from holdfast.testing.fakes.google_drive.faults import Fault
from holdfast.testing.fakes.google_drive.state import WEEK, Item, Person, Session, State

STEP: Final = 256 << 10
MOST_SIMPLE: Final = 5 << 20
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_BROKEN: Final = (aiohttp.ClientError, ConnectionError, EOFError)


class BrokenOffError(Exception):
    """The connection ends here, without an answer."""


class Uploading:
    """Takes bytes. Nothing of an upload is to be seen before all of it is there."""

    def __init__(self, state: State, changing: Changing) -> None:
        self._state, self._changing = state, changing

    async def simple(self, request: web.Request, person: Person, target: str, fault: Fault | None) -> Item:
        """`uploadType=media`: bytes and nothing else."""
        data = await _read(request, fault)
        if target:
            return self._changing.replace(self._changing.visible(request, person, target), {}, data)
        meta = {"mimeType": request.content_type}
        return self._changing.make(self._changing.prepared(request, person, meta, len(data)), data)

    async def multipart(self, request: web.Request, person: Person, target: str, fault: Fault | None) -> Item:
        """`uploadType=multipart`: JSON and bytes, as `multipart/related`; form data is another type."""
        kind = request.headers.get("Content-Type", "")
        match = re.search(r"boundary=\"?([^\";]+)", kind)
        if not kind.startswith("multipart/related") or match is None:
            raise Refused(400, "badContent", "Media type is not supported; multipart/related is.")
        meta, mime, data = _parts(await _read(request, fault), match[1].encode())
        if len(data) > MOST_SIMPLE:
            raise Refused(413, "uploadTooLarge")
        if target:
            return self._changing.replace(self._changing.visible(request, person, target), meta, data)
        meta.setdefault("mimeType", mime)
        return self._changing.make(self._changing.prepared(request, person, meta, len(data)), data)

    async def begin(self, request: web.Request, person: Person, target: str) -> Session:
        """`uploadType=resumable`: a session, good for a week."""
        text = await request.text()
        meta: dict[str, Any] = json.loads(text) if text else {}
        length = request.headers.get("X-Upload-Content-Length", "")
        total = int(length) if length else None
        if target:
            item = self._changing.visible(request, person, target)
            self._changing.room(item, total or 0)
        else:
            meta.setdefault("mimeType", request.headers.get("X-Upload-Content-Type") or "")
            self._changing.prepared(request, person, meta, total or 0)
        id = self._state.new_id(40)
        path = self._state.new_path()
        path.touch()
        session = Session(id, person.email, meta, target, path, self._state.now(), total)
        self._state.sessions[id] = session
        return session

    async def go_on(
        self, request: web.Request, person: Person, fault: Fault | None
    ) -> tuple[Session, Item | None]:
        """Take a piece, or tell the state. Returns the file once it is whole."""
        session = self._state.sessions.get(request.query.get("upload_id", ""))
        if session is not None and fault is not None and fault.kind == "forget":
            self._end(session)
            session = None
        if session is None or session.began + WEEK * 1_000_000 < self._state.now():
            raise Refused(404, "notFound", "The upload session is not there.")
        if session.done:
            return session, self._state.find(session.done)
        match = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if match is None:
            raise Refused(400, "badRequest", "Content-Range is missing or cannot be read.")
        total = None if match[3] == "*" else int(match[3])
        if total is not None and session.total not in (None, total):
            raise Refused(400, "badRequest", "The total is not the one that was announced.")
        if match[1] is not None:
            await self._take(request, session, int(match[1]), int(match[2]), total, fault)
        session.total = session.total if total is None else total
        if total is not None and session.kept == total:
            return session, self._finish(request, person, session)
        return session, None

    async def _take(
        self,
        request: web.Request,
        session: Session,
        first: int,
        last: int,
        total: int | None,
        fault: Fault | None,
    ) -> None:
        length = last - first + 1
        if length <= 0 or request.content_length not in (None, length):
            raise Refused(400, "badRequest", "Content-Range and Content-Length do not agree.")
        if first != session.kept:
            raise Refused(400, "badRequest", "The piece does not begin where the last one ended.")
        if last + 1 != total and length % STEP:
            raise Refused(400, "badRequest", "A piece is no multiple of 262,144 bytes.")
        wanted = length // 2 if fault is not None and fault.kind == "take_half" else length
        seen = 0
        with session.path.open("r+b") as file:
            file.seek(session.kept)
            try:
                async for chunk in request.content.iter_any():
                    file.write(chunk[: wanted - seen])
                    seen = min(wanted, seen + len(chunk))
                    if seen >= wanted:
                        break
            except _BROKEN:
                seen = min(seen, length - 1)
            whole = seen == length
            if whole and fault is not None and fault.kind == "keep_fewer":
                seen = max(0, length - 1) // STEP * STEP
                whole = False
            session.kept += seen if whole else seen // STEP * STEP
            file.truncate(session.kept)
        if seen < length and (fault is None or fault.kind != "keep_fewer"):
            raise BrokenOffError

    def _finish(self, request: web.Request, person: Person, session: Session) -> Item:
        if session.target:
            item = self._changing.visible(request, person, session.target)
            item = self._changing.replace(item, session.meta, session.path)
        else:
            item = self._changing.prepared(request, person, session.meta, session.kept)
            item = self._changing.make(item, session.path)
        session.done = item.id
        return item

    def _end(self, session: Session) -> None:
        del self._state.sessions[session.id]
        if not session.done:
            session.path.unlink(missing_ok=True)


async def _read(request: web.Request, fault: Fault | None) -> bytes:
    """Return the body, all of it or nothing."""
    half = fault is not None and fault.kind == "take_half"
    wanted = (request.content_length or 0) // 2 if half else None
    found = bytearray()
    try:
        async for chunk in request.content.iter_any():
            found += chunk
            if wanted is not None and len(found) >= wanted:
                raise BrokenOffError
    except _BROKEN:
        raise BrokenOffError from None
    if half:
        raise BrokenOffError
    return bytes(found)


def _parts(body: bytes, boundary: bytes) -> tuple[dict[str, Any], str, bytes]:
    """Return the metadata, the type of the media part, and its bytes."""
    mark = b"--" + boundary
    try:
        _, head, rest = body.split(mark, 2)
        media, _ = rest.rsplit(b"\r\n" + mark + b"--", 1)
        meta = json.loads(head.split(b"\r\n\r\n", 1)[1])
        headers, data = media.split(b"\r\n\r\n", 1)
    except (ValueError, IndexError):
        raise Refused(400, "badContent", "Two parts were expected: JSON, then the bytes.") from None
    match = re.search(rb"content-type:\s*([^\r\n]+)", headers, re.IGNORECASE)
    return meta, match[1].decode() if match else "application/octet-stream", data
