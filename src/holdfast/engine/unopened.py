"""What stands in for a store that cannot be opened: every call says why, so that other copies are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Never

from holdfast.core.backend import NO_OPTIONS, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.errors import HoldfastError
from holdfast.core.types import BlobInfo, ByteRange


class Unopened:
    """A `Backend` that does nothing but raise an error like `cause`."""

    def __init__(self, store: str, cause: HoldfastError) -> None:
        self._store, self._cause = store, cause

    @property
    def store(self) -> str:
        """The name of the store."""
        return self._store

    @property
    def capabilities(self) -> Capability:
        """Nothing."""
        return Capability.NONE

    @property
    def limits(self) -> Limits:
        """None of its own."""
        return Limits()

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Raise."""
        self.refuse("put", name)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Raise on entering."""
        return _Refusing(self, name)

    async def head(self, name: str) -> BlobInfo:
        """Raise."""
        self.refuse("head", name)

    async def delete(self, name: str) -> None:
        """Raise."""
        self.refuse("delete", name)

    async def discard(self, name: str) -> None:
        """Raise."""
        self.refuse("delete", name)

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Raise when the first is asked for."""
        return _Refusing(self, prefix)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Raise."""
        self.refuse("copy", source)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise."""
        self.refuse("presign", name)

    async def close(self) -> None:
        """Nothing is open."""

    def refuse(self, operation: str, name: str) -> Never:
        """Raise an error like the one that opening it met."""
        error = type(self._cause)(self._cause.message, operation=operation, store=self._store, name=name)
        raise error from self._cause


class _Refusing(AbstractAsyncContextManager[Reader], AsyncIterator[BlobInfo]):
    """A read or a listing that cannot begin."""

    def __init__(self, backend: Unopened, name: str) -> None:
        self._backend, self._name = backend, name

    async def __aenter__(self) -> Reader:
        self._backend.refuse("get", self._name)

    async def __anext__(self) -> BlobInfo:
        self._backend.refuse("list", self._name)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
