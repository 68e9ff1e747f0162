"""The verbs, as every client has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import TooLargeError
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    Bucket,
    ByteRange,
    Deleted,
    Digests,
    ListPage,
    Part,
    Span,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.library.source import Source

#: The longest object that `get` returns in one piece unless told otherwise; longer ones are for `stream`.
MAX_GET: Final = 1 << 30

#: Told how many bytes more have been moved; a negative number takes back what must be sent again.
Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """Files of more than `above` bytes go up in parts of `size` bytes."""

    above: int
    size: int


class Download(Protocol):
    """An object being read; read it once, inside the `async with` that gave it."""

    @property
    def version(self) -> Version:
        """What is being read."""
        ...

    @property
    def span(self) -> Span:
        """The part of it that is sent."""
        ...

    @property
    def modified(self) -> bool:
        """False when the conditions say that the caller has it already; then there are no bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the bytes in chunks of up to about 1 MiB."""
        ...

    async def read(self) -> bytes:
        """Return all bytes of the span."""
        ...


class AsyncClient(ABC):
    """Objects in buckets, as one principal sees them. Safe for many tasks of one event loop at once.

    Every method raises the kinds of `holdfast.core.errors` and nothing else: `NotFoundError` for what is not there,
    `UnauthenticatedError` and `PermissionDeniedError` for what is not allowed, `UnavailableError` when the other side
    cannot be reached. What a method adds to these is named with it.
    """

    # -- life ---------------------------------------------------------------------------------------------------
    @abstractmethod
    async def close(self) -> None:
        """Release connections and files; may be called again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- buckets ------------------------------------------------------------------------------------------------
    @abstractmethod
    async def create_bucket(self, name: str, *, versioning: bool = False) -> Bucket:
        """Make a bucket; with `versioning` an overwritten or deleted object stays reachable by its version id.

        Raises:
            AlreadyExistsError: there is one.
        """

    @abstractmethod
    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets by name, each with its counters."""

    @abstractmethod
    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket.

        Raises:
            ConflictError: it holds objects, versions, delete markers or open uploads.
        """

    # -- objects ------------------------------------------------------------------------------------------------
    @abstractmethod
    async def put(
        self,
        bucket: str,
        key: str,
        data: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        digests: Digests = NO_DIGESTS,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency_key: str | None = None,
    ) -> Version:
        """Store `data` under `key` and return the new version; when this returns it survives the loss of power.

        `content_type` is guessed from the key's extension when not given. `digests` are what the bytes must turn out
        to be. The same `idempotency_key` again returns the first version instead of writing a second one.

        Raises:
            DigestMismatchError: the bytes are not the announced ones; nothing became visible.
            PreconditionFailedError, ConflictError, TooLargeError, QuotaExceededError: likewise.
        """

    @abstractmethod
    def stream(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[Download]:
        """Open an object for reading in chunks, whatever its size. A broken stream is resumed where it broke.

        Raises:
            InvalidRangeError: no byte of the object is in `range`.
            PreconditionFailedError: the conditions do not hold.
        """

    @abstractmethod
    async def head(self, bucket: str, key: str, *, version_id: str | None = None) -> Version:
        """Return what is known of an object without reading it."""

    @abstractmethod
    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Deleted:
        """Remove an object, or one version of it for good. What is not there is a success."""

    @abstractmethod
    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        source_version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Copy `(bucket, key)` to `(bucket, key)` without the bytes passing through the caller.

        Content type, metadata and tags are carried over. `conditions` are about the target.
        """

    @abstractmethod
    async def list_page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", marker: str = "", limit: int = 1000
    ) -> ListPage:
        """Return up to `limit` (1 to 1,000) objects and common prefixes after `marker`, in byte order."""

    @abstractmethod
    async def versions_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """Return up to `limit` versions by key, newest first within a key, delete markers included."""

    # -- large uploads ------------------------------------------------------------------------------------------
    @abstractmethod
    async def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
    ) -> Upload:
        """Begin an upload in parts."""

    @abstractmethod
    async def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: Source,
        *,
        digests: Digests = NO_DIGESTS,
    ) -> Part:
        """Send part `number` (1 to 10,000); the same number again replaces it. In any order, in parallel."""

    @abstractmethod
    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """Return the acknowledged parts with numbers greater than `after`."""

    @abstractmethod
    async def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """Return open uploads by key then id, and whether there are more."""

    @abstractmethod
    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Make the parts, given as `(number, etag)` in ascending order, the object's new version."""

    @abstractmethod
    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up; its parts are removed."""

    # -- made of the above --------------------------------------------------------------------------------------
    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        limit: int = MAX_GET,
    ) -> bytes:
        """Return an object, or `range` of it, in one piece.

        Raises:
            TooLargeError: that would be more than `limit` bytes; use `stream` or `get_file`.
        """
        async with self.stream(bucket, key, version_id=version_id, range=range) as download:
            if download.span.length > limit:
                raise TooLargeError(
                    f"{bucket}/{key} has {download.span.length} bytes, more than the {limit} that get returns at once;"
                    " use stream or get_file"
                )
            return await download.read()

    async def pages(self, bucket: str, *, prefix: str = "", delimiter: str = "") -> AsyncIterator[ListPage]:
        """Yield the listing page by page: objects and, with a delimiter, common prefixes (a folder view)."""
        marker = ""
        while True:
            page = await self.list_page(bucket, prefix=prefix, delimiter=delimiter, marker=marker)
            yield page
            if not page.truncated:
                return
            marker = page.next_marker

    async def list(self, bucket: str, *, prefix: str = "") -> AsyncIterator[Version]:
        """Yield every object whose key starts with `prefix`, in byte order."""
        async for page in self.pages(bucket, prefix=prefix):
            for item in page.items:
                yield item

    async def versions(self, bucket: str, *, prefix: str = "") -> AsyncIterator[Version]:
        """Yield every version of every key that starts with `prefix`, newest first within a key."""
        key_marker = version_marker = ""
        while True:
            page = await self.versions_page(
                bucket, prefix=prefix, key_marker=key_marker, version_marker=version_marker
            )
            for item in page.items:
                yield item
            if not page.truncated:
                return
            key_marker, version_marker = page.next_key, page.next_version

    async def put_file(
        self,
        bucket: str,
        key: str,
        path: Path | str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        conditions: Preconditions = NO_CONDITIONS,
        progress: Progress | None = None,
    ) -> Version:
        """Store the file at `path` and return the new version. A file that changes meanwhile is an error.

        Raises:
            InvalidRequestError, PermissionDeniedError: the file cannot be read.
            DigestMismatchError: it was not the same at the end as at the beginning.
        """
        from holdfast.library.transfer import upload

        return await upload(
            self,
            bucket,
            key,
            Path(path),
            content_type=content_type,
            metadata=metadata,
            tags=tags,
            conditions=conditions,
            progress=progress,
        )

    async def get_file(
        self,
        bucket: str,
        key: str,
        path: Path | str,
        *,
        version_id: str | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Write an object to the file at `path`: whole and with the right digest, or not at all.

        Raises:
            CorruptedError: the bytes that arrived are not the version's.
            InvalidRequestError, PermissionDeniedError, QuotaExceededError: the file cannot be written.
        """
        from holdfast.library.transfer import download

        return await download(self, bucket, key, Path(path), version_id=version_id, progress=progress)

    @property
    def parts(self) -> Parts | None:
        """When `put_file` sends parts; None: this client gains nothing from them."""
        return None
