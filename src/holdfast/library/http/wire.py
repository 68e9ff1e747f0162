"""How the nouns travel: headers and JSON of the REST door, and back."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from json import loads as json_of
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from holdfast.core.backend import SignedUrl
from holdfast.core.clock import moment
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import InvalidRangeError, UnavailableError
from holdfast.core.names import check_bucket, check_key
from holdfast.core.search import Search
from holdfast.core.types import (
    Bucket,
    BucketSettings,
    ByteRange,
    ChecksumType,
    Deleted,
    Digests,
    ListPage,
    ObjectRef,
    Part,
    QuotaUse,
    Span,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.engine.buckets import BucketStats
from holdfast.engine.provisioning import Made, Provisioned
from holdfast.library.many import Failure, Report
from holdfast.policy.buckets import changed, settings_members

_PLAIN_BUCKET: Final = BucketSettings()
_SETTINGS: Final = tuple(settings_members(_PLAIN_BUCKET))
META: Final = "x-holdfast-meta-"
TAGS: Final = "x-holdfast-tagging"
STORAGE_CLASS: Final = "x-amz-storage-class"


def about_headers(
    content_type: str | None,
    metadata: Mapping[str, str],
    tags: Mapping[str, str],
    digests: Digests,
    storage_class: str = "",
) -> dict[str, str]:
    """Return the headers that describe an object."""
    headers = {META + _name(name): quote(value, safe=_PLAIN) for name, value in metadata.items()}
    if content_type is not None:
        headers["Content-Type"] = content_type
    if tags:
        headers[TAGS] = urlencode(dict(tags), quote_via=quote)
    if storage_class:
        headers[STORAGE_CLASS] = storage_class
    if digests.sha256 is not None:
        headers["Repr-Digest"] = f"sha-256=:{b64encode(digests.sha256).decode()}:"
    if digests.md5 is not None:
        headers["Content-MD5"] = b64encode(digests.md5).decode()
    if digests.crc64nvme is not None:
        headers["x-amz-checksum-crc64nvme"] = b64encode(digests.crc64nvme).decode()
    for name, value in digests.extras:
        if name == "sha512":
            headers["Content-Digest"] = f"sha-512=:{b64encode(value).decode()}:"
        else:
            headers[f"x-amz-checksum-{name}"] = b64encode(value).decode()
    return headers


_PLAIN: Final = "!#$&'()*+,-./:;<=>?@[]^_`{|}~\""  # printable and neither a space nor the percent sign


def _name(text: str) -> str:
    """Return the name of metadata for a header: capitals are escaped too, since header names lose their case."""
    return re.sub("[A-Z]", lambda match: f"%{ord(match[0]):02x}", quote(text, safe=""))


def condition_headers(conditions: Preconditions) -> dict[str, str]:
    """Return the headers that carry `conditions`."""
    headers = {}
    if conditions.if_match:
        headers["If-Match"] = _etags(conditions.if_match)
    if conditions.if_none_match:
        headers["If-None-Match"] = _etags(conditions.if_none_match)
    if conditions.if_modified_since is not None:
        headers["If-Modified-Since"] = _http_date(conditions.if_modified_since)
    if conditions.if_unmodified_since is not None:
        headers["If-Unmodified-Since"] = _http_date(conditions.if_unmodified_since)
    return headers


def check_range(wish: ByteRange) -> None:
    """Refuse a range that runs backwards: a server may answer that with everything.

    Raises:
        InvalidRangeError: it does.
    """
    if wish.start is not None and wish.end is not None and wish.end < wish.start:
        raise InvalidRangeError(f"the range {wish.start}-{wish.end} runs backwards")


def range_header(wish: ByteRange) -> str:
    """Return the value of `Range`."""
    first = "" if wish.start is None else str(wish.start)
    last = "" if wish.end is None else str(wish.end)
    return f"bytes={first}-{last}"


def _etags(etags: tuple[str, ...]) -> str:
    return ", ".join(etag if etag == "*" else f'"{etag}"' for etag in etags)


def _http_date(micros: int) -> str:
    return format_datetime(datetime.fromtimestamp(micros // 1_000_000, UTC), usegmt=True)


def version_from_headers(bucket: str, key: str, headers: Mapping[str, str]) -> Version:
    """Return the version that an answer to GET, HEAD or PUT describes, as far as headers tell."""
    size = _total(headers.get("Content-Range")) or headers.get("Content-Length", "0")
    etag = _unquote(headers.get("ETag", ""))
    parts = int(match[1]) if (match := _IN_PARTS.fullmatch(etag)) else 0
    return Version(
        id=headers.get("x-holdfast-version-id", ""),
        ref=ObjectRef("", bucket, key),
        size=_int(size),
        etag=etag,
        created=_micros(headers.get("Last-Modified")),
        content_type=headers.get("Content-Type", "application/octet-stream"),
        metadata={
            unquote(name[len(META) :]): unquote(value)
            for name, value in headers.items()
            if name.lower().startswith(META)
        },
        tags=dict(parse_qsl(headers.get(TAGS, ""), keep_blank_values=True)),
        digests=Digests(sha256=_sha256(headers.get("Repr-Digest", ""))),
        checksum_type=ChecksumType.COMPOSITE if parts else ChecksumType.FULL_OBJECT,
        parts=parts,
        storage_class=headers.get(STORAGE_CLASS, ""),
        owed=headers.get("x-holdfast-owed", ""),
    )


_IN_PARTS: Final = re.compile(r"[0-9a-f]{32}-(\d{1,5})")
_SHA256: Final = re.compile(r"(?:.*,)?\s*sha-256=:([A-Za-z0-9+/=]{44}):.*")


def _sha256(repr_digest: str) -> bytes | None:
    match = _SHA256.fullmatch(repr_digest)
    return b64decode(match[1]) if match else None


def _total(content_range: str | None) -> str:
    return content_range.rpartition("/")[2] if content_range else ""


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UnavailableError(
            "the server's answer holds a number that is none; is it a Holdfast server?"
        ) from None


def _unquote(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _micros(text: str | None) -> int:
    """Return an ISO 8601 or an HTTP date as microseconds; 0 when there is none."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text) if text[0].isdigit() else parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0
    return round(moment.timestamp() * 1_000_000)


