"""What a writer says about an object, and what may be said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import EMPTY, NO_DIGESTS, Digests
from holdfast.policy import media

MAX_METADATA_BYTES: Final = 8192
MAX_TAGS: Final = 50
_CLASS: Final = re.compile(r"[A-Za-z0-9_-]{0,64}")


@dataclass(frozen=True, slots=True)
class ObjectInput:
    """What a writer says about an object.

    `content_type` None is guessed from the key's extension. `digests` are announced digests of the body: they are
    compared before anything becomes visible. Metadata keys are kept as given; at most 8 KiB in all, and 50 tags.
    `storage_class` is for placement rules: at most 64 letters, digits, `_` and `-`.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    digests: Digests = NO_DIGESTS
    storage_class: str = ""


NO_INPUT: Final = ObjectInput()


def check_input(about: ObjectInput, key: str) -> str:
    """Return the content type; `InvalidRequestError` for text that cannot travel in a header or is too much."""
    content_type = about.content_type or media.guess(key) or media.UNKNOWN
    total = 0
    for name, value in (*about.metadata.items(), *about.tags.items(), ("content-type", content_type)):
        if not name or unprintable(name) or unprintable(value):
            raise InvalidRequestError(
                f"{name[:80]!r}: metadata, tags and types may not hold control characters"
            )
        total += len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass"))
    if total > MAX_METADATA_BYTES:
        raise InvalidRequestError(
            f"metadata and tags have {total} bytes; at most {MAX_METADATA_BYTES} are allowed"
        )
    if not _CLASS.fullmatch(about.storage_class):
        raise InvalidRequestError("a storage class has at most 64 characters of A-Z a-z 0-9 _ -")
    if len(about.tags) > MAX_TAGS:
        raise InvalidRequestError(f"{len(about.tags)} tags; at most {MAX_TAGS} are allowed")
    if len(content_type) > 255 or not media.is_media_type(content_type):
        raise InvalidRequestError(
            f"{content_type[:80]!r} is not a content type; one is like text/csv or text/html; charset=utf-8"
        )
    return content_type


def unprintable(text: str) -> bool:
    """Tell whether `text` holds what no header can carry."""
    if text.isascii() and text.isprintable():
        return False
    return any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in text)
