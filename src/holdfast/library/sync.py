"""The same verbs for callers without an event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from holdfast.core.backend import SignedUrl
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
from holdfast.engine.buckets import BucketStats
from holdfast.engine.provisioning import Provisioned
from holdfast.library.client import MAX_GET, AsyncClient, Download, Progress
from holdfast.library.many import Report
from holdfast.library.parts import PartLike
from holdfast.library.portal import Portal
from holdfast.library.source import Source
from holdfast.library.sync_jobs import SyncJobs
from holdfast.library.sync_keeping import SyncKeeping
from holdfast.library.sync_moments import SyncMoments
from holdfast.library.sync_moving import SyncMoves

T = TypeVar("T")

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


class Client(SyncJobs, SyncKeeping, SyncMoments, SyncMoves):
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

    @property
    def aio(self) -> AsyncClient:
        """The client underneath. What it gives is awaited by `run`, and nowhere else."""
        return self._aio

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine over `aio` returns, on the loop of this client.

        >>> async def sizes():
        ...     return [item.size async for item in client.aio.list("photos")]
        >>> client.run(sizes())
        []
        """
        return self._portal.call(work)

    @property
    def public_url(self) -> str:
        """The address under which the service's routes are found; "": none is known."""
        return self._aio.public_url

    # -- buckets ------------------------------------------------------------------------------------------------
    def create_bucket(
        self, name: str, *, versioning: bool = False, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """Make a bucket; see `AsyncClient.create_bucket`.

        >>> client.create_bucket("papers", versioning=True).versioning
        True
        """
        return self._portal.call(self._aio.create_bucket(name, versioning=versioning, settings=settings))

    def update_bucket(
        self, name: str, *, versioning: bool | None = None, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """Change settings of a bucket; see `AsyncClient.create_bucket` for their names.

        >>> client.update_bucket("photos", settings={"max_bytes": "10GB", "retention_days": 365}).settings.quota
        Quota(max_bytes=10737418240, max_objects=None)
        """
        return self._portal.call(self._aio.update_bucket(name, versioning=versioning, settings=settings))

    def bucket(self, name: str) -> BucketStats:
        """Return a bucket with its settings, its counters and how much of its quota is taken.

        >>> client.bucket("photos").usage.objects
        0
        """
        return self._portal.call(self._aio.bucket(name))

    def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets by name, each with its counters.

        >>> [(bucket.name, usage.objects) for bucket, usage in client.buckets()]
        [('photos', 0)]
        """
        return self._portal.call(self._aio.buckets())

    def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """Remove an empty bucket, or with `force` one with everything in it, for good.

        >>> client.delete_bucket("photos")
        """
        self._portal.call(self._aio.delete_bucket(name, force=force))

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
        storage_class: str = "",
    ) -> Version:
        """Store bytes, a `Path`, an open binary file or an iterator of bytes; see `AsyncClient.put`.

        >>> version = client.put("photos", "cat.png", b"not really", metadata={"camera": "none"})
        >>> version.size, version.content_type
        (10, 'image/png')

        Create only if nothing is there:

        >>> client.put("photos", "cat.png", b"another", conditions=holdfast.IF_ABSENT)
        Traceback (most recent call last):
            ...
        holdfast.core.errors.PreconditionFailedError: If-None-Match: the object exists already
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
                storage_class=storage_class,
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

    def file(self, file_id: str) -> Version:
        """Return what is known of the content with that id; see `AsyncClient.file`.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> client.file(version.id).ref.key
        'cat.txt'
        """
        return self._portal.call(self._aio.file(file_id))

    def update(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        merge: bool = True,
        version_id: str | None = None,
    ) -> Version:
        """Change what is said about an object without storing it again; see `AsyncClient.update`.

        >>> version = client.put("photos", "cat.txt", b"meow", tags={"kind": "cat", "draft": "yes"})
        >>> client.update("photos", "cat.txt", tags={"seen": "2024", "draft": None}).tags
        {'kind': 'cat', 'seen': '2024'}
        """
        return self._portal.call(
            self._aio.update(
                bucket,
                key,
                content_type=content_type,
                metadata=metadata,
                tags=tags,
                merge=merge,
                version_id=version_id,
            )
        )

    def restore(self, bucket: str, key: str, version_id: str) -> Version:
        """Make an old version current again, as a new one.

        >>> bucket = client.create_bucket("drafts", versioning=True)
        >>> first = client.put("drafts", "text", b"first")
        >>> second = client.put("drafts", "text", b"second")
        >>> version = client.restore("drafts", "text", first.id)
        >>> client.get("drafts", "text")
        b'first'
        """
        return self._portal.call(self._aio.restore(bucket, key, version_id))

    def search(
        self,
        bucket: str | None = None,
        *,
        prefix: str = "",
        suffix: str = "",
        tags: Mapping[str, str] = EMPTY,
        metadata: Mapping[str, str] = EMPTY,
        content_type: str = "",
        min_size: int | None = None,
        max_size: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Version]:
        """Yield every current object that is all of this; see `AsyncClient.search`.

        >>> version = client.put("photos", "cat.png", b"meow", tags={"kind": "cat"})
        >>> version = client.put("photos", "dog.png", b"woof", tags={"kind": "dog"})
        >>> [item.ref.key for item in client.search("photos", tags={"kind": "cat"})]
        ['cat.png']
        >>> [item.ref.key for item in client.search(content_type="image/*", max_size=10)]
        ['cat.png', 'dog.png']
        """
        found = self._aio.search(
            bucket,
            prefix=prefix,
            suffix=suffix,
            tags=tags,
            metadata=metadata,
            content_type=content_type,
            min_size=min_size,
            max_size=max_size,
            since=since,
            until=until,
        )
        while (item := self._portal.call(_next_of(found))) is not None:
            yield item

    def delete_many(self, bucket: str, keys: Iterable[str]) -> Report:
        """Remove many objects of a bucket and report; what is not there counts as removed.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> client.delete_many("photos", ["cat.txt", "never-was"])
        Report(done=2, failures=[])
        """
        return self._portal.call(self._aio.delete_many(bucket, keys))

    def tag_many(
        self,
        bucket: str,
        keys: Iterable[str],
        *,
        tags: Mapping[str, str | None] | None = None,
        metadata: Mapping[str, str | None] | None = None,
    ) -> Report:
        """Set tags or metadata of many objects and report; see `AsyncClient.tag_many`.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> report = client.tag_many("photos", ["cat.txt", "never-was"], tags={"kind": "cat"})
        >>> report.done, [(failure.key, failure.code) for failure in report.failures]
        (1, [('never-was', 'not_found')])
        """
        return self._portal.call(self._aio.tag_many(bucket, keys, tags=tags, metadata=metadata))

    def copy_many(self, copies: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> Report:
        """Copy each `(bucket, key)` to another `(bucket, key)` and report.

        >>> version = client.put("photos", "cat.txt", b"meow")
        >>> client.copy_many([(("photos", "cat.txt"), ("photos", "copy.txt"))]).done
        1
        """
        return self._portal.call(self._aio.copy_many(copies))

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

    # -- folders ------------------------------------------------------------------------------------------------
    def provision(
        self, content_types: Sequence[str], categories: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> Provisioned:
        """Make the tenant's hierarchy as far as it is missing; see `AsyncClient.provision`.

        >>> client.provision(["films"], ["drama"], ["1994", "1995"]).folders_made
        ['films/drama/1994', 'films/drama/1995']
        """
        return self._portal.call(self._aio.provision(content_types, categories, subfolders))

    def create_directory(self, bucket: str, path: str) -> bool:
        """Make a folder; return False when it was made already. See `AsyncClient.create_directory`.

        >>> client.create_directory("photos", "2024/holiday"), client.create_directory("photos", "2024/holiday")
        (True, False)
        >>> client.directory_exists("photos", "2024"), client.list_directories("photos", "2024")
        (True, ['holiday'])
        """
        return self._portal.call(self._aio.create_directory(bucket, path))

    def directory_exists(self, bucket: str, path: str) -> bool:
        """Return whether there is such a folder: it was made, or something is in it."""
        return self._portal.call(self._aio.directory_exists(bucket, path))

    def list_directories(self, bucket: str, path: str = "") -> Sequence[str]:
        """Return the names of the folders directly in a folder, or in the bucket itself, in byte order."""
        return self._portal.call(self._aio.list_directories(bucket, path))

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
        resume: bool = False,
        storage_class: str = "",
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
                resume=resume,
                storage_class=storage_class,
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
        size: int | None = None,
        expires_in: float | None = None,
        storage_class: str = "",
    ) -> Upload:
        """Begin an upload in parts.

        >>> upload = client.create_upload("photos", "film.mp4")
        >>> part = client.put_part("photos", "film.mp4", upload.id, 1, b"all of it")
        >>> client.complete_upload("photos", "film.mp4", upload.id, [part]).size
        9
        """
        return self._portal.call(
            self._aio.create_upload(
                bucket,
                key,
                content_type=content_type,
                metadata=metadata,
                tags=tags,
                size=size,
                expires_in=expires_in,
                storage_class=storage_class,
            )
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
        parts: Sequence[PartLike],
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

    # -- signed URLs --------------------------------------------------------------------------------------------
    def presign(
        self,
        bucket: str,
        key: str,
        method: str = "GET",
        *,
        expires_in: float = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        once: bool = False,
        ip: str | None = None,
        version_id: str | None = None,
    ) -> SignedUrl:
        """Return a URL that lets its bearer do one thing without a token; see `AsyncClient.presign`."""
        return self._portal.call(
            self._aio.presign(
                bucket,
                key,
                method,
                expires_in=expires_in,
                content_type=content_type,
                max_size=max_size,
                once=once,
                ip=ip,
                version_id=version_id,
            )
        )


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


async def _next_of(found: AsyncIterator[Version]) -> Version | None:
    return await anext(found, None)