def digest_headers(digests: Digests) -> dict[str, str]:
    """Return the headers that announce digests of a body."""
    return about_headers(None, {}, {}, digests)


def named(bucket: str, key: str, version_id: str | None = None) -> dict[str, str]:
    """Return the JSON that names an object."""
    found = {"bucket": check_bucket(bucket), "key": check_key(key)}
    return found | ({"version_id": version_id} if version_id else {})


def version_from_put(bucket: str, key: str, headers: Mapping[str, str], body: bytes) -> Version:
    """Return the version that an answer to PUT describes: by JSON where it has any, else by its headers."""
    return version(decoded(body), bucket, key) if body else version_from_headers(bucket, key, headers)


def content_range(text: str) -> Span:
    """Return the span of a `Content-Range`."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(?:\d+|\*)", text)
    if match is None:
        raise UnavailableError("the server sent a range without saying which")
    first, last = int(match[1]), int(match[2])
    return Span(first, last - first + 1)


def deleted(headers: Mapping[str, str]) -> Deleted:
    """Return what an answer to DELETE says was done."""
    marker = headers.get("x-holdfast-delete-marker", "").lower() == "true"
    return Deleted(headers.get("x-holdfast-version-id") or None, marker)


class _Said(dict[str, Any]):
    """An object in an answer. That a member is not there is the server's doing, and is told so."""

    def __missing__(self, name: str) -> Any:
        raise UnavailableError(f"the answer has no {name}; is it a Holdfast server, as new as this program?")


def decoded(text: bytes | str, who: str = "the server") -> Any:
    """Return the JSON object that an answer is; `UnavailableError` when it is none."""
    with suppress(ValueError, RecursionError):
        if isinstance(found := json_of(text, object_hook=_Said), dict):
            return found
    raise UnavailableError(f"{who} did not answer with a JSON object; is it a Holdfast server?")


