"""The local backend: the verbs, on the loop; what blocks is handed to `writing`, `reading` and `walking` in threads."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType

from holdfast.backends.local.copying import Copier, Source
from holdfast.backends.local.errors import Translated
from holdfast.backends.local.folders import Folders
from holdfast.backends.local.kernel import READ, Kernel, has_openat2
from holdfast.backends.local.paths import check_name, path_of
from holdfast.backends.local.reading import INLINE, OpenFile
from holdfast.backends.local.root import open_root, probe
from holdfast.backends.local.settings import LocalSettings
from holdfast.backends.local.threads import Threads
from holdfast.backends.local.walking import ForeignWalker, Walker, info_of
from holdfast.backends.local.writing import ATTRIBUTE, NO_LINK, Draft, Writer
from holdfast.core.adopted import Hold, foreign_name, is_foreign, key_of, parse_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, Room, SignedUrl
from holdfast.core.body import Body, FileSlice, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.names import check_blob_name
from holdfast.core.types import EMPTY, BlobInfo, ByteRange, Span

_MAX_KEY = 240


def open_local(name: str, settings: LocalSettings, *, environment: Environment) -> LocalBackend:
    """Return the store `name` in the folder `settings.path`; what dead writers left there is removed meanwhile.

    Raises:
        ConfigError: the folder is not there (and `create` is off), is no folder, or may not be entered.
    """
    backend = LocalBackend(name, settings, environment=environment)
    backend.tidy_if_due()
    return backend


class LocalBackend:
    """A `Backend` over a folder; see the package docstring for what it promises."""

    limits = Limits()

    def __init__(
        self, name: str, settings: LocalSettings, *, environment: Environment, kernel: Kernel | None = None
    ) -> None:
        self.store = name
        self._environment = environment
        self._root = open_root(name, settings)
        try:
            self._kernel = kernel or Kernel(modern=has_openat2(self._root))
            abilities = probe(self._root, self._kernel)
        except BaseException as error:
            os.close(self._root)
            if isinstance(error, ConfigError):
                raise ConfigError(f"store {name}: {settings.path}: {error.message}") from error
            raise
        self.capabilities = Capability.RANGE | Capability.FILE | Capability.FOLDERS | Capability.ADOPT
        if abilities.links:
            self.capabilities |= Capability.IF_ABSENT | Capability.COPY
        if abilities.attributes:
            self.capabilities |= Capability.METADATA
        self._folders = Folders(self._root, self._kernel, fsync=settings.fsync)
        self._writer = Writer(self._folders, self._kernel, fsync=settings.fsync, unnamed=abilities.unnamed)
        self._copier = Copier(self._writer, self._kernel)
        self._walker = Walker(self._root, self._folders, self._kernel)
        self._foreign = ForeignWalker(self._root, self._folders, self._kernel)
        self._threads = Threads(name, settings.threads)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`; see `Backend.put`. Up to 1 MiB it costs one thread hop."""
        check_name(name)
        if if_absent:
            self._need(Capability.IF_ABSENT, "put", name)
        with Translated("put", self.store, name):
            draft = Draft(name, if_absent, self._metadata(options.metadata))
            return _made(draft, await self._write(draft, body))

    def get(self, name: str, *, range: ByteRange | None = None) -> _Opening:
        """Open `name`; see `Backend.get`. What is read is one whole blob, whatever becomes of the name meanwhile."""
        return _Opening(self, name, range)

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of `name`; see `Backend.head`."""
        file, info = await self.open(name, "head")
        file.close()
        return info

    async def delete(self, name: str) -> None:
        """Remove `name`, durably; see `Backend.delete`."""
        check_name(name)
        if is_foreign(name) and not await self._may_go(name):
            return
        with Translated("delete", self.store, name):
            await self._threads.run(self._writer.remove, name)

    async def discard(self, name: str) -> None:
        """Remove `name`: a put that did not end leaves nothing else here."""
        await self.delete(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield in byte order; see `Backend.list`. Metadata is left out."""
        foreign = is_foreign(prefix)
        if foreign:
            walk = self._foreign.walk(key_of(prefix), key_of(after), self._now())
        else:
            walk = self._walker.walk(prefix, after, self._now())
        while True:
            with Translated("list", self.store, prefix):
                batch = await self._threads.run(next, walk, None)
            if batch is None:
                return
            for info in batch:
                yield info._replace(name=foreign_name(info.name)) if foreign else info

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Give the file of `source` the second name `target`: no bytes move; see `Backend.copy`."""
        check_name(source)
        check_blob_name(target)
        self._need(Capability.COPY, "copy", source)
        if is_foreign(source):  # a second name would be a blob that others write into
            return await self._copy_bytes(source, target)
        if source != target:
            draft = Draft(target, False, EMPTY)
            with Translated("copy", self.store, source):
                try:
                    await self._threads.run(self._writer.copy, source, draft)
                except OSError as error:
                    if error.errno not in NO_LINK:
                        raise
                    return await self._copy_bytes(source, target)
        return await self.head(target)

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is a folder of this machine, too."""
        return isinstance(other, LocalBackend)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Make `target` of a file of another folder, as durable as a put; see `CopierFrom.copy_from`.

        The bytes are shared or copied by the kernel where it can. A file that others write into is one content or none.
        """
        assert isinstance(other, LocalBackend)
        check_blob_name(target)
        file, found = await other.open(source, "copy")
        try:
            with Translated("copy", self.store, target):
                draft = Draft(target, False, self._metadata(found.metadata))
                async with self._drafted(draft):
                    await self._fill(draft, Source(file.fd, found.size))
                    if is_foreign(source):
                        other.check_unchanged(source, file.fd, found, "copy")
                    return _made(draft, await self._finish(draft))
        finally:
            file.close()

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise `UnsupportedError`: a folder has no URLs."""
        raise UnsupportedError("a local store has no URLs", operation="presign", store=self.store, name=name)

    async def make_folder(self, name: str) -> bool:
        """Make a folder and those above it, durably; see `FolderMaker.make_folder`."""
        check_blob_name(name)
        with Translated("make_folder", self.store, name):
            return await self._threads.run(self._folders.make, name)

    async def room(self) -> Room:
        """Return how much room the disk has; free is what this process may still use."""
        self._threads.check()
        with Translated("room", self.store, ""):
            facts = os.fstatvfs(self._root)
        return Room(facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize)

    async def tidy(self) -> int:
        """Remove temporary files that dead writers left more than an hour ago; return how many."""
        with Translated("tidy", self.store, ""):
            return await self._threads.run(self._walker.tidy, self._now())

    def tidy_if_due(self) -> None:
        """Start `tidy` in a thread, unless it was done (by any process) within the hour; `close` ends it."""
        if self._walker.due(self._now()):
            self._threads.pool.submit(self._walker.tidy, self._now())

    async def close(self) -> None:
        """Let go of threads and folders; safe to call again."""
        if self._threads.closed:
            return
        self._walker.stop = True
        await self._threads.close()
        self._folders.close()
        os.close(self._root)

    async def open(self, name: str, operation: str) -> tuple[OpenFile, BlobInfo]:
        """Return the blob's file, to be closed by the caller, and what is known of it."""
        path = path_of(check_name(name))
        self._threads.check()
        where = Translated(operation, self.store, name)
        with where:
            fd = await self._open(path)
            try:
                info = self._info(name, fd)
                self.check_pin(name, info)
            except BaseException:
                os.close(fd)
                raise
        return OpenFile(fd, self._threads.pool, where.meaning), info

    def check_pin(self, name: str, info: BlobInfo) -> None:
        """Raise `NotFoundError` when `name` says a content that its file no longer has."""
        if is_foreign(name) and (pin := parse_foreign(name).pin) and info.etag != pin:
            raise NotFoundError("what was adopted here is gone: the file has another content now")

    def check_unchanged(self, name: str, fd: int, info: BlobInfo, operation: str) -> None:
        """Raise `UnavailableError` when the file is not as it was when it was opened: others may write into it."""
        if info_of(name, os.fstat(fd)).etag != info.etag:
            raise UnavailableError(
                "the file was changed while it was read", operation=operation, store=self.store, name=name
            )

    async def _may_go(self, name: str) -> bool:
        """Tell whether what others wrote may be deleted under that name."""
        if parse_foreign(name).hold is not Hold.OWN:
            return parse_foreign(name).hold is Hold.ANY
        try:
            await self.head(name)
        except NotFoundError:
            return False
        return True

    async def _open(self, path: str) -> int:
        try:
            fd = self._kernel.open_cached(self._root, path, READ)
            if fd is None:
                fd = await self._threads.run(
                    self._kernel.open_beneath, self._root, path, READ, unwanted=os.close
                )
        except (FileNotFoundError, NotADirectoryError):
            if os.fstat(self._root).st_nlink == 0:
                raise UnavailableError("the store's folder is gone") from None
            raise NotFoundError("there is no such blob") from None
        return fd

    def _info(self, name: str, fd: int) -> BlobInfo:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise ConflictError("something that is not a file stands where a blob should be")
        info = info_of(name, facts)
        if Capability.METADATA not in self.capabilities:
            return info
        found = {
            key.removeprefix(ATTRIBUTE): os.getxattr(fd, key).decode()
            for key in os.listxattr(fd)
            if key.startswith(ATTRIBUTE)
        }
        return info._replace(metadata=found) if found else info

    async def _write(self, draft: Draft, body: Body) -> os.stat_result:
        async with aclosing(_generator(body.gathered())) as flow, self._drafted(draft):
            first = await anext(flow, b"")
            second = await anext(flow, None) if first else None
            if second is None:
                return await self._threads.run(self._writer.whole, draft, first, when_cancelled=draft.cancel)
            await self._threads.run(self._writer.begin, draft, body.size)
            await self._stream(draft, first, second, flow)
            return await self._finish(draft)

    async def _finish(self, draft: Draft) -> os.stat_result:
        return await self._threads.run(self._writer.finish, draft, when_cancelled=draft.cancel)

    @asynccontextmanager
    async def _drafted(self, draft: Draft) -> AsyncIterator[None]:
        """Let go of `draft` after the block, and when that fails of the name that it may have got."""
        try:
            yield
        except BaseException as error:
            draft.cancel()
            if draft.published and not self._threads.closed:
                await self._threads.surely(self._writer.withdraw, draft)
            if isinstance(error, FileNotFoundError):  # a folder is missing: that is no "no such blob"
                raise UnavailableError("the store's folder is gone") from error
            raise
        finally:
            if draft.fd >= 0 or draft.folder >= 0:
                await self._threads.surely(self._writer.end, draft)

    async def _fill(self, draft: Draft, source: Source) -> None:
        """Give `draft` the bytes of a file, part by part."""
        await self._threads.run(self._copier.begin, draft, source)
        while draft.written < source.size:
            await self._threads.run(self._copier.part, draft, source, when_cancelled=draft.cancel)

    async def _stream(self, draft: Draft, first: bytes, second: bytes, flow: AsyncIterator[bytes]) -> None:
        """Write all chunks, each while the next one is awaited."""
        await self._threads.run(self._writer.write, draft, first)
        writing = asyncio.ensure_future(self._threads.run(self._writer.write, draft, second))
        try:
            async for chunk in flow:
                await writing
                writing = asyncio.ensure_future(self._threads.run(self._writer.write, draft, chunk))
        finally:
            await writing

    async def _copy_bytes(self, source: str, target: str) -> BlobInfo:
        async with self.get(source) as reader:
            body = Body.of_stream(reader.chunks, size=reader.span.length)
            return await self.put(target, body, options=PutOptions(metadata=reader.info.metadata))

    def _metadata(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        if not metadata or Capability.METADATA not in self.capabilities:
            return EMPTY
        size = 0
        for key, value in metadata.items():
            size += len(key.encode()) + len(value.encode())
            if not 0 < len(key.encode()) <= _MAX_KEY or "\0" in key:
                raise InvalidRequestError(f"a metadata key has 1 to {_MAX_KEY} bytes without NUL")
        if size > self.limits.max_metadata_bytes:
            raise InvalidRequestError(
                f"metadata of {size} bytes; at most {self.limits.max_metadata_bytes} fit"
            )
        return metadata

    def _need(self, capability: Capability, operation: str, name: str) -> None:
        if capability not in self.capabilities:
            raise UnsupportedError(
                "the file system of this store has no hard links",
                operation=operation,
                store=self.store,
                name=name,
            )

    def _now(self) -> float:
        return self._environment.clock.now() / 1e6


class _Opening:
    """What `get` returns: opens on entering, closes on leaving."""

    __slots__ = ("_backend", "_file", "_name", "_wish")

    def __init__(self, backend: LocalBackend, name: str, wish: ByteRange | None) -> None:
        self._backend, self._name, self._wish = backend, name, wish
        self._file: OpenFile | None = None

    async def __aenter__(self) -> Reader:
        self._file, info = await self._backend.open(self._name, "get")
        try:
            with Translated("get", self._backend.store, self._name):
                span = Span(0, info.size) if self._wish is None else self._wish.resolve(info.size)
        except BaseException:
            self._file.close()
            raise
        if is_foreign(self._name):
            return Reader(info, span, self._unchanged(self._file, info, span))
        slice_ = FileSlice(self._file.fd, span.offset, span.length)
        data = self._file.cached(span.offset, span.end) if span.length <= INLINE else None
        return Reader(info, span, self._file.chunks(span.offset, span.end, data), slice_, data)

    async def _unchanged(self, file: OpenFile, info: BlobInfo, span: Span) -> AsyncIterator[bytes]:
        """Yield the bytes, the last of them only when the file is still as it was: others may write into it."""
        held: bytes | None = None
        async for chunk in file.chunks(span.offset, span.end):
            if held is not None:
                yield held
            held = chunk
        self._backend.check_unchanged(self._name, file.fd, info, "get")
        if held is not None:
            yield held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _made(draft: Draft, facts: os.stat_result) -> BlobInfo:
    info = info_of(draft.name, facts)
    return info._replace(metadata=dict(draft.metadata)) if draft.metadata else info


async def _generator(body: Body) -> AsyncGenerator[bytes, None]:
    async for chunk in body.chunks():
        yield chunk
