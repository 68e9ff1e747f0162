"""The verbs, as every client has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeAlias

from holdfast.core.backend import SignedUrl
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import PreconditionFailedError, TooLargeError, UnsupportedError
from holdfast.core.names import FOLDER, marker
from holdfast.core.search import Found, Search
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
from holdfast.library.jobs import JobVerbs
from holdfast.library.keeping import KeepingVerbs
from holdfast.library.many import Report, each
from holdfast.library.moments import MomentVerbs
from holdfast.library.moving import MoveVerbs
from holdfast.library.parts import PartLike
from holdfast.library.source import Source

if TYPE_CHECKING:
    from holdfast.engine.buckets import BucketStats
    from holdfast.engine.provisioning import Provisioned

#: The longest object that `get` returns in one piece unless told otherwise; longer ones are for `stream`.
MAX_GET: Final = 1 << 30

_ABSENT: Final = Preconditions(if_none_match=("*",))

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


class AsyncClient(JobVerbs, KeepingVerbs, MomentVerbs, MoveVerbs):
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

    @property
    def public_url(self) -> str:
        """The address under which the service's routes are found; "": none is known."""
        return ""

    def for_tenant(self, tenant: str) -> AsyncClient:
        """Return a client that acts for another tenant, closed with this one. Only without a server.

        Raises:
            UnsupportedError: a server knows by the token for whom one acts; open a client with a token of that tenant.
        """
        raise UnsupportedError(
            f"this client acts for one tenant; open one with a token of the tenant {tenant[:80]!r}"
        )

    # -- buckets ------------------------------------------------------------------------------------------------
    @abstractmethod
    async def create_bucket(
        self, name: str, *, versioning: bool = False, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """Make a bucket; with `versioning` an overwritten or deleted object stays reachable by its version id.

        Args:
            settings: any of `visibility`, `allowed_types`, `max_object_size`, `max_bytes`, `max_objects`,
                `retention_days`, `encryption`, `ip_allow`, `ip_deny`; sizes also as text such as `10GB`.

        Raises:
            AlreadyExistsError: there is one. InvalidRequestError: naming the setting that is wrong.
        """

    @abstractmethod
    async def update_bucket(
        self, name: str, *, versioning: bool | None = None, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """Change those settings of a bucket that are given; None takes a limit away."""

    @abstractmethod
    async def bucket(self, name: str) -> BucketStats:
        """Return a bucket with its settings, its counters and how much of its quota is taken.

        Raises:
            NotFoundError: there is none.
        """

    @abstractmethod
    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets by name, each with its counters."""

    @abstractmethod
    async def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """Remove an empty bucket, or with `force` one with everything in it, for good.

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
        storage_class: str = "",
    ) -> Version:
        """Store `data` under `key` and return the new version; when this returns it survives the loss of power.

        `content_type` is guessed from the key's extension when not given. `digests` are what the bytes must turn out
        to be. The same `idempotency_key` again returns the first version instead of writing a second one.
        `storage_class` is kept, and placement rules may ask about it.

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

    # -- files by id, searches, and what is said about a content ------------------------------------------------
    @abstractmethod
    async def file(self, file_id: str) -> Version:
        """Return what is known of the content with that id (`Version.id`); its `ref` says where it is.

        Raises:
            NotFoundError: it was never there, was deleted, or was overwritten where versions are not kept.
        """

    @abstractmethod
    async def update(
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
        """Change what is said about an object without storing it again; return it as it is then.

        Entries of `metadata` and `tags` are set, and those that are None taken away; without `merge` they take the
        place of all. What is None as a whole stays.
        """

    @abstractmethod
    async def restore(self, bucket: str, key: str, version_id: str) -> Version:
        """Make an old version current again, as a new one, and return it; the current one is returned as it is."""

    @abstractmethod
    async def search_page(
        self, wish: Search, *, bucket: str | None = None, limit: int = 1000, cursor: str = ""
    ) -> Found:
        """Return one page of a search: short or empty ones may be followed by others (see `Found`)."""

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
        size: int | None = None,
        expires_in: float | None = None,
        storage_class: str = "",
    ) -> Upload:
        """Begin an upload in parts.

        `size`, the bytes of the whole, is reserved: what does not fit a quota or a limit is refused now. `expires_in`
        seconds shorten the time in which it must be completed.
        """

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
        parts: Sequence[PartLike],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Make the parts the object's new version: what `put_part` returned, or `(number, etag)`, in ascending order.

        Asked again for the same parts it returns the same version; for others it raises `ConflictError`.
        """

    @abstractmethod
    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up; its parts are removed."""

    # -- folders ------------------------------------------------------------------------------------------------
    @abstractmethod
    async def provision(
        self, content_types: Sequence[str], categories: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> Provisioned:
        """Make the tenant's hierarchy as far as it is missing: a bucket per content type, in it category/subfolder.

        Raises:
            PermissionDeniedError: only an admin of the tenant may.
        """

    # -- signed URLs --------------------------------------------------------------------------------------------
    @abstractmethod
    async def presign(
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
        """Return a URL that lets its bearer do one thing without a token, until `expires_in` seconds have passed.

        Args:
            method: `GET` (and HEAD), `PUT`, or `UPLOAD` for an upload in pieces, which begins with a POST to the URL.
            expires_in: at most 7 days.
            content_type: of what is put, also a pattern such as `image/*`.
            max_size: most bytes that may be put.
            once: one single object may be stored with it.
            ip: address or network from which alone it holds.
            version_id: the version to read.

        Raises:
            PermissionDeniedError: you may not do it yourself. InvalidRequestError: the wish cannot be signed.
            ConfigError: without a server, the setting `public_url` must say where the service will be; only what a
                store labelled `external` holds can then be read by a URL of that store.
        """

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

    async def search(
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
    ) -> AsyncIterator[Version]:
        """Yield every current object that is all of this, by bucket and key; without `bucket`, of all buckets.

        `content_type` may be a pattern such as `image/*`. Tags and metadata are found by an index, other conditions by
        looking at every object with the prefix. A time without a zone is UTC.
        """
        wish = Search(
            prefix=prefix,
            suffix=suffix,
            tags=tags,
            metadata=metadata,
            content_type=content_type,
            min_size=min_size,
            max_size=max_size,
            since=_micros(since),
            until=_micros(until),
        )
        cursor = ""
        while True:
            page = await self.search_page(wish, bucket=bucket, cursor=cursor)
            for item in page.items:
                yield item
            if not page.truncated:
                return
            cursor = page.cursor

    async def delete_many(self, bucket: str, keys: Iterable[str]) -> Report:
        """Remove many objects of a bucket and report; what is not there counts as removed."""
        return await each(keys, lambda key: self.delete(bucket, key), lambda key: (bucket, key))

    async def tag_many(
        self,
        bucket: str,
        keys: Iterable[str],
        *,
        tags: Mapping[str, str | None] | None = None,
        metadata: Mapping[str, str | None] | None = None,
    ) -> Report:
        """Set tags or metadata of many objects, and take away those that are None; others stay."""
        return await each(
            keys,
            lambda key: self.update(bucket, key, tags=tags, metadata=metadata),
            lambda key: (bucket, key),
        )

    async def copy_many(self, copies: Iterable[tuple[tuple[str, str], tuple[str, str]]]) -> Report:
        """Copy each `(bucket, key)` to another `(bucket, key)` and report; failures name the source."""
        return await each(copies, lambda pair: self.copy(*pair), lambda pair: pair[0])

    async def create_directory(self, bucket: str, path: str) -> bool:
        """Make a folder, so that it is seen before anything is in it; return False when it was made already.

        Its mark is an empty object whose key ends with a slash; it is listed and counted like any object.
        """
        try:
            await self.put(bucket, marker(path), b"", content_type=FOLDER, conditions=_ABSENT)
        except PreconditionFailedError:
            return False
        return True

    async def directory_exists(self, bucket: str, path: str) -> bool:
        """Return whether there is such a folder: it was made, or something is in it."""
        return bool((await self.list_page(bucket, prefix=marker(path), limit=1)).items)

    async def list_directories(self, bucket: str, path: str = "") -> Sequence[str]:
        """Return the names of the folders directly in a folder, or in the bucket itself, in byte order."""
        prefix = marker(path) if path.strip("/") else ""
        return [
            folder.removeprefix(prefix).rstrip("/")
            async for page in self.pages(bucket, prefix=prefix, delimiter="/")
            for folder in page.prefixes
        ]

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
        resume: bool = False,
        storage_class: str = "",
    ) -> Version:
        """Store the file at `path` and return the new version. A file that changes meanwhile is an error.

        With `resume`, a large file goes on where an earlier try with `resume` broke off: parts that have arrived and
        still are what the file holds are not sent again, and what a failure leaves is kept for the next try.

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
            resume=resume,
            storage_class=storage_class,
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


def _micros(moment: datetime | None) -> int | None:
    return (
        None if moment is None else int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1_000_000)
    )