def items(answer: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the list called `name` of an answer."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise UnavailableError(f"the answer has no {name}; is it a Holdfast server?")
    return found


def version(facts: Any, bucket: str, key: str = "") -> Version:
    """Return the version that JSON describes."""
    digests = Digests(sha256=_hex(facts.get("sha256")))
    return Version(
        id=facts.get("version_id") or facts.get("file_id") or "",
        ref=ObjectRef("", facts.get("bucket") or bucket, facts.get("key") or key),
        size=int(facts.get("size") or 0),
        etag=facts.get("etag") or "",
        created=_micros(facts.get("last_modified")),
        content_type=facts.get("content_type") or "application/octet-stream",
        metadata=facts.get("metadata") or {},
        tags=facts.get("tags") or {},
        digests=digests,
        checksum_type=ChecksumType(facts.get("checksum_type") or "FULL_OBJECT"),
        parts=int(facts.get("parts") or 0),
        seq=int(facts.get("seq") or 1),
        delete_marker=bool(facts.get("delete_marker")),
        current=bool(facts.get("current", True)),
        owed=facts.get("owed") or "",
    )


def list_page(answer: Any, bucket: str) -> ListPage:
    """Return a page of a listing."""
    return ListPage(
        [version(item, bucket) for item in items(answer, "objects")],
        answer.get("prefixes") or [],
        answer.get("next_marker") or "",
        bool(answer.get("truncated")),
    )


def version_page(answer: Any, bucket: str) -> VersionPage:
    """Return a page of versions."""
    return VersionPage(
        [version(item, bucket) for item in items(answer, "versions")],
        answer.get("prefixes") or [],
        answer.get("next_key_marker") or "",
        answer.get("next_version_marker") or "",
        bool(answer.get("truncated")),
    )


def bucket(facts: Any) -> Bucket:
    """Return the bucket that JSON describes."""
    return Bucket(
        "",
        facts["name"],
        _micros(facts.get("creation_date")),
        bool(facts.get("versioning")),
        settings=changed(_PLAIN_BUCKET, {name: facts[name] for name in _SETTINGS if name in facts}),
    )


def bucket_stats(facts: Any) -> BucketStats:
    """Return a bucket with what is in it and what is taken of its quota."""
    found, used = bucket(facts), usage(facts)
    reserved = facts.get("reserved_bytes") or 0, facts.get("reserved_objects") or 0
    use = QuotaUse(found.settings.quota, used.bytes + used.upload_bytes, used.versions, *reserved)
    return BucketStats(found, used, use)


def usage(facts: Any) -> Usage:
    """Return the counters of a bucket."""
    return Usage(
        facts.get("objects") or 0,
        facts.get("versions") or 0,
        facts.get("bytes") or 0,
        facts.get("upload_bytes") or 0,
    )


def signed_url(facts: Any) -> SignedUrl:
    """Return the signed URL that JSON describes."""
    return SignedUrl(facts["url"], facts["method"], _micros(facts["expires_at"]), facts["headers"])


def tenant(facts: Any) -> str:
    """Return the tenant of whoever asks, as JSON describes them."""
    return str(facts["tenant"])


def provisioned(facts: Any) -> Provisioned:
    """Return the hierarchy that JSON describes."""
    return Provisioned(
        tenant=facts["tenant"],
        content_types=facts["content_types"],
        categories=facts["categories"],
        subfolders=facts["subfolders"],
        buckets_made=facts["buckets_made"],
        folders_made=facts["folders_made"],
        folders_there=facts["folders_there"],
        stores={
            name: Made(said["made"], said["there"], said["offered"], said["trouble"] or "")
            for name, said in facts["stores"].items()
        },
    )


def upload(facts: Any, bucket: str) -> Upload:
    """Return the upload that JSON describes."""
    return Upload(
        id=facts["upload_id"],
        ref=ObjectRef("", bucket, facts["key"]),
        version_id=facts.get("version_id") or "",
        created=_micros(facts.get("created")),
        expires=_micros(facts.get("expires")),
        content_type=facts.get("content_type") or "application/octet-stream",
        metadata=facts.get("metadata") or {},
        tags=facts.get("tags") or {},
        kind=facts.get("kind") or "multipart",
        length=facts.get("size"),
        received=facts.get("received") or 0,
    )


def part(facts: Any) -> Part:
    """Return the part that JSON describes."""
    return Part(
        number=facts["number"],
        segment_id="",
        size=facts["size"],
        etag=facts["etag"],
        digests=Digests(sha256=_hex(facts.get("sha256"))),
        created=_micros(facts.get("created") or facts.get("last_modified")),
    )


def _hex(text: str | None) -> bytes | None:
    try:
        return bytes.fromhex(text) if text else None
    except ValueError:
        return None


def search_query(wish: Search) -> dict[str, str | int | None]:
    """Return the parameters that carry a search."""
    query: dict[str, str | int | None] = {
        "prefix": wish.prefix or None,
        "suffix": wish.suffix or None,
        "content_type": wish.content_type or None,
        "min_size": wish.min_size,
        "max_size": wish.max_size,
        "since": _iso(wish.since),
        "until": _iso(wish.until),
    }
    query |= {f"tag.{name}": value for name, value in wish.tags.items()}
    return query | {f"metadata.{name}": value for name, value in wish.metadata.items()}


def report(answer: Any) -> Report:
    """Return how it went with the objects of a batch."""
    failures = [
        Failure(item["bucket"], item["key"], item.get("code") or "", item.get("error") or "")
        for item in items(answer, "results")
        if not item.get("success")
    ]
    return Report(int(answer.get("done") or 0), failures)


def time_of(text: str | None) -> int | None:
    """Return a time of an answer in microseconds; None for none."""
    return None if text is None else moment(text)


def _iso(micros: int | None) -> str | None:
    return None if micros is None else (_EPOCH + timedelta(microseconds=micros)).isoformat()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
