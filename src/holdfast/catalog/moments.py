"""Reads of a bucket as it was at a moment: of each key the newest version that was made until then, if it is no delete marker.

What was removed for good since is not there any more. A number that is missing behind a version tells of it; where the
newest one was removed, or a whole key, nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import func, select

from holdfast.catalog.common import BUCKET, no_bucket, no_object
from holdfast.catalog.contract import KeyThen
from holdfast.catalog.folding import Fold, after
from holdfast.catalog.listing import Page
from holdfast.catalog.rows import VERSION, VERSION_WIDTH, version_of
from holdfast.catalog.schema import versions
from holdfast.catalog.statements import Row, Statement, constant, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.types import ListPage, ObjectRef, Version

_PROBE: Final = 128

_newer, _other = versions.alias("newer"), versions.alias("other")
_IS_NEWEST: Final = (
    ~select(_newer.c.seq)
    .where(
        _newer.c.bucket_id == versions.c.bucket_id,
        _newer.c.key == versions.c.key,
        _newer.c.seq > versions.c.seq,
        _newer.c.created <= int_param("at"),
    )
    .correlate(versions)
    .exists()
)
_FOLLOWING: Final = (
    select(func.min(_other.c.seq))
    .where(
        _other.c.bucket_id == versions.c.bucket_id,
        _other.c.key == versions.c.key,
        _other.c.seq > versions.c.seq,
    )
    .correlate(versions)
    .scalar_subquery()
)
_FROM: Final = (
    versions.c.bucket_id == int_param("in_bucket"),
    versions.c.key >= text_param("lower"),
    versions.c.key < text_param("upper"),
)
#: What was there at a moment, from `lower` on (inclusive) and before `upper`.
STRETCH = Statement(
    select(*VERSION)
    .where(*_FROM, versions.c.created <= int_param("at"), versions.c.delete_marker.is_(False), _IS_NEWEST)
    .order_by(versions.c.key)
    .limit(int_param("rows"))
)
_ONE: Final = (versions.c.bucket_id == int_param("in_bucket"), versions.c.key == text_param("of_key"))
AT = Statement(
    select(versions.c.id, versions.c.delete_marker)
    .where(*_ONE, versions.c.created <= int_param("at"))
    .order_by(versions.c.seq.desc())
    .limit(constant(1))
)
KEYS = Statement(
    select(versions.c.key)
    .where(*_FROM)
    .group_by(versions.c.key)
    .order_by(versions.c.key)
    .limit(int_param("rows"))
)
_UPTO: Final = (
    versions.c.bucket_id == int_param("in_bucket"),
    versions.c.key >= text_param("lower"),
    versions.c.key <= text_param("upto"),
)
#: The newest versions at a moment, delete markers included, and the number that follows theirs.
THEN = Statement(
    select(*VERSION, _FOLLOWING.label("following")).where(
        *_UPTO, versions.c.created <= int_param("at"), _IS_NEWEST
    )
)
#: The oldest versions that there are of each key: a number above 1 tells that there was another.
OLDEST = Statement(select(versions.c.key, func.min(versions.c.seq)).where(*_UPTO).group_by(versions.c.key))
_EVER: Final = 1 << 62  #: later than every version


def list_at(
    tenant: str, bucket: str, at: int, *, prefix: str, delimiter: str, marker: str, limit: int
) -> Transaction[ListPage]:
    """One page of what was in a bucket at a moment; as `listing.list_objects`."""

    def steps(attempt: Attempt) -> Steps[ListPage]:
        bucket_id = yield from _bucket(tenant, bucket)
        if limit <= 0:
            return ListPage(())
        fold = Fold(prefix, delimiter)
        page = Page(tenant, bucket, fold, limit)
        lower = fold.start(marker)
        while page.wanted > 0 and lower < fold.upper:
            wanted = page.wanted if not delimiter else _PROBE
            rows = yield STRETCH(in_bucket=bucket_id, lower=lower, upper=fold.upper, at=at, rows=wanted)
            if not rows:
                break
            lower, _, _ = page.take(rows)
            if len(rows) < wanted:
                break
        return page.finish()

    return steps


def id_at(ref: ObjectRef, at: int) -> Transaction[str]:
    """The id of the version that a reader of the key found at a moment; `NotFoundError` when there was none."""

    def steps(attempt: Attempt) -> Steps[str]:
        bucket_id = yield from _bucket(ref.tenant, ref.bucket)
        rows = yield AT(in_bucket=bucket_id, of_key=ref.key, at=at)
        if not rows or rows[0][1]:
            raise no_object(ref)
        return str(rows[0][0])

    return steps


def compare(
    tenant: str, bucket: str, at: int, until: int | None, *, prefix: str, marker: str, limit: int
) -> Transaction[Sequence[KeyThen]]:
    """Keys in order behind `marker`, with what they were at a moment and at another (None: now); see the contract."""

    def steps(attempt: Attempt) -> Steps[Sequence[KeyThen]]:
        bucket_id = yield from _bucket(tenant, bucket)
        fold = Fold(prefix, "")
        lower = max(prefix, after(marker)) if marker else prefix
        keys = [
            row[0] for row in (yield KEYS(in_bucket=bucket_id, lower=lower, upper=fold.upper, rows=limit))
        ]
        if not keys:
            return []
        stretch = {"in_bucket": bucket_id, "lower": keys[0], "upto": keys[-1]}
        then = {row[0]: row for row in (yield THEN(**stretch, at=at))}
        end = _EVER if until is None else until
        later = {row[0]: row for row in (yield THEN(**stretch, at=end))}
        oldest = {row[0]: row[1] for row in (yield OLDEST(**stretch))}

        def shown(row: Row | None, *, current: bool) -> Version | None:
            if row is None or row[VERSION_WIDTH - 1]:
                return None
            return version_of(row, tenant, bucket, current=current)

        return [
            KeyThen(
                key,
                shown(then.get(key), current=False),
                shown(later.get(key), current=until is None),
                later[key][5] if key in later else 0,
                _is_gap(then.get(key), oldest.get(key)),
            )
            for key in keys
        ]

    return steps


def _is_gap(then: Row | None, oldest: Any) -> bool:
    """Whether a version is gone that may have been the one of that moment."""
    if then is None:
        return oldest is not None and oldest > 1
    following = then[VERSION_WIDTH]
    return following is not None and following != then[1] + 1


def _bucket(tenant: str, bucket: str) -> Steps[int]:
    rows = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
    if not rows:
        raise no_bucket(bucket)
    return int(rows[0][0])
