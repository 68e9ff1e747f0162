"""Large objects on their way in: uploads in parts and resumable sessions."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

from aiohttp import web

from holdfast.testing.fakes.gcs import objects
from holdfast.testing.fakes.gcs.asked import Asked, tag, xml
from holdfast.testing.fakes.gcs.state import PIECE, Bucket, Refusal, Session

_PIECE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_QUESTION: Final = re.compile(r"bytes \*/(\d+|\*)")


def begin(bucket: Bucket, asked: Asked) -> web.Response:
    """Open an upload in parts."""
    _no_condition(asked)
    upload = bucket.begin_upload(asked.names[1], objects.kept(asked))
    about = tag("Bucket", bucket.name) + tag("Key", upload.key) + tag("UploadId", upload.id)
    return xml(f"<InitiateMultipartUploadResult>{about}</InitiateMultipartUploadResult>")


def part(bucket: Bucket, asked: Asked) -> web.Response:
    """Take a part."""
    _no_condition(asked)
    objects.check_digests(asked)
    upload = bucket.upload(asked.names[1], asked.query["uploadId"])
    etag = bucket.put_part(upload, int(asked.query["partNumber"]), asked.body)
    return web.Response(headers={"ETag": f'"{etag}"'})


def complete(bucket: Bucket, asked: Asked) -> web.Response:
    """Make the object of the parts that are named."""
    _no_condition(asked)
    upload = bucket.upload(asked.names[1], asked.query["uploadId"])
    try:
        root = ElementTree.fromstring(asked.body)  # noqa: S314  # on loopback, from a test
        wanted = [
            (int(_said(item, "PartNumber")), _said(item, "ETag").strip('"'))
            for item in root
            if item.tag.endswith("Part")
        ]
    except (ElementTree.ParseError, ValueError):
        raise Refusal(400, "MalformedXML") from None
    made = bucket.complete(upload, wanted)
    about = tag("Bucket", bucket.name) + tag("Key", made.key) + tag("ETag", f'"{made.etag}"')
    headers = {"x-goog-hash": f"crc32c={made.hashes['crc32c']}", "x-goog-generation": str(made.generation)}
    return xml(f"<CompleteMultipartUploadResult>{about}</CompleteMultipartUploadResult>", headers=headers)


def abort(bucket: Bucket, asked: Asked) -> web.Response:
    """Forget an upload and its parts."""
    upload = bucket.upload(asked.names[1], asked.query["uploadId"])
    del bucket.uploads[upload.id]
    return web.Response(status=204)


def begin_session(bucket: Bucket, asked: Asked, endpoint: str) -> web.Response:
    """Open a session and tell its address."""
    session = bucket.begin_session(asked.names[1], objects.kept(asked), asked.condition)
    location = f"{endpoint}{asked.path}?upload_id={session.id}"
    return web.Response(status=201, headers={"Location": location})


def feed(bucket: Bucket, asked: Asked, *, short: bool = False) -> web.Response:
    """Take a piece, or tell how far the session is. With `short` only the first half of the piece is kept."""
    session = bucket.session(asked.names[1], asked.query["upload_id"])
    if session.made is not None:
        return objects.made(session.made)
    told = asked.headers.get("content-range", "")
    if _QUESTION.fullmatch(told):
        return _further(session)
    match = _PIECE.fullmatch(told)
    if match is None or int(match[2]) - int(match[1]) + 1 != len(asked.body):
        raise Refusal(400, "InvalidContentRange")
    data, total = asked.body, None if match[3] == "*" else int(match[3])
    if short:
        data = data[: len(data) // 2 // PIECE * PIECE]
    made = bucket.feed(session, int(match[1]), data, total)
    return _further(session) if made is None else objects.made(made)


def cancel(bucket: Bucket, asked: Asked) -> web.Response:
    """End a session without an object."""
    session = bucket.session(asked.names[1], asked.query["upload_id"])
    del bucket.sessions[session.id]
    return web.Response(status=499)


def _further(session: Session) -> web.Response:
    headers = {"Range": f"bytes=0-{session.size - 1}"} if session.size else {}
    return web.Response(status=308, headers=headers)


def _no_condition(asked: Asked) -> None:
    """Uploads in parts take no precondition; who sends one is told, rather than believing that it held."""
    if any(name.startswith("x-goog-if-") for name in asked.headers):
        raise Refusal(400, "InvalidArgument")


def _said(item: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in item if child.tag.endswith(name)), "")
