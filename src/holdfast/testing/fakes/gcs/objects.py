"""Objects over the XML interface, and their copy over the JSON one."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

from holdfast.testing.fakes.gcs.asked import Asked
from holdfast.testing.fakes.gcs.contents import IN_MEMORY
from holdfast.testing.fakes.gcs.state import Bucket, Refusal, StoredObject, digests_of

_KEPT: Final = re.compile(
    r"x-goog-meta-.+|content-type|content-encoding|content-disposition|content-language|cache-control|x-goog-storage-class|x-goog-encryption-kms-key-name"
)
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_COPY: Final = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)")
#: What headers are called in a resource of the JSON interface.
_NAMED: Final = {
    "content-type": "contentType",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "cache-control": "cacheControl",
    "x-goog-storage-class": "storageClass",
}


class Flow(NamedTuple):
    """A body that is too large to be held: its chunks and their sum."""

    chunks: Iterator[bytes]
    size: int


FLOW: Final = web.ResponseKey("flow", Flow)  #: where an answer carries its body, to be sent piece by piece


def kept(asked: Asked) -> dict[str, str]:
    """Return the headers that an object remembers."""
    return {name: value for name, value in asked.headers.items() if _KEPT.fullmatch(name)}


def check_digests(asked: Asked) -> None:
    """Refuse a body that is not the one that its headers announce."""
    told = dict(
        part.strip().split("=", 1) for part in asked.headers.get("x-goog-hash", "").split(",") if part
    )
    if "content-md5" in asked.headers:
        told["md5"] = asked.headers["content-md5"]
    if told and any(digests_of(asked.body).get(name) != value for name, value in told.items()):
        raise Refusal(400, "BadDigest")


def put(bucket: Bucket, asked: Asked) -> web.Response:
    """Store an object."""
    if "x-goog-copy-source" in asked.headers:
        raise Refusal(501, "NotImplemented")
    check_digests(asked)
    return made(bucket.put(asked.names[1], asked.body, kept(asked), asked.condition))


def made(found: StoredObject, *, status: int = 200) -> web.Response:
    """Return what a write is answered with."""
    return web.Response(status=status, headers=_about(found))


def get(bucket: Bucket, asked: Asked) -> web.Response:
    """Return an object, or the part that is asked for."""
    found = bucket.get(asked.names[1], asked.query.get("generation", ""))
    if asked.headers.get("if-match", found.etag).strip('"') not in (found.etag, "*"):
        raise Refusal(412, "PreconditionFailed")
    if found.etag == asked.headers.get("if-none-match", "").strip('"'):
        return web.Response(status=304, headers=_about(found))
    if found.headers.get("content-encoding") == "gzip" and "gzip" not in asked.headers.get(
        "accept-encoding", ""
    ):
        return _unpacked(found)
    headers = _about(found)
    headers["Last-Modified"] = formatdate(found.modified / 1e6, usegmt=True)
    headers["Accept-Ranges"] = "bytes"
    headers.update({name: value for name, value in found.headers.items() if name != "content-type"})
    headers["Content-Type"] = found.headers.get("content-type", "application/octet-stream")
    for name in ("content-type", "content-disposition"):
        if f"response-{name}" in asked.query:
            headers[name.title()] = asked.query[f"response-{name}"]
    first, end = _span(asked.headers.get("range", ""), found.size)
    whole = (first, end) == (0, found.size) and "range" not in asked.headers
    if not whole:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{found.size}"
    status = 200 if whole else 206
    if asked.method == "HEAD":
        headers["Content-Length"] = str(end - first)
        return web.Response(status=status, headers=headers)
    if end - first <= IN_MEMORY:
        return web.Response(status=status, headers=headers, body=b"".join(found.content.read(first, end)))
    response = web.Response(status=status, headers=headers)
    response[FLOW] = Flow(found.content.read(first, end), end - first)
    return response


def _unpacked(found: StoredObject) -> web.Response:
    """Return what was stored compressed as whoever does not take gzip gets it: all of it, and its length is not told."""
    headers = _about(found)
    headers["Content-Type"] = found.headers.get("content-type", "application/octet-stream")
    response = web.Response(headers=headers, body=gzip.decompress(found.data))
    response.enable_chunked_encoding()
    return response


def delete(bucket: Bucket, asked: Asked) -> web.Response:
    """Remove an object."""
    bucket.delete(asked.names[1], asked.condition)
    return web.Response(status=204)


def rewrite(buckets: Mapping[str, Bucket], asked: Asked, step: int, owner: str) -> web.Response:
    """Copy an object; one of more than `step` bytes takes several requests, of which each reads the source anew."""
    match = _COPY.fullmatch(asked.path)
    if match is None or asked.method != "POST":
        raise Refusal(404, "NoSuchKey")
    origin, source, place, target = (unquote(part) for part in match.groups())
    if origin not in buckets or place not in buckets:
        raise Refusal(404, "NoSuchBucket")
    whence, bucket = buckets[origin], buckets[place]
    if owner in whence.closed_to | bucket.closed_to:
        raise Refusal(403, "AccessDenied")
    if "ifSourceGenerationMatch" in asked.query:
        whence.check(source, int(asked.query["ifSourceGenerationMatch"]))
    found = whence.get(source)
    done = int(asked.query.get("rewriteToken", "token-0").removeprefix("token-")) + step
    if done < found.size:
        return web.json_response(_progress(found, done, {"done": False, "rewriteToken": f"token-{done}"}))
    copy = bucket.put(target, found.content, _described(asked, found), None, found.etag)
    resource = {"name": target, "generation": str(copy.generation), "size": str(copy.size)}
    return web.json_response(_progress(found, copy.size, {"done": True, "resource": resource}))


def _described(asked: Asked, found: StoredObject) -> Mapping[str, str]:
    """Return the headers of a copy: its source's but for the class, or exactly those that the request's body says."""
    key = {"x-goog-encryption-kms-key-name": asked.query.get("destinationKmsKeyName", "")}
    own = {name: value for name, value in key.items() if value}
    if not asked.body:
        return {
            name: value
            for name, value in found.headers.items()
            if name not in ("x-goog-storage-class", "x-goog-encryption-kms-key-name")
        } | own
    told = parsed(asked.body)
    headers = {header: told[name] for header, name in _NAMED.items() if name in told}
    return headers | {f"x-goog-meta-{name}": value for name, value in told.get("metadata", {}).items()} | own


def _progress(found: StoredObject, done: int, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"totalBytesRewritten": str(done), "objectSize": str(found.size), **more}


def _about(found: StoredObject) -> CIMultiDict[str]:
    headers = CIMultiDict(
        {
            "ETag": f'"{found.etag}"',
            "x-goog-generation": str(found.generation),
            "x-goog-metageneration": "1",
            "x-goog-stored-content-length": str(found.size),
            "x-goog-stored-content-encoding": found.headers.get("content-encoding", "identity"),
        }
    )
    for name, value in found.hashes.items():
        headers.add("x-goog-hash", f"{name}={value}")
    return headers


def _span(wish: str, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(wish)
    if match is None or match.groups() == ("", ""):
        return 0, size
    if not match[1]:
        first, end = max(0, size - int(match[2])), size
    else:
        first, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    if first >= end:
        raise Refusal(416, "InvalidRange")
    return first, end


def parsed(body: bytes) -> Any:
    """Return the JSON of a body, {} when it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return {}
