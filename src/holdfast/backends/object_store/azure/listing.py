"""Listings as the service keeps them: raw names, any prefix, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element  # a type; parsing is in `xml`

from holdfast.backends.object_store.azure.client import Client, strange, xml
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.listing import rfc_time, size_of
from holdfast.core.types import BlobInfo

#: The first version in which a listing can be told where to begin.
_STARTS_FROM: Final = "2026-02-06"
_TYPE: Final = "Properties/ResourceType"  #: only accounts with a hierarchical namespace tell it


class Page(NamedTuple):
    """Blobs, named by key; `tree` tells that the account has a hierarchical namespace, and with it another order."""

    blobs: list[BlobInfo]
    tree: bool


async def blobs(
    client: Client, where: Where, prefix: str, *, after: str = ""
) -> AsyncIterator[list[BlobInfo]]:
    """Yield pages of up to 5,000 blobs whose key starts with `prefix` and is greater than `after`, named by key."""
    async for page in pages(client, where, prefix, start=after):
        yield [info for info in page.blobs if info.name > after]


async def pages(client: Client, where: Where, prefix: str, *, start: str = "") -> AsyncGenerator[Page, None]:
    """Yield pages of up to 5,000 blobs whose key starts with `prefix`, folders left out.

    Before its version 2026-02-06 the service cannot begin in the middle, at `start`: it does at the beginning.
    """
    query = [("restype", "container"), ("comp", "list"), ("maxresults", "5000")]
    query += [("prefix", prefix)] if prefix else []
    if start > prefix and client.settings.api_version >= _STARTS_FROM:
        query.append(("startFrom", start))
    marker = ""
    while True:
        answer = await client.call(where, "GET", query=[*query, ("marker", marker)] if marker else query)
        root = xml(answer, where, "EnumerationResults")
        items = root.findall("Blobs/Blob")
        page = [_info(item, where) for item in items if item.findtext(_TYPE) != "directory"]
        tree = any(item.find(_TYPE) is not None for item in items)
        yield Page([info for info in page if info.name.startswith(prefix)], tree)
        following = root.findtext("NextMarker") or ""
        if not following:
            return
        if following == marker:
            raise strange("the listing says that there is more but not where", where)
        marker = following


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
