"""Scopes as text: `[VERB,…:]BUCKET[/PREFIX*]` or `[VERB,…:]BUCKET/KEY`, so that they fit a flag and a claim.

`*` alone is every bucket. Verbs are those of a session, or `read`, `write`, `admin` for several. Keys are
percent-encoded, so that a scope has no spaces, and a `*` that belongs to a key is `%2A`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Scope
from holdfast.policy.access import GROUPS, SCOPABLE

MOST: Final = 64  #: scopes of one credential
_BUCKET: Final = re.compile(r"[a-z0-9._*-]{1,63}")
_HOW: Final = "write it [VERB,…:]BUCKET, or BUCKET/PREFIX*, or BUCKET/KEY"


def parse_scope(text: str) -> Scope:
    """Return the scope that `text` means.

    Raises:
        InvalidRequestError: it is not one, or names a verb that there is not.
    """
    head, colon, place = text.partition(":")
    verbs = tuple(head.split(",")) if colon and "/" not in head else ()
    if not verbs:
        place = text
    for verb in verbs:
        if verb not in SCOPABLE and verb not in GROUPS:
            known = ", ".join(sorted(SCOPABLE | set(GROUPS)))
            raise InvalidRequestError(
                f"the scope {text[:80]!r} names no verb with {verb[:40]!r}; there are {known}"
            )
    bucket, slash, rest = place.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidRequestError(f"the scope {text[:80]!r} names no bucket; {_HOW}")
    if not slash or rest in ("", "*"):
        return Scope(bucket, "", verbs)
    if rest.endswith("*"):
        return Scope(bucket, _decoded(rest[:-1], text), verbs)
    return Scope(bucket, "", verbs, _decoded(rest, text))


def format_scope(scope: Scope) -> str:
    """Return the text that `parse_scope` takes."""
    text = ",".join(scope.verbs) + ":" if scope.verbs else ""
    text += scope.bucket
    if scope.key is not None:
        return f"{text}/{quote(scope.key)}"
    return f"{text}/{quote(scope.prefix)}*" if scope.prefix else text


def parse_scopes(texts: list[str] | tuple[str, ...]) -> tuple[Scope, ...]:
    """Return the scopes of `texts`; `InvalidRequestError` for a wrong one, or too many."""
    if len(texts) > MOST:
        raise InvalidRequestError(f"a credential has at most {MOST} scopes")
    return tuple(parse_scope(text) for text in texts)


def _decoded(text: str, whole: str) -> str:
    try:
        found = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"the scope {whole[:80]!r} is not UTF-8 after decoding") from None
    if len(found.encode()) > 1024 or "*" in text or any(ord(char) < 32 or ord(char) == 127 for char in found):
        raise InvalidRequestError(f"the scope {whole[:80]!r} has no key or prefix of its bucket; {_HOW}")
    return found
