"""Listings as the service keeps them: raw names, any prefix, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element  # a type; parsing is in `xml`

from holdfast.backends.object_store.azure.client import Client, strange, xml
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.listing import size_of
from holdfast.core.types import BlobInfo

#: The first version in which a listing can be told where to begin.
_STARTS_FROM: Final = "2026-02-06"


async def blobs(
    client: Client, where: Where, prefix: str, *, after: str = ""
) -> AsyncIterator[list[BlobInfo]]:
    """Yield pages of up to 5,000 blobs whose key starts with `prefix` and is greater than `after`, named by key.

    Before its version 2026-02-06 the service cannot begin in the middle: what comes before `after` is left out here.
    """
    query = [("restype", "container"), ("comp", "list"), ("maxresults", "5000")]
    query += [("prefix", prefix)] if prefix else []
    if after > prefix and client.settings.api_version >= _STARTS_FROM:
        query.append(("startFrom", after))
    marker = ""
    while True:
        answer = await client.call(where, "GET", query=[*query, ("marker", marker)] if marker else query)
        root = xml(answer, where, "EnumerationResults")
        page = [_info(item, where) for item in root.iterfind("Blobs/Blob") if not _folder(item)]
        yield [info for info in page if info.name > after and info.name.startswith(prefix)]
        following = root.findtext("NextMarker") or ""
        if not following:
            return
        if following == marker:
            raise strange("the listing says that there is more but not where", where)
        marker = following


def rfc_time(text: str) -> int:
    """Return microseconds for a time as HTTP writes it; 0 when it cannot be read."""
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1_000_000)
    except (ValueError, TypeError, IndexError):
        return 0


def _info(item: Element, where: Where) -> BlobInfo:
    name, facts = item.find("Name"), item.find("Properties")
    text = (name.text or "") if name is not None else ""
    if name is not None and name.get("Encoded") == "true":
        text = unquote(text)
    if facts is None:
        return BlobInfo(text, 0, 0)
    return BlobInfo(
        name=text,
        size=size_of(facts.findtext("Content-Length") or "0", where),
        modified=rfc_time(facts.findtext("Last-Modified") or ""),
        etag=(facts.findtext("Etag") or "").strip('"') or None,
    )


def _folder(item: Element) -> bool:
    """Return whether it is a directory, which accounts with a hierarchical namespace list too."""
    return item.findtext("Properties/ResourceType") == "directory"
