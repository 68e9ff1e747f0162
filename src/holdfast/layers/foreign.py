"""Errors that no driver should let out: they become ours, so that another copy is tried, and they are told of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import TracebackType
from typing import Final

from holdfast.core.body import Body
from holdfast.core.errors import HoldfastError, UnavailableError

_NOWHERE: Final = ("", "", "")


class Source:
    """A body that remembers its own errors: they say nothing of the store that takes it."""

    def __init__(self, body: Body) -> None:
        self._inner = body
        self.errors: list[BaseException] = []
        self._failed: tuple[Exception, tuple[str, str, str]] | None = None
        self.body = body if body.data is not None else replace(body, opener=self._open)

    @property
    def failure(self) -> Exception | None:
        """What the last pass failed with, as it was before a store said where; None when the body itself did not fail."""
        if self._failed is None:
            return None
        error, place = self._failed
        if isinstance(error, HoldfastError):
            error.operation, error.store, error.name = place
        return error

    async def _open(self) -> AsyncIterator[bytes]:
        self._failed = None
        try:
            async for chunk in self._inner.chunks():
                yield chunk
        except Exception as error:
            self.errors.append(error)
            place = (
                (error.operation, error.store, error.name) if isinstance(error, HoldfastError) else _NOWHERE
            )
            self._failed = error, place
            raise


class translated:
    """A block in which an error that is none of ours becomes `UnavailableError`, with it as the cause, and is logged.

    What `source` raised, and `ours`, pass as they are. A class, since it is on the way of every call to a store.
    """

    __slots__ = ("_name", "_operation", "_ours", "_source", "_store")

    def __init__(
        self,
        operation: str,
        store: str,
        name: str,
        *,
        source: Source | None = None,
        ours: BaseException | None = None,
    ) -> None:
        self._operation, self._store, self._name = operation, store, name
        self._source, self._ours = source, ours

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, HoldfastError | MemoryError):
            return
        if error is self._ours or (self._source is not None and error in self._source.errors):
            return
        # A defect of the driver, or of a library that it uses: the log has the way there.
        import structlog  # costs 50 ms, and is needed when something is very wrong

        structlog.get_logger("holdfast.stores").error(
            "a store failed in an unexpected way",
            operation=self._operation,
            store=self._store,
            kind=type(error).__name__,
            exc_info=error,
        )
        raise UnavailableError(
            f"the store failed in an unexpected way ({type(error).__name__})",
            operation=self._operation,
            store=self._store,
            name=self._name,
        ) from error
