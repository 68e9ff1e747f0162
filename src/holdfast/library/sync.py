"""The same verbs for callers without an event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.core.conditions import NO_CONDITIONS, Preconditions
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
from holdfast.library.client import MAX_GET, AsyncClient, Download, Progress
from holdfast.library.portal import Portal
from holdfast.library.source import Source

_AHEAD: Final = 4  #: chunks that are read before they are asked for


class SyncDownload:
    """An object being read: iterate over it, or read it like a file; once, inside the `with` that gave it."""

    def __init__(
        self, portal: Portal, source: Download, chunks: asyncio.Queue[bytes | BaseException | None]
    ) -> None:
        self.version: Version = source.version  #: what is being read
        self.span: Span = source.span  #: the part of it that is sent
        self.modified: bool = source.modified  #: False: the conditions say that the caller has it already
        self._portal = portal
        self._chunks = chunks
        self._held = b""
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes, as far as they are not read yet, in chunks of up to about 1 MiB."""
        while chunk := self._next():
            yield chunk

    def read(self, size: int = -1, /) -> bytes:
        """Return all bytes that are left, or the next ones, at most `size`; so it reads like an open file."""
        if size < 0:
            return b"".join(self)
        chunk = self._next() if size else b""
        self._held = chunk[size:]
        return chunk[:size]

    def _next(self) -> bytes:
        """Return what is held back, else the next chunk; b"" at the end."""
        if self._held:
            chunk, self._held = self._held, b""
            return chunk
        if self._ended:
            return b""
        found = self._portal.call(self._chunks.get())
        if isinstance(found, bytes):
            return found
        self._ended = True
        if found is not None:
            raise found
        return b""


