"""The list that completes an upload in parts."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Part

PartLike = Part | tuple[int, str]


def named(parts: Sequence[PartLike]) -> list[tuple[int, str]]:
    """Return the parts as (number, ETag).

    Raises:
        InvalidRequestError: one of them is neither a `Part`, as `put_part` returns it, nor such a pair.
    """
    return [_named(part) for part in parts]


def _named(part: object) -> tuple[int, str]:
    if isinstance(part, Part):
        return part.number, part.etag
    if isinstance(part, tuple | list) and len(part) == 2:
        number, etag = part
        if isinstance(number, int) and not isinstance(number, bool) and isinstance(etag, str):
            return number, etag
    raise InvalidRequestError(
        f"complete_upload takes what put_part returned, or pairs (number, etag); not {str(part)[:80]!r}"
    )
