"""Google Drive as a `Backend`."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from holdfast.backends._http import Http
from holdfast.backends.google_drive import properties, quota
from holdfast.backends.google_drive.claims import Claims
from holdfast.backends.google_drive.client import Client
from holdfast.backends.google_drive.errors import FolderGoneError, Where, failure
from holdfast.backends.google_drive.files import File, Files
from holdfast.backends.google_drive.home import Home
from holdfast.backends.google_drive.index import Index, Live, live_of
from holdfast.backends.google_drive.listing import Listing
from holdfast.backends.google_drive.properties import MAX_METADATA, Label
from holdfast.backends.google_drive.reading import Opening
from holdfast.backends.google_drive.settings import GoogleDriveSettings
from holdfast.backends.google_drive.tokens import Tokens
from holdfast.backends.google_drive.upload import MAX_SIZE, Target, Uploads, gather
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, Room, SignedUrl
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.names import check_blob_name
from holdfast.core.notes import Notes
from holdfast.core.types import BlobInfo, ByteRange

_POSSIBLE: Final = re.compile(r"[A-Za-z0-9!$'()*+,./:;=@_~-]*")  #: how a blob's name may begin
_RACES: Final = 5  #: times that a source may be overwritten while it is copied
_TIDY_SECONDS: Final = 60.0  #: how long closing waits for what is being removed


class GoogleDriveBackend:
    """One folder of a drive. Make it with `open_google_drive`.

    `IF_ABSENT` holds among those who share the notes: Drive itself lets many files have one name.
    """

    def __init__(
        self,
        store: str,
        settings: GoogleDriveSettings,
        *,
        http: Http,
        source: Tokens,
        notes: Notes,
        environment: Environment,
    ) -> None:
        self._store, self._settings, self._http = store, settings, http
        self._client = Client(store, settings, http, source, environment)
        self._files = Files(self._client)
        self._index = Index(notes)
        self._home = Home(self._client, self._files, self._index)
        self._claims = Claims(self._index, self._files, environment.clock)
        self._uploads = Uploads(self._client, self._files)
        self._listing = Listing(self._home, self._files, self._index, self._claims.tidy_quietly)
        self._tidying: set[asyncio.Task[None]] = set()

    @property
    def store(self) -> str:
        return self._store

    @property
    def capabilities(self) -> Capability:
        return Capability.RANGE | Capability.METADATA | Capability.COPY | Capability.IF_ABSENT

    @property
    def limits(self) -> Limits:
        return Limits(max_blob_size=MAX_SIZE, max_metadata_bytes=MAX_METADATA)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`: in one request up to 5 MB, above in pieces, each of which is confirmed."""
        where = self._client.where("put", check_blob_name(name))
        if body.size is not None and body.size > MAX_SIZE:
            raise failure(TooLargeError, f"Google Drive takes at most {MAX_SIZE} bytes in a file", where)
        content_type = _content_type(options.content_type)
        data, body = await gather(body, self._settings.single_request)
        if if_absent:
            await self._refuse_taken(where, name)

        async def make(target: Target) -> File:
            try:
                if data is not None:
                    return await self._uploads.small(where, target, data)
                return await self._uploads.large(where, target, body)
            except NotFoundError as error:
                raise FolderGoneError from error

        live = await self._make(where, name, dict(options.metadata), content_type, make, if_absent=if_absent)
        return live.info(name)

    def get(self, name: str, *, range: ByteRange | None = None) -> Opening:
        return Opening(self._client, self._client.where("get", name), range, self._find, self._missing)

    async def head(self, name: str) -> BlobInfo:
        where = self._client.where("head", name)
        live = await self._find(where, name)
        try:
            await self._files.get(where, live.id)
        except NotFoundError:
            await self._missing(where, live)
            raise
        return live.info(name)

    async def delete(self, name: str) -> None:
        await self._delete(self._client.where("delete", check_blob_name(name)), name, pending=False)

    async def discard(self, name: str) -> None:
        await self._delete(self._client.where("delete", check_blob_name(name)), name, pending=True)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        if not _POSSIBLE.fullmatch(prefix):
            return
        async with contextlib.aclosing(
            self._listing.items(self._client.where("list", prefix), prefix, after)
        ) as items:
            async for info in items:
                yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy inside Drive; the copy is compared with what is known of its source."""
        return await self.copy_from(self, source, target)

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is opened with the same credentials: what one store reads, the other may."""
        return isinstance(other, GoogleDriveBackend) and self._settings.identity == other._settings.identity

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy inside Drive from the folder of another store; see `copy`."""
        assert isinstance(other, GoogleDriveBackend)
        where, whence = self._client.where("copy", target), other._client.where("copy", source)
        check_blob_name(target)
        live = await other._find(whence, source)
        for _ in range(_RACES):
            try:
                return (await self._copied(where, target, other, whence, live)).info(target)
            except NotFoundError:
                await other._missing(whence, live)
                newer = await other._find(whence, source)
                if newer.id == live.id:
                    raise
                live = newer  # it was overwritten: what we wanted to copy has gone
        raise failure(UnavailableError, "the source is overwritten again and again", where)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise `UnsupportedError`: a link of Drive needs a Google account, or is open to all for ever."""
        raise failure(UnsupportedError, "Google Drive signs no URLs", self._client.where("presign", name))

    async def room(self) -> Room | None:
        """Return how much room the account has; None where it has no limit, and in a shared drive, of which Google tells nothing."""
        where = self._client.where("room")
        return None if (await self._home.root(where)).drive else await quota.ask(self._client, where)

    async def duplicates(self) -> Sequence[tuple[str, str]]:
        """Return (name, id) of every file that carries a blob's name and is not the one that counts."""
        return await self._listing.duplicates(self._client.where("list"))

    async def close(self) -> None:
        if self._tidying:
            await asyncio.wait(set(self._tidying), timeout=_TIDY_SECONDS)
        await self._http.close()

    async def _find(self, where: Where, name: str) -> Live:
        """Return the file of a name, from its note, or from Drive while the index is not complete."""
        check_blob_name(name)
        await self._home.root(where)  # before any note is believed
        live = (await self._index.read(where, name)).live
        if live is None and not await self._home.complete(where):
            live = await self._listing.find(where, name)
        if live is None:
            raise failure(NotFoundError, "the store has no such blob", where)
        return live

    async def _missing(self, where: Where, live: Live) -> None:
        """Raise when a file is not shown to us because the folder is not; else its absence is a fact."""
        await self._home.look(where)

    async def _refuse_taken(self, where: Where, name: str) -> None:
        """Raise `AlreadyExistsError` before bytes are sent, when the name is taken; the commit looks again."""
        live: Live | None = None
        try:
            live = await self._find(where, name)
            await self._files.get(where, live.id)
        except NotFoundError:
            await self._home.look(where)
            if live is not None:  # what another writer may have committed by now is none of this
                await self._claims.forget(where, name, [live.id])
            return
        raise failure(AlreadyExistsError, "a blob of that name is already there", where)

    async def _make(
        self,
        where: Where,
        name: str,
        metadata: Mapping[str, str],
        content_type: str,
        make: Callable[[Target], Awaitable[File]],
        *,
        if_absent: bool = False,
    ) -> Live:
        """Claim, make, commit; what is left of it when it fails or is cancelled is removed."""
        properties.write(
            Label(name, 0, "", metadata)
        )  # what does not fit is refused before anything is noted
        root = await self._home.root(where)
        folder = await self._home.shard(where, name)
        target = Target(await self._files.new_id(where), {}, content_type)
        try:
            generation = await self._claims.claim(where, name, target.id)
            label = properties.write(Label(name, generation, root.id, metadata))
            target.meta = {"id": target.id, "name": name, "parents": [folder], "appProperties": label}
            if content_type:
                target.meta = {**target.meta, "mimeType": content_type}
            file = await make(target)
            live = live_of(file, metadata)
            await self._claims.commit(where, name, live, if_absent=if_absent)
            return live
        except BaseException as error:
            await self._tidied(self._claims.give_up(where, name, target.id, begun=target.begun))
            if isinstance(error, FolderGoneError):
                await self._home.mend(where, folder)
                raise failure(
                    UnavailableError, "a folder of the store was gone; it is made anew at the next try", where
                ) from error
            raise

    async def _copied(
        self, where: Where, target: str, other: GoogleDriveBackend, whence: Where, live: Live
    ) -> Live:
        """Make `target` of a file of `other`.

        Raises:
            NotFoundError: the file has gone.
        """

        async def make(made: Target) -> File:
            try:
                file = await self._uploads.copy(where, made, live.id)
            except NotFoundError as error:  # which of the two is not there: the file or the folder?
                await other._files.get(whence, live.id)
                raise FolderGoneError from error
            if (file.bytes, file.md5_checksum) != (live.size, live.md5):
                raise failure(
                    CorruptedError, "the copy is not what its source was when it was written", where
                )
            return file

        return await self._make(where, target, live.metadata, "", make)

    async def _delete(self, where: Where, name: str, *, pending: bool) -> None:
        await self._home.root(where)
        record = await self._claims.release(where, name, pending=pending)
        if record.empty and not await self._home.complete(where):
            with contextlib.suppress(NotFoundError):
                await self._find(where, name)
                record = await self._claims.release(where, name, pending=pending)
        if record.dead:
            await self._claims.tidy(where, name)

    async def _tidied(self, work: Awaitable[None]) -> None:
        """Wait until `work` is done, which goes on even when nobody waits any more."""
        task = asyncio.ensure_future(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
        with contextlib.suppress(HoldfastError):
            await asyncio.shield(task)


def _content_type(value: str) -> str:
    """Return `value` when it can be told; a native type of Google's would make Drive convert the bytes."""
    if not value or len(value) > 255 or not value.isascii() or not value.isprintable():
        raise InvalidRequestError(f"{value[:40]!r} is not a content type")
    return "application/octet-stream" if value.startswith("application/vnd.google-apps") else value
