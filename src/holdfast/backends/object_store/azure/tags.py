"""Index tags of blobs, as far as the account has them and the credential may use them; else blobs go without.

Accounts with a hierarchical namespace have none, and tags need a permission of their own (`t` of a shared access
signature, the role Storage Blob Data Owner of an identity).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlencode

from holdfast.backends.object_store.azure.client import Client, xml
from holdfast.backends.object_store.errors import Where
from holdfast.core.errors import (
    ConflictError,
    InvalidRequestError,
    PermissionDeniedError,
    UnsupportedError,
)
from holdfast.core.types import EMPTY

HEADER: Final = "x-ms-tags"
_MOST: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9 +./:=_-]{1,128}")
_VALUE: Final = re.compile(r"[A-Za-z0-9 +./:=_-]{0,256}")
_REFUSALS: Final = (PermissionDeniedError, UnsupportedError, ConflictError, InvalidRequestError)
T = TypeVar("T")


def header(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the header of a request that makes a blob with `tags`: those that the service can hold, the first ten."""
    fit = [pair for pair in tags.items() if _NAME.fullmatch(pair[0]) and _VALUE.fullmatch(pair[1])]
    return {HEADER: urlencode(fit[:_MOST])} if fit else {}


async def optional(send: Callable[[Mapping[str, str]], Awaitable[T]], headers: Mapping[str, str]) -> T:
    """Return what `send` does with `headers`; when it is refused, without the tags among them."""
    try:
        return await send(headers)
    except _REFUSALS:
        if HEADER not in headers:
            raise
    return await send({name: value for name, value in headers.items() if name != HEADER})


async def found(client: Client, where: Where, key: str) -> Mapping[str, str]:
    """Return the tags of the blob; none where they are not for us to see."""
    try:
        answer = await client.call(where, "GET", key, query=[("comp", "tags")])
    except _REFUSALS:
        return EMPTY
    items = xml(answer, where, "Tags").iterfind("TagSet/Tag")
    return {item.findtext("Key") or "": item.findtext("Value") or "" for item in items}
