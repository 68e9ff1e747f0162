"""Listings as the server keeps them: raw keys, any prefix, page by page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element  # a type; parsing is in `xml`

from holdfast.backends.object_store.ahead import Ahead
from holdfast.backends.object_store.control import Caller
from holdfast.backends.object_store.errors import ImpossibleNameError, Where
from holdfast.backends.object_store.onward import PAGE, Onward, page_of
from holdfast.backends.object_store.xml import XmlError, parse
from holdfast.core.blob_info import EMPTY, BlobInfo, Seen
from holdfast.core.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)

_TOLD = r"(?:<(?:StorageClass|ChecksumAlgorithm|ChecksumType)>[^<>]*</(?:StorageClass|ChecksumAlgorithm|ChecksumType)>)*"
_QUOTE = '(?:"|&#34;|&quot;)?'
_DIGITS = 18  #: of the largest size
_PLAIN = re.compile(
    r"<Contents><Key>([^<>]+)</Key><LastModified>([^<>&]*)</LastModified>"
    rf"<ETag>{_QUOTE}([^<>&\"]*){_QUOTE}</ETag>{_TOLD}<Size>([0-9]{{1,{_DIGITS}}})</Size>{_TOLD}"
    rf"(?:<Owner>(?:<(?:ID|DisplayName)>[^<>]*</(?:ID|DisplayName)>)*</Owner>)?{_TOLD}</Contents>"
)
_FOREIGN = re.compile(r"&(?!amp;|lt;|gt;|quot;|apos;|#34;|#39;)")
#: What stands for a character in XML; the sign that begins all of them comes last.
_ENTITIES = (
    *(("&#34;", '"'), ("&quot;", '"'), ("&#39;", "'"), ("&apos;", "'")),
    *(("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")),
)


class OpenUpload(NamedTuple):
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: int  #: microseconds since the epoch


async def bucket_answers(client: Caller, where: Where, prefix: str) -> bool:
    """Tell whether the bucket is there, as far as it says so.

    Raises:
        ConfigError, UnauthenticatedError: what a refused HEAD, whose answer carries no reason, cannot say.
    """
    query = [("list-type", "2"), ("max-keys", "1"), ("prefix", prefix)]
    try:
        await client.call(where, "GET", query=query)
    except (PermissionDeniedError, UnavailableError, InvalidRequestError):
        return False
    return True


async def objects(
    client: Caller, where: Where, prefix: str, *, after: str = "", seen: Seen | None = None
) -> AsyncGenerator[list[BlobInfo]]:
    """Yield pages of up to 1,000 objects whose key starts with `prefix` and is greater than `after`, named by key.

    `seen`, of the same prefix, makes it quicker where little has changed, see `Ahead`; and is told how the pages went on.
    """
    query = page_of(prefix)
    onward = Onward(prefix, after, client.environment.clock)
    ends = (prefix + key for key in seen.every(PAGE)) if seen is not None else ()
    ahead = Ahead(lambda further: client.call(where, "GET", query=[*query, *further]), ends)
    if seen is not None and seen.by_key and not after:
        ahead.begin()
    try:
        while True:
            try:
                answer = await ahead.answer(onward.query())
            except ImpossibleNameError:
                return
            page, rest = _page(answer.body, where)
            if not onward.follows(page, answer.headers, ends=not _truncated(rest)):
                continue
            token = _next(rest, where, onward.token)
            if token:
                onward.more(token, page, answer.headers)
                ahead.expect(onward.after)
                if seen is not None:
                    seen.by_key = bool(onward.after)
            # Not every server knows start-after; what it should have left out is left out here.
            yield [info for info in page if info.name > after and info.name.startswith(prefix)]
            if not token:
                return
    finally:
        await ahead.close()


async def pages(
    client: Caller, store: str, start: str, prefix: str, *, after: str = "", seen: Seen | None = None
) -> AsyncGenerator[list[BlobInfo]]:
    """Yield pages of the objects below the folder `start` whose names begin with `prefix`; keys are taken as they are.

    Raises:
        UnsupportedError: the server does not list in byte order.
    """
    where, last, cut = Where("list", store, prefix), "", len(start)
    listed = objects(client, where, start + prefix, after=start + after if after else "", seen=seen)
    async with aclosing(listed):
        async for page in listed:
            for info in page:
                if info.name <= last:
                    raise UnsupportedError(
                        "the store does not list in byte order; set sorted_listing = false",
                        operation="list",
                        store=store,
                    )
                last = info.name
            if cut:
                page = [BlobInfo(info.name[cut:], info.size, info.modified, info.etag) for info in page]
            yield page


async def one_page(page: list[BlobInfo]) -> AsyncGenerator[list[BlobInfo]]:
    """Yield a page that was put together."""
    yield page


def _page(body: bytes, where: Where) -> tuple[list[BlobInfo], Element]:
    """Return the objects of a page, and the rest of it.

    A page is a thousand times the same few elements: as every server known writes them, they are read by one pattern in
    a tenth of the time; a page in which anything else stands is read as any XML.
    """
    text = body.decode("utf-8-sig", "replace")
    foreign = text.count("&") > text.count("&#34;") and _FOREIGN.search(text) is not None
    unusual = foreign or "<!" in text or "\r" in text or "\ufffd" in text
    # what stands between objects, and four facts of each, by turns
    pieces = [] if unusual else _PLAIN.split(text)
    plain = "".join(pieces[::5])
    if unusual or "<Contents" in plain:
        return _page_of(_parse(body, where, "ListBucketResult"), where)
    root = _parse(plain.encode(), where, "ListBucketResult")
    if root.find("Contents") is not None:  # under a prefix of its own
        return _page_of(_parse(body, where, "ListBucketResult"), where)
    coded = root.findtext("EncodingType") == "url"
    facts = zip(pieces[1::5], pieces[2::5], pieces[3::5], pieces[4::5], strict=True)
    return [
        BlobInfo(_key(key, coded), int(size), _moment(modified), etag or None, EMPTY)
        for key, modified, etag, size in facts
    ], root


def _page_of(root: Element, where: Where) -> tuple[list[BlobInfo], Element]:
    return [_object(item, root, where) for item in root.iterfind("Contents")], root


def _key(text: str, coded: bool) -> str:
    said = _plain(text)
    return unquote_plus(said) if coded and ("%" in said or "+" in said) else said


def _plain(text: str) -> str:
    if "&" in text:
        for coded, meant in _ENTITIES:
            text = text.replace(coded, meant)
    return text


async def uploads(client: Caller, where: Where, prefix: str) -> AsyncIterator[OpenUpload]:
    """Yield the open multipart uploads under `prefix`. MinIO shows them only for a prefix that is the whole key."""
    query = [("uploads", ""), ("prefix", prefix), ("encoding-type", "url")]
    marker: list[tuple[str, str]] = []
    while True:
        answer = await client.call(where, "GET", query=[*query, *marker])
        root = _parse(answer.body, where, "ListMultipartUploadsResult")
        for item in root.iterfind("Upload"):
            key = _text(item, "Key", root)
            if key.startswith(prefix):
                yield OpenUpload(
                    key, item.findtext("UploadId") or "", _moment(item.findtext("Initiated") or "")
                )
        following = [
            ("key-marker", _text(root, "NextKeyMarker", root)),
            ("upload-id-marker", root.findtext("NextUploadIdMarker") or ""),
        ]
        if (
            (root.findtext("IsTruncated") or "").lower() != "true"
            or not following[0][1]
            or following == marker
        ):
            return
        marker = following


def _parse(body: bytes, where: Where, tag: str) -> Element:
    try:
        root = parse(body)
    except XmlError as error:
        raise _strange(str(error), where) from error
    if root.tag != tag:
        raise _strange(f"the answer is not a {tag}", where)
    return root


def size_of(text: str, where: Where) -> int:
    """Return the size that a listing says; `UnavailableError` for what no store can hold."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise _strange("the listing says a size that is none", where)
    return int(text)


def rfc_time(text: str) -> int:
    """Return microseconds for a time as HTTP writes it; 0 when it cannot be read."""
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1_000_000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0


def _object(item: Element, root: Element, where: Where) -> BlobInfo:
    etag = item.findtext("ETag") or ""
    return BlobInfo(
        name=_text(item, "Key", root),
        size=size_of(item.findtext("Size") or "0", where),
        modified=_moment(item.findtext("LastModified") or ""),
        etag=etag.strip('"') or None,
    )


def _text(item: Element, tag: str, root: Element) -> str:
    value = item.findtext(tag) or ""
    return unquote_plus(value) if root.findtext("EncodingType") == "url" else value


def _truncated(root: Element) -> bool:
    return (root.findtext("IsTruncated") or "").lower() == "true"


def _next(root: Element, where: Where, before: str) -> str:
    if not _truncated(root):
        return ""
    token = root.findtext("NextContinuationToken") or ""
    if not token or token == before:
        raise _strange("the listing says that there is more but not where", where)
    return token


def _moment(text: str) -> int:
    """Return microseconds for an ISO time; 0 when the server gave none that can be read."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _strange(text: str, where: Where) -> UnavailableError:
    return UnavailableError(text, operation=where.operation, store=where.store, name=where.name)
