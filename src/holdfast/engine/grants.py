"""What a signed URL bounds, beside saying which object and verbs: how many bytes, of which type, and how often.

An upload in pieces keeps its bounds among its options, so that they hold for whoever goes on with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from holdfast.catalog.contract import Idempotency
from holdfast.core.body import Body
from holdfast.core.errors import PermissionDeniedError, TooLargeError
from holdfast.core.types import EMPTY, Grant, Upload
from holdfast.engine.context import Context
from holdfast.engine.write import ObjectInput, opened
from holdfast.policy import media, signing

_MOST: Final = "url-most"
_TYPE: Final = "url-type"
_ONCE: Final = "url-once"
_EXPIRES: Final = "url-expires"
_SLACK: Final = 60_000_000  #: microseconds that a nonce is remembered longer than its URL holds


def granted_input(grant: Grant | None, about: ObjectInput, key: str) -> ObjectInput:
    """Return what a writer says of an object, with the content type that was signed.

    Raises:
        PermissionDeniedError: it is another type than was signed.
    """
    if grant is None or grant.content_type is None:
        return about
    given = about.content_type
    if given is None:
        given = media.guess(key) or media.UNKNOWN if grant.content_type.endswith("/*") else grant.content_type
    if not signing.allows_type(grant.content_type, given):
        raise _other_type(grant.content_type)
    return replace(about, content_type=given)


def granted_body(grant: Grant | None, body: Body) -> Body:
    """Return `body`, which ends with `TooLargeError` when it passes what was signed."""
    if grant is None or grant.max_size is None:
        return body
    if body.size is not None:
        check_granted_size(grant, body.size)
        return body
    return _limited(body, grant.max_size)


def check_granted_size(grant: Grant | None, size: int | None) -> None:
    """Refuse more bytes than were signed; a size that is not known yet passes."""
    if grant is not None:
        check_most(grant.max_size, size)


def check_most(most: int | None, size: int | None) -> None:
    """Refuse more than `most` bytes, which is what was signed."""
    if most is not None and size is not None and size > most:
        raise _too_large(most)


def granted_once(grant: Grant | None) -> Idempotency | None:
    """Return what remembers that a URL was used; None when it may be used again."""
    return None if grant is None or not grant.once else _nonce(grant.once, grant.expires)


# -- uploads in pieces ------------------------------------------------------------------------------------------------
def bounds_kept(grant: Grant | None) -> Mapping[str, str]:
    """Return the options by which an upload remembers its bounds."""
    if grant is None:
        return EMPTY
    found = {}
    if grant.max_size is not None:
        found[_MOST] = str(grant.max_size)
    if grant.content_type is not None:
        found[_TYPE] = grant.content_type
    if grant.once:
        found |= {_ONCE: grant.once, _EXPIRES: str(grant.expires)}
    return found


def types_of(upload: Upload) -> Sequence[str]:
    """Return the type, or pattern of types, that was signed for what the upload makes; none when none was."""
    return [upload.options[_TYPE]] if _TYPE in upload.options else []


def check_upload_type(uploads: Iterable[Upload], about: ObjectInput, key: str) -> None:
    """Refuse to make an object of another type than was signed for one of its uploads."""
    given = about.content_type or media.guess(key) or media.UNKNOWN
    for upload in uploads:
        for wanted in types_of(upload):
            if not signing.allows_type(wanted, given):
                raise _other_type(wanted)


async def granted_content(
    context: Context, grant: Grant | None, body: Body, about: ObjectInput, key: str
) -> Body:
    """Return `body`, whose first bytes do not show another type than was signed; `about` is what was granted."""
    if grant is None or grant.content_type is None:
        return body
    head, body = await opened(context, body, None)
    check_granted_content(grant.content_type, key, about.content_type or media.UNKNOWN, head)
    return body


def check_granted_content(wanted: str, key: str, content_type: str, head: bytes) -> None:
    """Refuse a content whose first bytes show another type than was signed."""
    decision = media.check([media.essence(wanted)], key, content_type, head)
    if not decision.allowed:
        raise PermissionDeniedError(f"this signed URL is for content of type {wanted}: {decision.reason}")


def most_of(upload: Upload, limit: int | None) -> int | None:
    """Return how many bytes the upload may have in all; `limit` is what the settings say."""
    if _MOST not in upload.options:
        return limit
    signed = int(upload.options[_MOST])
    return signed if limit is None else min(signed, limit)


def check_upload_size(upload: Upload, size: int) -> None:
    """Refuse to make an object of more bytes than were signed."""
    check_most(most_of(upload, None), size)


def once_of(upload: Upload, lifetime: float) -> Idempotency | None:
    """Return what remembers that the URL of an upload was used; None when it may be used again.

    An upload may be completed `lifetime` seconds after it was opened at the latest; its nonce is remembered so long.
    """
    if _ONCE not in upload.options:
        return None
    until = max(int(upload.options[_EXPIRES]), upload.created + int(lifetime * 1_000_000))
    return _nonce(upload.options[_ONCE], until)


def _nonce(nonce: str, until: int) -> Idempotency:
    return Idempotency(f"\x01url {nonce}", nonce.encode(), until + _SLACK, once=True)


def _limited(body: Body, limit: int) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in body.chunks():
            seen += len(chunk)
            if seen > limit:
                raise _too_large(limit)
            yield chunk

    return replace(body, opener=chunks)


def _other_type(wanted: str) -> PermissionDeniedError:
    return PermissionDeniedError(f"this signed URL is for content of type {wanted}")


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the object is larger than the {limit} bytes that this signed URL allows")
