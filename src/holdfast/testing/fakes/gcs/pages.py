"""Listings of a bucket: its objects and its open uploads, in byte order, page by page."""

from __future__ import annotations

import base64
from urllib.parse import quote

from aiohttp import web

from holdfast.testing.fakes.gcs.asked import Asked, stamp, tag, xml
from holdfast.testing.fakes.gcs.state import Bucket, Refusal

_MOST = 1000


def objects(bucket: Bucket, asked: Asked) -> web.Response:
    """Return one page of objects."""
    query = asked.query
    if query.get("list-type") != "2" or "delimiter" in query:
        raise Refusal(501, "NotImplemented")
    after = max(query.get("start-after", ""), _opened(query.get("continuation-token", "")), key=str.encode)
    most = min(int(query.get("max-keys", _MOST)), _MOST)
    keys = [
        key
        for key in sorted(bucket.objects, key=str.encode)
        if key.startswith(query.get("prefix", "")) and key.encode() > after.encode()
    ]
    items = ""
    for key in keys[:most]:
        found = bucket.objects[key]
        about = {
            "Key": _shown(key, asked),
            "Generation": str(found.generation),
            "LastModified": stamp(found.modified),
            "ETag": f'"{found.etag}"',
            "Size": str(found.size),
        }
        items += f"<Contents>{''.join(tag(*pair) for pair in about.items())}</Contents>"
    more = len(keys) > most
    token = base64.b64encode(keys[most - 1].encode()).decode() if more else ""
    end = tag("IsTruncated", str(more).lower()) + (tag("NextContinuationToken", token) if more else "")
    return xml(f"<ListBucketResult>{_kind(asked)}{items}{end}</ListBucketResult>")


def uploads(bucket: Bucket, asked: Asked) -> web.Response:
    """Return one page of open uploads."""
    query = asked.query
    after = (query.get("key-marker", "").encode(), query.get("upload-id-marker", ""))
    most = min(int(query.get("max-uploads", _MOST)), _MOST)
    found = sorted(
        (
            one
            for one in bucket.uploads.values()
            if one.key.startswith(query.get("prefix", "")) and (one.key.encode(), one.id) > after
        ),
        key=lambda one: (one.key.encode(), one.id),
    )
    items = ""
    for one in found[:most]:
        about = {"Key": _shown(one.key, asked), "UploadId": one.id, "Initiated": stamp(one.began)}
        items += f"<Upload>{''.join(tag(*pair) for pair in about.items())}</Upload>"
    more = len(found) > most
    end = tag("IsTruncated", str(more).lower())
    if more:
        last = found[most - 1]
        end += tag("NextKeyMarker", _shown(last.key, asked)) + tag("NextUploadIdMarker", last.id)
    return xml(f"<ListMultipartUploadsResult>{_kind(asked)}{items}{end}</ListMultipartUploadsResult>")


def _shown(key: str, asked: Asked) -> str:
    return quote(key, safe="/") if asked.query.get("encoding-type") == "url" else key


def _kind(asked: Asked) -> str:
    return tag("EncodingType", "url") if asked.query.get("encoding-type") == "url" else ""


def _opened(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        raise Refusal(400, "InvalidArgument") from None
