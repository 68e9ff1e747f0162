"""Bytes in and out, on links that end."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import ClientError, web

from holdfast.testing.fakes.yandex_disk import shapes
from holdfast.testing.fakes.yandex_disk.disk import Disk
from holdfast.testing.fakes.yandex_disk.faults import Fault, Kind
from holdfast.testing.fakes.yandex_disk.things import Content, Refused, Sink, UploadLink

_REST: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def _kind(fault: Fault | None) -> Kind | None:
    return None if fault is None else fault.kind


def held(disk: Disk, request: web.Request) -> web.StreamResponse:
    """Answer how many bytes of an upload are there, so that the rest can be sent."""
    link = _upload_link(disk, request)
    if not all(request.headers.get(name) for name in ("Etag", "Sha256", "Size")):
        raise Refused(400, "FieldValidationError")
    link.asked = True
    return web.Response(headers={"Content-Length": str(link.held.size if link.held else 0)})


async def receive(disk: Disk, request: web.Request, fault: Fault | None) -> web.StreamResponse:
    """Take a file."""
    link = _upload_link(disk, request)
    if disk.rules.strict_uploads and "Authorization" in request.headers:
        raise Refused(400, "FieldValidationError", "an upload carries no token")
    if _kind(fault) is Kind.STALE:
        link.expires = 0
        return _page(410)
    sink = _begun(link, request) or Sink(disk.folder)
    link.used, link.asked, link.held = True, False, sink
    disk.check_room(sink.size + (request.content_length or 0))
    if not await _taken(request, sink, fault):
        return web.Response(status=400)
    link.held = None
    disk.check_room(sink.size)
    return _landed(disk, link, _damaged(sink, disk, fault), fault)


def _begun(link: UploadLink, request: web.Request) -> Sink | None:
    """Return what is there already of an upload that goes on; None for a new one.

    Of ranges only the rest after HEAD is taken.
    """
    text = request.headers.get("Content-Range", "")
    if not text:
        if link.used:
            raise Refused(400, "FieldValidationError", "the link was used")
        return None
    part = _REST.fullmatch(text)
    there = link.held.size if link.held else 0
    if part is None or not link.asked or (int(part[1]), int(part[2]) + 1) != (there, int(part[3])):
        raise Refused(412, "PreconditionFailed")
    return link.held


async def _taken(request: web.Request, sink: Sink, fault: Fault | None) -> bool:
    """Return whether all bytes came."""
    most = None
    if _kind(fault) is Kind.HALF:
        most = (request.content_length or 1024) // 2
    try:
        async for chunk in request.content.iter_any():
            sink.add(chunk if most is None else chunk[: max(0, most - sink.size)])
            if most is not None and sink.size >= most:
                break
    except (ClientError, OSError, ValueError):
        return False
    if most is not None and request.transport is not None:
        request.transport.abort()
    return most is None


def _landed(disk: Disk, link: UploadLink, content: Content, fault: Fault | None) -> web.StreamResponse:
    """Show the file now, or when its operation was asked after."""
    operation = disk.operations[link.operation]
    kind = _kind(fault)

    def effect() -> None:
        node = disk.land(link, content)
        if kind is Kind.INVISIBLE and fault is not None:
            node.hidden, node.hidden_as = fault.polls, fault.status

    if kind in (Kind.LATE, Kind.FAILED) and fault is not None:
        operation.effect, operation.polls, operation.fails = effect, fault.polls, kind is Kind.FAILED
        return web.Response(status=202)
    operation.effect = effect
    try:
        effect()
        operation.status = "success"
    except Refused:
        operation.status = "failed"
        raise
    finally:
        operation.effect = None
    return web.Response(status=201)


def _damaged(sink: Sink, disk: Disk, fault: Fault | None) -> Content:
    content = sink.content()
    if _kind(fault) is not Kind.DAMAGED or not content.size:
        return content
    other, first = Sink(disk.folder), True
    for chunk in disk.read(content, 0, content.size):
        other.add(_flipped(chunk) if first else chunk)
        first = False
    content.drop()
    return other.content()


def _upload_link(disk: Disk, request: web.Request) -> UploadLink:
    link = disk.uploads.get(request.match_info["token"])
    if link is None:
        raise Refused(404, "DiskNotFoundError")
    if disk.ended(link.expires):
        raise Refused(410, "Gone")
    return link


def _part(request: web.Request, content: Content) -> tuple[int, int, int]:
    """Return which bytes are asked for, and the status of the answer."""
    text = request.headers.get("Range", "")
    part = _RANGE.fullmatch(text)
    if part is None or not (part[1] or part[2]):
        return 0, content.size, 200
    if not part[1]:
        start, end = max(0, content.size - int(part[2])), content.size
    else:
        start = int(part[1])
        end = min(int(part[2]) + 1 if part[2] else content.size, content.size)
    if start >= end:
        raise Refused(416, "RangeNotSatisfiable")
    return start, end, 206


def _flipped(chunk: bytes) -> bytes:
    return bytes([chunk[0] ^ 1]) + chunk[1:] if chunk else chunk


def _page(status: int) -> web.Response:
    return web.Response(status=status, text=shapes.PAGE, content_type="text/html")


async def send(disk: Disk, request: web.Request, fault: Fault | None) -> web.StreamResponse:
    """Send a file, or a part of it."""
    link = disk.downloads.get(request.match_info["token"])
    if link is not None and _kind(fault) is Kind.STALE and fault is not None:
        link.expires = 0
        return _page(fault.status if fault.status == 500 else 410)
    if link is None or disk.ended(link.expires) or not link.content.there:
        return _page(410)
    content = link.content
    start, end, status = _part(request, content)
    response = web.StreamResponse(status=status)
    response.content_type = "application/octet-stream"
    response.content_length = end - start
    response.headers["Etag"] = f'"{content.md5}"'
    if status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    await response.prepare(request)
    stop = start + (end - start) // 2 if _kind(fault) is Kind.HALF else end
    flip = _kind(fault) is Kind.DAMAGED
    for chunk in disk.read(content, start, stop):
        await response.write(_flipped(chunk) if flip else chunk)
        flip = False
    if stop < end and request.transport is not None:
        request.transport.abort()
    return response
