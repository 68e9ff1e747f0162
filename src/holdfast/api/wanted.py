"""Buckets that clients take for granted: made when they are first needed, by whoever may make buckets."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.errors import AlreadyExistsError, InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.engine.session import Session


class Wanted:
    """Knows which buckets are taken for granted, and which of them are there already."""

    def __init__(self, default: str, others: Iterable[str] = ()) -> None:
        self.default = default
        self._names = frozenset([default, *others]) - {""}
        self._there: set[tuple[str, str]] = set()

    def chosen(self, name: str) -> str:
        """Return `name`, or the default bucket for ""."""
        if name or self.default:
            return name or self.default
        raise InvalidRequestError("name a bucket: this service has no default one")

    async def ensure(self, session: Session, name: str) -> None:
        """Make the bucket if it is one of those, is not there, and `session` may make it; else do nothing."""
        place = (session.principal.tenant, name)
        if name not in self._names or place in self._there:
            return
        try:
            await session.bucket(name)
        except NotFoundError:
            try:
                await session.create_bucket(name)
            except (AlreadyExistsError, PermissionDeniedError):
                return
        except PermissionDeniedError:
            return
        self._there.add(place)
