"""The contract between the engine and whatever holds bytes: five verbs, a close, and a flag for each thing more.

Answers that hold for every backend and through every layer:

* a put makes the whole blob visible or nothing; a put that fails leaves old content as it was;
* a put of a name that exists replaces it at once, unless `if_absent`;
* deleting what is absent succeeds;
* a range starting at or past the end raises `InvalidRangeError`; an end past the end is cut;
* a listing is in byte order of names, across pages; `prefix` is a plain string;
* when a put has returned, the blob survives the loss of power (as far as the store is able to promise it);
* every foreign error is translated here: `NotFoundError`, `UnavailableError`… with `operation`, `store`, `name`.

`holdfast.testing.checks` holds each of these as a check; run them with `holdfast store check NAME`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto
from typing import Final, Protocol, runtime_checkable

from holdfast.core.blobs import EMPTY, NO_DIGESTS, BlobInfo, ByteRange, Digests, Origin
from holdfast.core.body import Body, Reader
from holdfast.core.circuit import Circuit
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.names import Layout, is_sealed


class Capability(Flag):
    """What a backend offers beyond the five verbs. A layer offers its inner one's `&` what it preserves."""

    NONE = 0
    RANGE = auto()  #: reads part of a blob without reading the rest
    IF_ABSENT = auto()  #: `put(if_absent=True)` is atomic
    METADATA = auto()  #: keeps the metadata given to put and shows it in head and get
    COPY = auto()  #: copies within itself without the bytes passing through us
    PRESIGN = auto()  #: signs URLs for GET and PUT that others may use
    FILE = auto()  #: readers carry an open file descriptor
    FOLDERS = auto()  #: has folders that people see, also empty ones (`FolderMaker`)
    ADOPT = auto()  #: lists, reads and writes what others put there, by names as `core.adopted` spells them


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits. `None` means no bound of its own."""

    max_blob_size: int | None = None
    max_name_bytes: int = 1024
    max_metadata_bytes: int = 2048


@dataclass(frozen=True, slots=True)
class PutOptions:
    """Circumstances of a put: what the store should remember beside the bytes."""

    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    origin: Origin | None = None  #: what the blob is; the layer `describing` makes metadata of it
    tags: Mapping[str, str] = field(
        default_factory=lambda: EMPTY
    )  #: for `Capability.ADOPT`, where the store has some
    awake: bool = False  #: to be readable at once, also where new blobs go to an archive class
    read_back: bool = False  #: whoever puts it reads it back: a store's ETag need not be compared, too


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that carries its own permission until `expires` (microseconds); send `headers` with it unchanged."""

    url: str
    method: str
    expires: int
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)


NO_OPTIONS: Final = PutOptions()


