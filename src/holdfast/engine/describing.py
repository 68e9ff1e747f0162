"""Changing what is said about a content: its type, metadata and tags. The content itself never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.catalog.contract import Actor, Said
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError
from holdfast.core.retention import KeptError
from holdfast.core.types import Version
from holdfast.engine import rules
from holdfast.engine.context import Context
from holdfast.engine.write import ObjectInput, check_input, check_kept

_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be said from now on; None leaves a member as it is.

    With `merge` the entries of `metadata` and `tags` are put beside those that are there, and an entry that is None is
    taken away; without it they take the place of all.
    """

    content_type: str | None = None
    metadata: Mapping[str, str | None] | None = None
    tags: Mapping[str, str | None] | None = None
    merge: bool = False

    def of(self, version: Version) -> Said:
        """Return what is said about `version` after the change."""
        return Said(
            self.content_type or version.content_type,
            self._pairs(version.metadata, self.metadata),
            self._pairs(version.tags, self.tags),
        )

    def _pairs(self, before: Mapping[str, str], wish: Mapping[str, str | None] | None) -> Mapping[str, str]:
        if wish is None:
            return before
        pairs = {**before, **wish} if self.merge else wish
        return {name: value for name, value in pairs.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Validators:
    etag: str
    created: int


def said_etag(version: Version) -> str:
    """Return the validator of what is said about a version: another one when anything of it is said otherwise."""
    said = [version.id, version.content_type, sorted(version.metadata.items()), sorted(version.tags.items())]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]


async def update(
    context: Context,
    version: Version,
    change: Change,
    *,
    conditions: Preconditions = NO_CONDITIONS,
    actor: Actor,
) -> Version:
    """Return `version` with the change made, in one transaction with its audit row.

    Concurrent changes are put one on top of the other. `conditions` are about `said_etag`, or name the version's id.

    Raises:
        PreconditionFailedError: somebody changed it since; nothing was changed.
        InvalidRequestError: what would be said is too much, no text, or a type that the bucket does not take for this.
        NotFoundError: the version is gone.
        ConflictError: the version is held or locked, and more than its tags would change.
    """
    for _ in range(_TRIES):
        etag = version.id if version.id in conditions.if_match else said_etag(version)
        conditions.check_write(_Validators(etag, version.created))
        said = change.of(version)
        check_input(ObjectInput(said.content_type, said.metadata, said.tags), version.ref.key)
        if said.content_type != version.content_type:
            bucket = await context.rules.bucket(version.ref.tenant, version.ref.bucket)
            rules.check_type(bucket, version.ref.key, said.content_type)
            if bucket.settings.allowed_types:
                located = await context.catalog.resolve(version.ref, version_id=version.id)
                await check_kept(context, bucket, located, version.ref.key, said.content_type)
        try:
            return await context.catalog.update_version(version, said, actor=actor)
        except KeptError:
            raise
        except ConflictError as error:
            last = error
            version = await context.catalog.version_by_id(version.ref.tenant, version.id)
    raise last
