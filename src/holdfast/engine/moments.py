"""A bucket as it was at a moment, and moments that have names, as one principal may see and make them.

Only buckets that keep versions have a past. What was removed for good since is not part of it any more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.core.names import check_key, check_prefix
from holdfast.core.records import Snapshot
from holdfast.core.types import ListPage, ObjectRef, Principal
from holdfast.engine.context import Context
from holdfast.engine.permits import Permit
from holdfast.policy.moments import Changed, change

MOST: Final = 1000  #: entries of a page
_PAGE: Final = 500  #: keys that are compared at a time
_LOOKS: Final = 10  #: such pages for one answer: where little has changed, the answer may be short
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NOTE: Final = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """Keys that are not the same at two moments, in order; `next_marker` is where to go on, "" at the end."""

    changes: Sequence[Changed]
    next_marker: str = ""


class Moments:
    """Snapshots, and reads of the past. `Session.moments` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit, principal: Principal, actor: Actor) -> None:
        self._context = context
        self._permit = permit
        self._tenant = principal.tenant
        self._actor = actor

    # -- snapshots ----------------------------------------------------------------------------------------------------
    async def create(self, bucket: str, name: str, *, at: int | None = None, note: str = "") -> Snapshot:
        """Name a moment of a bucket: now, or an earlier one (microseconds). What is current then stays.

        Raises:
            AlreadyExistsError: there is one of that name.
            ConflictError: the bucket keeps no versions, or follows a store.
        """
        await self._permit.enter("update_bucket", bucket)
        if len(note) > _NOTE or not note.isprintable():
            raise InvalidRequestError(f"a note has at most {_NOTE} printable characters")
        return await self._context.catalog.create_snapshot(
            self._tenant, bucket, check_name(name), at=at, note=note, actor=self._actor
        )

    async def snapshot(self, bucket: str, name: str) -> Snapshot:
        """Return a snapshot or raise `NotFoundError`."""
        await self._permit.enter("versions", bucket)
        return await self._context.catalog.snapshot(self._tenant, bucket, name)

    async def snapshots(self, bucket: str, *, after: str = "", limit: int = MOST) -> Sequence[Snapshot]:
        """Return snapshots of a bucket by name."""
        await self._permit.enter("versions", bucket)
        return await self._context.catalog.snapshots(
            self._tenant, bucket, after=after, limit=min(limit, MOST)
        )

    async def delete(self, bucket: str, name: str) -> None:
        """Forget a snapshot; nothing is removed by it, but versions that only it kept may be removed again."""
        await self._permit.enter("update_bucket", bucket)
        await self._context.catalog.delete_snapshot(self._tenant, bucket, name, actor=self._actor)

    # -- the past -----------------------------------------------------------------------------------------------------
    async def list(
        self,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = MOST,
    ) -> ListPage:
        """Return one page of what a listing showed at a moment; as `Session.list`.

        Raises:
            ConflictError: the bucket keeps no versions. InvalidRequestError: the moment is in the future.
        """
        await self._enter(bucket, at, prefix=prefix)
        for text in (prefix, delimiter, marker):
            check_prefix(text)
        return await self._context.catalog.list_at(
            self._tenant,
            bucket,
            at,
            prefix=prefix,
            delimiter=delimiter,
            marker=marker,
            limit=min(limit, MOST),
        )

    async def version_id(self, bucket: str, key: str, at: int) -> str:
        """Return the id of the version that a reader found at a moment.

        Raises:
            NotFoundError: there was nothing, or it was removed for good since.
        """
        await self._enter(bucket, at, key=check_key(key))
        return await self._context.catalog.version_at(ObjectRef(self._tenant, bucket, key), at)

    async def compare(
        self,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = MOST,
    ) -> Difference:
        """Return keys behind `marker` that are not the same at two moments, without `until` at one and now.

        A page may have fewer than `limit` of them, or none, and not be the last.
        """
        await self._enter(bucket, at, prefix=prefix)
        if until is not None and until < at:
            raise InvalidRequestError("the first moment is the earlier one")
        for text in (prefix, marker):
            check_prefix(text)
        found: list[Changed] = []
        for _ in range(_LOOKS):
            page = await self._context.catalog.compare(
                self._tenant, bucket, at, until, prefix=prefix, marker=marker, limit=_PAGE
            )
            for key in page:
                became = change(key.then, key.later)
                if became is not None:
                    found.append(Changed(key.key, became, key.then, key.later, key.gap))
                if len(found) == max(limit, 1):
                    return Difference(found, key.key)
            if len(page) < _PAGE:
                return Difference(found)
            marker = page[-1].key
        return Difference(found, marker)

    async def _enter(self, bucket: str, at: int, *, key: str | None = None, prefix: str = "") -> None:
        await self._permit.enter("versions", bucket, key, prefix)
        await check_past(self._context, self._tenant, bucket, at)


def check_name(name: str) -> str:
    """Return `name` when a snapshot may have it."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "a snapshot's name has 1 to 100 letters, digits, dots, dashes and underscores,"
            " the first a letter or digit",
            name=name[:100],
        )
    return name


async def check_past(context: Context, tenant: str, bucket: str, at: int) -> None:
    """Return when a bucket has a past, and `at` is in it.

    Raises:
        ConflictError: the bucket keeps no versions. InvalidRequestError: the moment is in the future.
    """
    if not (await context.catalog.bucket(tenant, bucket)).versioning:
        raise ConflictError("the bucket keeps no versions, so nothing is known of its past", name=bucket)
    if at > await context.catalog.now():
        raise InvalidRequestError("that moment is in the future")