@runtime_checkable
class Backend(Protocol):
    """A driver for one kind of storage, or a layer around one. Names keep the grammar of `names.check_blob_name`."""

    @property
    def store(self) -> str:
        """The name of the store, for errors and metrics."""
        ...

    @property
    def capabilities(self) -> Capability:
        """What is offered beyond the five verbs."""
        ...

    @property
    def limits(self) -> Limits:
        """What fits."""
        ...

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body` under `name`, durably, and return what was stored.

        Raises:
            AlreadyExistsError: `if_absent` and the name is taken.
            TooLargeError, QuotaExceededError, UnavailableError, DigestMismatchError: nothing became visible.
            UnsupportedError: `if_absent` without `Capability.IF_ABSENT`.
        """
        ...

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open `name` for reading, all of it or `range`.

        Raises (on entering):
            NotFoundError, InvalidRangeError, UnavailableError.
        Raises (while reading):
            UnavailableError, CorruptedError: the stream broke; never a silent short read.
        """
        ...

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of `name`, or raise `NotFoundError`."""
        ...

    async def delete(self, name: str) -> None:
        """Remove `name`; succeeds when it is not there."""
        ...

    async def discard(self, name: str) -> None:
        """Remove `name` and whatever a put of it that never ended may have left in the store; succeeds like `delete`."""
        ...

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield every blob whose name starts with `prefix` and is greater than `after`, in byte order."""
        ...

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy inside the store. Needs `Capability.COPY`."""
        ...

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Return a URL for `GET` or `PUT` that works for `expires_in` seconds (1 to 604,800). Needs `Capability.PRESIGN`."""
        ...

    async def close(self) -> None:
        """Release connections and files; the backend is not used again."""
        ...


class FolderMaker(Protocol):
    """What a backend with `Capability.FOLDERS` offers besides."""

    async def make_folder(self, name: str) -> bool:
        """Make the folder `name`, and those above it, durably; return False when it is there already.

        It is no blob: it is in no listing. One that is emptied of blobs may go with the last of them.
        """
        ...


@runtime_checkable
class Describer(Protocol):
    """What keeps descriptions of blobs (the layer `describing`, and layers around it) offers besides."""

    async def describe(self, name: str, origin: Origin) -> None:
        """Say what `name` is before it is made by `copy`: a copy would else say of itself what its source is."""
        ...


class Fetcher(Protocol):
    """What a backend offers besides that gives a small blob at once, for less than opening it (and every layer)."""

    async def fetch(self, name: str, size: int) -> bytes:
        """Return all of `name`, a small blob of `size` bytes.

        Raises:
            CorruptedError: it has more bytes, or fewer. And what `get` raises.
        """
        ...


@runtime_checkable
class Forgetter(Protocol):
    """What may hold copies of blobs nearer than the store (the layer `cache`, and layers around it) offers besides."""

    async def forget(self, name: str) -> None:
        """Have the next read of `name` ask the store: what was read was not what it should be, or is to be proved."""
        ...


@runtime_checkable
class CopierFrom(Protocol):
    """What can copy a blob from another store without its bytes passing through us (and every layer) offers besides."""

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `copy_from` works with `other` as its source: a server that holds both, say."""
        ...

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Make `target` here of the blob `source` of `other`, durably; its metadata goes along.

        Raises:
            NotFoundError: it is not there. UnsupportedError, PermissionDeniedError: this one has to be read and put.
            CorruptedError: the source is not what it was when it was written; whoever reads it is told why.
            UnavailableError: the store does not answer, or the source was changed meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """How much a store can hold, and what of it is `free` to us, in bytes. What waits in a trash is not free."""

    total: int
    free: int


@runtime_checkable
class Roomy(Protocol):
    """What a backend offers besides that knows how much room there is (and every layer, for the one beneath it)."""

    async def room(self) -> Room | None:
        """Return how much room there is now; None where there is no bound, or nobody says.

        Raises:
            UnavailableError, UnauthenticatedError: the store did not tell.
        """
        ...


@runtime_checkable
class Waker(Protocol):
    """What a backend offers besides whose blobs may sleep in an archive class (and every layer)."""

    @property
    def sleeps(self) -> bool:
        """Whether new blobs sleep at once: its settings say so, and they cannot be read back."""
        ...

    async def wake(self, name: str) -> None:
        """Ask the store to make `name` readable, some hours from now. Whoever asks twice asks once.

        Raises:
            NotFoundError. UnsupportedError: the store has no such classes. AsleepError: settings forbid to wake it.
            UnavailableError, PermissionDeniedError: the store was not asked, or refuses.
        """
        ...


@runtime_checkable
class Billed(Protocol):
    """What a backend offers besides whose large blobs take several billed requests to write."""

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put of `size` bytes takes whose digests are `known` before."""
        ...


class StoreState(StrEnum):
    """What an operator allows a store to do."""

    ACTIVE = "active"
    READ_ONLY = "read-only"
    DRAINING = "draining"
    DOWN = "down"


LABEL_GROUPS: Final = (("internal", "external"), ("hot", "cold", "archive"))
_MOST_LABELS: Final = 32


def check_labels(labels: Iterable[str]) -> frozenset[str]:
    """Return `labels` when a store may have them: of each group in `LABEL_GROUPS` one at most; other words are free.

    Raises:
        InvalidRequestError: saying which do not go together.
    """
    found = frozenset(labels)
    for group in LABEL_GROUPS:
        both = [word for word in group if word in found]
        if len(both) > 1:
            raise InvalidRequestError(
                f"a store is {' or '.join(both)}, not both: take one of these labels away"
            )
    if len(found) > _MOST_LABELS or any(not word.isprintable() or not 0 < len(word) <= 63 for word in found):
        raise InvalidRequestError(
            f"a store has at most {_MOST_LABELS} labels of 1 to 63 printable characters"
        )
    return found


@dataclass(slots=True)
class Store:
    """A named, configured stack, with two faces: `backend` for plain blobs, `sealed` for those that are encrypted."""

    name: str
    backend: Backend
    layout: Layout = Layout.IMMUTABLE
    state: StoreState = StoreState.ACTIVE
    labels: frozenset[str] = frozenset()  #: `internal` or `external`; `hot`, `cold` or `archive`; free words
    region: str = ""
    price: str = ""  #: the key of its prices in the price book; "": unknown
    circuit: Circuit | None = None  #: tells whether it answers; None: nobody counts
    reason: str = ""  #: why it takes no new objects, where its state does not say it
    encrypt: bool = False  #: whatever is written there is encrypted, whichever rule said so
    sealed: Backend | None = None  #: the same stack with encryption in it; closing `backend` closes both

    def for_blob(self, name: str) -> Backend:
        """Return the face that reads and writes the blob of that name.

        Raises:
            ConfigError: it is encrypted, and nothing here can open it.
        """
        if not is_sealed(name):
            return self.backend
        if self.sealed is None:
            raise ConfigError(
                "the blob is encrypted, and this store was opened without keys; open it as part of the service",
                store=self.name,
                name=name,
            )
        return self.sealed

    @property
    def refusal(self) -> str:
        """Why it takes no new objects, to be said after its name; "" when it does."""
        if self.state is StoreState.ACTIVE:
            return self.reason
        return self.reason or f"is {self.state}"