class Client:
    """Objects in buckets, without `await`. Safe for many threads at once.

    Made by `holdfast.open`. Close it, or use it in a `with`; forgotten, it closes itself when it is collected or when
    the program ends. The verbs, their arguments and their errors are those of `AsyncClient`.

    >>> version = client.put("photos", "2024/cat.txt", b"meow")
    >>> client.get("photos", "2024/cat.txt")
    b'meow'
    >>> [item.ref.key for item in client.list("photos", prefix="2024/")]
    ['2024/cat.txt']
    """

    def __init__(self, opener: Callable[[], Awaitable[AsyncClient]]) -> None:
        self._portal = Portal()
        weakref.finalize(self, Portal.shut, self._portal).atexit = False

        async def start() -> AsyncClient:
            return await opener()

        try:
            self._aio = self._portal.call(start())
        except BaseException:
            self._portal.close()
            raise
        self._portal.on_close(self._aio.close)

    # -- life ---------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Release connections, files and the thread; calls under way are cancelled. May be called again."""
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- buckets ------------------------------------------------------------------------------------------------
    def create_bucket(self, name: str, *, versioning: bool = False) -> Bucket:
        """Make a bucket; see `AsyncClient.create_bucket`.

        >>> client.create_bucket("papers", versioning=True).versioning
        True
        """
        return self._portal.call(self._aio.create_bucket(name, versioning=versioning))

    def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets by name, each with its counters.

        >>> [(bucket.name, usage.objects) for bucket, usage in client.buckets()]
        [('photos', 0)]
        """
        return self._portal.call(self._aio.buckets())

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket.

        >>> client.delete_bucket("photos")
        """
        self._portal.call(self._aio.delete_bucket(name))

    # -- objects ------------------------------------------------------------------------------------------------
    def put(
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
        """Store bytes, a `Path`, an open binary file or an iterator of bytes; see `AsyncClient.put`.

        >>> version = client.put("photos", "cat.png", b"not really", metadata={"camera": "none"})
        >>> version.size, version.content_type
        (10, 'image/png')

        Create only if nothing is there:

        >>> client.put("photos", "cat.png", b"another", conditions=holdfast.IF_ABSENT)
        Traceback (most recent call last):
            ...
        holdfast.core.errors.PreconditionFailedError: If-None-Match: an object with that ETag is there
        """
        return self._portal.call(
            self._aio.put(
                bucket,
                key,
                data,
                content_type=content_type,
                metadata=metadata,
                tags=tags,
                digests=digests,
                conditions=conditions,
                idempotency_key=idempotency_key,
            )
        )

    def get(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        limit: int = MAX_GET,
    ) -> bytes:
        """Return an object, or a range of it, in one piece; see `AsyncClient.get`.

        >>> version = client.put("photos", "digits", b"0123456789")
        >>> client.get("photos", "digits", range=holdfast.ByteRange(2, 4))
        b'234'
        """
        return self._portal.call(self._aio.get(bucket, key, version_id=version_id, range=range, limit=limit))

    @contextmanager
    def stream(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Iterator[SyncDownload]:
        """Open an object for reading in chunks, whatever its size; see `AsyncClient.stream`.

        >>> version = client.put("photos", "big", b"x" * 3_000_000)
        >>> with client.stream("photos", "big") as download:
        ...     sum(len(chunk) for chunk in download)
        3000000
        """
        source = self._aio.stream(bucket, key, version_id=version_id, range=range, conditions=conditions)
        opened = self._portal.call(_open(source))
        download, chunks, task = opened
        try:
            yield SyncDownload(self._portal, download, chunks)
        finally:
            if not self._portal.closed:
                self._portal.call(_end(task))

    def head(self, bucket: str, key: str, *, version_id: str | None = None) -> Version:
        """Return what is known of an object without reading it.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> client.head("photos", "cat.txt").digests.sha256.hex()[:16]
        '404cdd7bc109c432'
        """
        return self._portal.call(self._aio.head(bucket, key, version_id=version_id))

    def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Deleted:
        """Remove an object, or one version of it for good. What is not there is a success.

        >>> client.delete("photos", "never-was")
        Deleted(version_id=None, delete_marker=False)
        """
        return self._portal.call(self._aio.delete(bucket, key, version_id=version_id, conditions=conditions))

    def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        source_version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Copy `(bucket, key)` to `(bucket, key)`; see `AsyncClient.copy`.

        >>> version = client.put("photos", "one", b"1")
        >>> client.copy(("photos", "one"), ("photos", "two")).size
        1
        """
        return self._portal.call(
            self._aio.copy(source, target, source_version_id=source_version_id, conditions=conditions)
        )

    def pages(self, bucket: str, *, prefix: str = "", delimiter: str = "") -> Iterator[ListPage]:
        """Yield the listing page by page: objects and, with a delimiter, common prefixes.

        >>> for key in ("a.txt", "b/1", "b/2"):
        ...     version = client.put("photos", key, b"")
        >>> page = next(client.pages("photos", delimiter="/"))
        >>> [item.ref.key for item in page.items], list(page.prefixes)
        (['a.txt'], ['b/'])
        """
        marker = ""
        while True:
            page = self.list_page(bucket, prefix=prefix, delimiter=delimiter, marker=marker)
            yield page
            if not page.truncated:
                return
            marker = page.next_marker

    def list(self, bucket: str, *, prefix: str = "") -> Iterator[Version]:
        """Yield every object whose key starts with `prefix`, in byte order."""
        for page in self.pages(bucket, prefix=prefix):
            yield from page.items

    def list_page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", marker: str = "", limit: int = 1000
    ) -> ListPage:
        """Return one page of a listing; see `AsyncClient.list_page`."""
        return self._portal.call(
            self._aio.list_page(bucket, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit)
        )

    def versions(self, bucket: str, *, prefix: str = "") -> Iterator[Version]:
        """Yield every version of every key that starts with `prefix`, newest first within a key.

        >>> bucket = client.create_bucket("papers", versioning=True)
        >>> for text in (b"draft", b"final"):
        ...     version = client.put("papers", "thesis", text)
        >>> client.delete("papers", "thesis").delete_marker
        True
        >>> [(version.seq, version.size, version.delete_marker) for version in client.versions("papers")]
        [(3, 0, True), (2, 5, False), (1, 5, False)]
        """
        key_marker = version_marker = ""
        while True:
            page = self.versions_page(
                bucket, prefix=prefix, key_marker=key_marker, version_marker=version_marker
            )
            yield from page.items
            if not page.truncated:
                return
            key_marker, version_marker = page.next_key, page.next_version

    def versions_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """Return one page of versions; see `AsyncClient.versions_page`."""
        return self._portal.call(
            self._aio.versions_page(
                bucket,
                prefix=prefix,
                delimiter=delimiter,
                key_marker=key_marker,
                version_marker=version_marker,
                limit=limit,
            )
        )

    # -- files --------------------------------------------------------------------------------------------------
    def put_file(
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
        """Store a local file; `progress` is called from another thread. See `AsyncClient.put_file`."""
        return self._portal.call(
            self._aio.put_file(
                bucket,
                key,
                path,
                content_type=content_type,
                metadata=metadata,
                tags=tags,
                conditions=conditions,
                progress=progress,
            )
        )

    def get_file(
        self,
        bucket: str,
        key: str,
        path: Path | str,
        *,
        version_id: str | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Write an object to a local file, whole and verified or not at all. See `AsyncClient.get_file`.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> version = client.get_file("photos", "cat.txt", folder / "cat.txt")
        >>> (folder / "cat.txt").read_bytes()
        b'meow'
        """
        return self._portal.call(
            self._aio.get_file(bucket, key, path, version_id=version_id, progress=progress)
        )

    # -- large uploads ------------------------------------------------------------------------------------------
    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
    ) -> Upload:
        """Begin an upload in parts.

        >>> upload = client.create_upload("photos", "film.mp4")
        >>> part = client.put_part("photos", "film.mp4", upload.id, 1, b"all of it")
        >>> client.complete_upload("photos", "film.mp4", upload.id, [(1, part.etag)]).size
        9
        """
        return self._portal.call(
            self._aio.create_upload(bucket, key, content_type=content_type, metadata=metadata, tags=tags)
        )

    def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: Source,
        *,
        digests: Digests = NO_DIGESTS,
    ) -> Part:
        """Send part `number` (1 to 10,000); see `AsyncClient.put_part`."""
        return self._portal.call(self._aio.put_part(bucket, key, upload_id, number, data, digests=digests))

    def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """Return the acknowledged parts with numbers greater than `after`."""
        return self._portal.call(self._aio.list_parts(bucket, key, upload_id, after=after, limit=limit))

    def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """Return open uploads by key then id, and whether there are more."""
        return self._portal.call(
            self._aio.list_uploads(
                bucket, prefix=prefix, key_marker=key_marker, id_marker=id_marker, limit=limit
            )
        )

    def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Make the parts the object's new version; see `AsyncClient.complete_upload`."""
        return self._portal.call(
            self._aio.complete_upload(bucket, key, upload_id, parts, conditions=conditions)
        )

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up; its parts are removed."""
        self._portal.call(self._aio.abort_upload(bucket, key, upload_id))


_Chunks = asyncio.Queue[bytes | BaseException | None]


async def _open(
    source: AbstractAsyncContextManager[Download],
) -> tuple[Download, _Chunks, asyncio.Task[None]]:
    """Enter `source` in a task of its own, which reads a few chunks ahead and leaves it again in the same task."""
    chunks: _Chunks = asyncio.Queue(_AHEAD)
    opened: asyncio.Future[Download] = asyncio.get_running_loop().create_future()

    async def pump() -> None:
        try:
            async with source as download:
                opened.set_result(download)
                async for chunk in download:
                    await chunks.put(chunk)
            await chunks.put(None)
        except Exception as error:
            if opened.done():
                await chunks.put(error)
            else:
                opened.set_exception(error)

    task = asyncio.create_task(pump())
    try:
        return await asyncio.shield(opened), chunks, task
    except BaseException:
        await _end(task)
        raise


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
