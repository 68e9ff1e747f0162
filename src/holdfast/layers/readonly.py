"""A store that is only read."""

from __future__ import annotations

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, SignedUrl
from holdfast.core.body import Body
from holdfast.core.errors import ConflictError
from holdfast.core.types import BlobInfo, Origin
from holdfast.layers.base import ALL, Layer


class ReadOnly(Layer):
    """Refuses every call that would change the store, with `ConflictError`; reads pass."""

    preserves = ALL

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Refuse."""
        raise self._refusal("put", name)

    async def delete(self, name: str) -> None:
        """Refuse."""
        raise self._refusal("delete", name)

    async def discard(self, name: str) -> None:
        """Refuse."""
        raise self._refusal("delete", name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Refuse."""
        raise self._refusal("copy", target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Refuse."""
        raise self._refusal("copy", target)

    async def describe(self, name: str, origin: Origin) -> None:
        """Refuse."""
        raise self._refusal("put", name)

    async def make_folder(self, name: str) -> bool:
        """Refuse."""
        raise self._refusal("make_folder", name)

    async def wake(self, name: str) -> None:
        """Refuse: some stores keep what was woken in another class for good."""
        raise self._refusal("wake", name)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Sign a URL for reading; refuse any other."""
        if method != "GET":
            raise self._refusal("presign", name)
        return await super().presign(
            method,
            name,
            expires_in=expires_in,
            content_type=content_type,
            content_disposition=content_disposition,
        )

    def _refusal(self, operation: str, name: str) -> ConflictError:
        return ConflictError("the store is read-only", operation=operation, store=self.store, name=name)
