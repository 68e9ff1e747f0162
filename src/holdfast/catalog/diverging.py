"""Statements of divergences: keys that were changed here while their bucket takes over what others write elsewhere.

They are written by the transaction that makes the change, so that nobody ever sees one without the other.
"""

from __future__ import annotations

from sqlalchemy import case

from holdfast.catalog.common import Head
from holdfast.catalog.schema import divergences
from holdfast.catalog.statements import Call, Statement, constant, int_param, text_param, upsert_into

#: What the upstream had of the key stays as it is known when the version that is replaced does not say it.
DIVERGE = upsert_into(
    divergences,
    *("bucket_id", "key", "version_id", "at", "pin", "modified", "owed", "tries", "not_before", "trouble"),
    unique=("bucket_id", "key"),
    change={
        "pin": case((text_param("seen") != constant(""), text_param("seen")), else_=divergences.c.pin),
        "modified": case(
            (text_param("seen") != constant(""), int_param("seen_at")), else_=divergences.c.modified
        ),
        # whoever writes the key out just now is done with it first
        "not_before": case(
            (divergences.c.not_before > int_param("at_once"), divergences.c.not_before),
            else_=int_param("at_once"),
        ),
    },
)
CONVERGE = Statement(
    divergences.delete().where(
        divergences.c.bucket_id == int_param("in_bucket"), divergences.c.key == text_param("of_key")
    )
)


def diverged(head: Head, key: str, version_id: str, *, removed: bool = False) -> list[Call]:
    """Return the call that remembers that a key was written here, or deleted (""); none where nobody asks.

    A bucket that adopted once remembers deletes alone, so that adopting again does not bring back what was deleted; also
    where an older version is the newest one then (`removed`).
    """
    if not head.upstream:
        return []
    if head.upstream == "adopted" and removed and head.pin:
        version_id = ""
    if head.upstream == "adopted" and version_id:
        return [CONVERGE(in_bucket=head.bucket_id, of_key=key)]
    seen, seen_at = head.seen or ((head.pin, head.created) if head.pin else ("", 0))
    return [
        DIVERGE(
            bucket_id=head.bucket_id,
            key=key,
            version_id=version_id,
            at=head.clock,
            pin=seen,
            modified=seen_at,
            owed=head.upstream == "attached",
            tries=0,
            not_before=head.clock,
            trouble="",
            seen=seen,
            seen_at=seen_at,
            at_once=head.clock,
        )
    ]
