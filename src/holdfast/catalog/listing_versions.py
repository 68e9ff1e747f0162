"""Pages of versions: by key in byte order, newest first within a key, delete markers included."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from holdfast.catalog.common import BUCKET, no_bucket
from holdfast.catalog.folding import Fold, after
from holdfast.catalog.rows import VERSION, version_of
from holdfast.catalog.schema import versions
from holdfast.catalog.statements import Row, Statement, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.types import Version, VersionPage

_STRETCH = 128

STRETCH = Statement(
    select(*VERSION)
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key >= text_param("lower"),
        versions.c.key < text_param("upper"),
    )
    .order_by(versions.c.key, versions.c.seq.desc())
    .limit(int_param("rows"))
)
_OF_KEY = (versions.c.bucket_id == int_param("in_bucket"), versions.c.key == text_param("of_key"))
OLDER = Statement(
    select(*VERSION)
    .where(*_OF_KEY, versions.c.seq < int_param("below"))
    .order_by(versions.c.seq.desc())
    .limit(int_param("rows"))
)
SEQ_OF = Statement(select(versions.c.seq).where(*_OF_KEY, versions.c.id == text_param("of_version")))
#: Where a version that is gone meanwhile would have been: ids grow with time.
SEQ_NEAR = Statement(
    select(func.max(versions.c.seq)).where(*_OF_KEY, versions.c.id < text_param("of_version"))
)


class _Page:
    """What was gathered so far; one entry more than the page tells that there is a next one."""

    def __init__(self, tenant: str, bucket: str, fold: Fold, limit: int) -> None:
        self._tenant, self._bucket, self._fold, self._limit = tenant, bucket, fold, limit
        self._entries: list[Version | str] = []

    @property
    def wanted(self) -> int:
        """How many entries are missing."""
        return self._limit + 1 - len(self._entries)

    def take_older(self, rows: Sequence[Row]) -> None:
        """Take versions that are not the newest of their key."""
        self._entries += [version_of(row, self._tenant, self._bucket, current=False) for row in rows]

    def take(self, rows: Sequence[Row]) -> tuple[str, str, int]:
        """Take a stretch that begins with the newest of a key; return where to go on: from which key on, or after
        which key and number of version (the key is "" when the stretch ended in a common prefix)."""
        key, prefix = None, None
        for row in rows:
            folded = self._fold.prefix_of(row[0])
            if folded is None:
                self._entries.append(version_of(row, self._tenant, self._bucket, current=row[0] != key))
            elif folded != prefix:
                prefix = folded
                self._entries.append(folded)
            key = row[0]
            if self.wanted == 0:
                break
        last = rows[-1]
        folded = self._fold.prefix_of(last[0])
        return ("", last[0], last[1]) if folded is None else (self._fold.past(folded), "", 0)

    def finish(self) -> VersionPage:
        """Return the page."""
        truncated = len(self._entries) > self._limit
        entries = self._entries[: self._limit]
        last = entries[-1] if truncated else ""
        return VersionPage(
            items=[entry for entry in entries if isinstance(entry, Version)],
            prefixes=[entry for entry in entries if isinstance(entry, str)],
            next_key=last if isinstance(last, str) else last.ref.key,
            next_version="" if isinstance(last, str) else last.id,
            truncated=truncated,
        )


def list_versions(
    tenant: str,
    bucket: str,
    *,
    prefix: str,
    delimiter: str,
    key_marker: str,
    version_marker: str,
    limit: int,
) -> Transaction[VersionPage]:
    """One page of versions; see the contract."""

    def steps(attempt: Attempt) -> Steps[VersionPage]:
        found = yield BUCKET(tenant=tenant, bucket=bucket, now=0)
        if not found:
            raise no_bucket(bucket)
        if limit <= 0:
            return VersionPage(())
        bucket_id, fold = found[0][0], Fold(prefix, delimiter)
        page = _Page(tenant, bucket, fold, limit)
        if version_marker and key_marker.startswith(prefix) and fold.prefix_of(key_marker) is None:
            seq = yield from _seq_after(bucket_id, key_marker, version_marker)
            yield from _rest_of_key(bucket_id, page, key_marker, seq)
        yield from _walk(bucket_id, fold, page, fold.start(key_marker))
        return page.finish()

    return steps


def _seq_after(bucket_id: int, key: str, version_id: str) -> Steps[int]:
    """Return the number that the versions after the marker are below."""
    rows = yield SEQ_OF(in_bucket=bucket_id, of_key=key, of_version=version_id)
    if rows:
        return int(rows[0][0])
    rows = yield SEQ_NEAR(in_bucket=bucket_id, of_key=key, of_version=version_id)
    return int(rows[0][0] or 0) + 1


def _rest_of_key(bucket_id: int, page: _Page, key: str, seq: int) -> Steps[None]:
    if page.wanted > 0:
        page.take_older((yield OLDER(in_bucket=bucket_id, of_key=key, below=seq, rows=page.wanted)))


def _walk(bucket_id: int, fold: Fold, page: _Page, lower: str) -> Steps[None]:
    """Fill the page from `lower` on."""
    while page.wanted > 0 and lower < fold.upper:
        wanted = page.wanted if not fold.delimiter else _STRETCH
        rows = yield STRETCH(in_bucket=bucket_id, lower=lower, upper=fold.upper, rows=wanted)
        if not rows:
            return
        lower, key, seq = page.take(rows)
        if key:
            yield from _rest_of_key(bucket_id, page, key, seq)
            lower = after(key)
        if len(rows) < wanted:
            return
