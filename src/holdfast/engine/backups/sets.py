"""Sets: what a store holds of backups. A set is whole when its manifest, which is written last, is there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from holdfast.core.backend import Backend, Store
from holdfast.core.body import Body
from holdfast.core.directly import directly
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    CorruptedError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.names import BACKUPS, INLINE
from holdfast.engine.backups import ages
from holdfast.engine.backups.opening import Opener
from holdfast.engine.backups.packing import Piece
from holdfast.engine.context import Context
from holdfast.policy.backups import COMPRESSIONS, Kept

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_SET: Final = "set-"
_LARGEST: Final = 256 << 20  #: bytes of a manifest that are believed
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")  #: of a set, and of a file in it


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a set is and of which files. Times are microseconds; `moment` is the time at which everything was so."""

    id: str
    moment: int
    tenant: str = ""  #: "": all
    bucket: str = ""
    parent: str = ""  #: the set that it goes on from; "": none
    needs: Sequence[str] = ()  #: sets in whose files contents of this one lie
    compression: str = "zst"
    recipients: Sequence[str] = ()  #: none: it is not encrypted
    rows: Sequence[Piece] = ()
    data: Sequence[Piece] = ()
    index: Sequence[Piece] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    schema: str = ""  #: step of the catalog that the rows are from
    made_by: str = ""
    started: int = 0
    ended: int = 0
    software: str = ""
    format: int = FORMAT

    @property
    def pieces(self) -> Sequence[Piece]:
        """All its files but the manifest."""
        return (*self.rows, *self.index, *self.data)

    @property
    def missing(self) -> int:
        """Segments that could not be read when it was made."""
        return self.counts.get("missing", 0)

    @property
    def kept(self) -> Kept:
        """How keeping looks at it."""
        return Kept(self.id, self.moment, tuple({*self.needs, *([self.parent] if self.parent else [])}))


def prefix_of(set_id: str) -> str:
    """Return what the names of a set's files begin with."""
    return f"{BACKUPS}{_SET}{set_id}/"


async def store_of(context: Context, name: str, *, write: bool = False) -> Store:
    """Return the store that backups go to.

    Raises:
        InvalidRequestError, NotFoundError: it is none. ConfigError: it takes nothing now, and `write`.
    """
    if not name:
        raise InvalidRequestError(
            "say in which store backups lie: store, or backup.store of the configuration"
        )
    if name == INLINE:
        raise InvalidRequestError("backups do not go into the catalog: choose another store")
    await context.stores.refresh()
    if name not in context.stores:
        raise NotFoundError(f"there is no store {name!r:.80}", store=name)
    store = context.store(name)
    if write and store.refusal:
        raise ConfigError(f"store {name!r} {store.refusal}; nothing can be written there", store=name)
    return store


async def listing(store: Store, damaged: dict[str, str] | None = None) -> Sequence[Manifest]:
    """Return the whole sets of a store, the oldest first; those whose manifest cannot be read go into `damaged`."""
    found = []
    for set_id, whole in (await _ids(store)).items():
        try:
            if whole:
                found.append(await load(store, set_id))
        except (CorruptedError, UnsupportedError) as error:
            if damaged is not None:
                damaged[set_id] = error.message
    return sorted(found, key=lambda one: (one.moment, one.id))


async def unfinished(store: Store) -> Sequence[str]:
    """Return the ids of what was begun and has no manifest: a backup that runs, or one that never ended."""
    return [set_id for set_id, whole in (await _ids(store)).items() if not whole]


async def _ids(store: Store) -> dict[str, bool]:
    """Return the ids of all sets, and whether each is whole."""
    found: dict[str, bool] = {}
    after = ""
    while True:  # one look per set: what lies in it may be much
        async for info in store.backend.list(f"{BACKUPS}{_SET}", after=after):
            set_id, slash, _ = info.name.removeprefix(f"{BACKUPS}{_SET}").partition("/")
            break
        else:
            return found
        if set_id in found or info.name <= after:
            raise UnavailableError(
                f"the listing of store {store.name!r} does not go on behind {after!r:.200}", store=store.name
            )
        if not slash:  # a file that is in no set
            after = info.name
            continue
        if _NAME.fullmatch(set_id):
            found[set_id] = await _is_there(store.backend, prefix_of(set_id) + MANIFEST)
        after = (
            f"{BACKUPS}{_SET}{set_id}0"  # what comes first behind all that lies in it: 0 follows the slash
        )


async def _is_there(backend: Backend, name: str) -> bool:
    try:
        await backend.head(name)
    except NotFoundError:
        return False
    return True


async def find(store: Store, wanted: str) -> Manifest:
    """Return the set of that id, or whose id begins so, or the `latest`.

    Raises:
        NotFoundError: there is none. InvalidRequestError: several begin so.
    """
    wanted = wanted.removeprefix(_SET)
    if wanted == "latest":
        if not (all_ := await listing(store)):
            raise NotFoundError(f"there is no whole backup in store {store.name!r}", store=store.name)
        return all_[-1]
    found = [
        set_id for set_id, whole in (await _ids(store)).items() if whole and set_id.startswith(wanted or "?")
    ]
    if wanted in found:
        found = [wanted]
    if not found:
        raise NotFoundError(
            f"there is no whole backup {wanted!r:.80} in store {store.name!r}", store=store.name
        )
    if len(found) > 1:
        raise InvalidRequestError(f"{len(found)} backups begin with {wanted!r:.80}; write more of the id")
    return await load(store, found[0])


async def load(store: Store, set_id: str) -> Manifest:
    """Return the manifest of a set.

    Raises:
        NotFoundError, CorruptedError: it is not there, or damaged. UnsupportedError: a newer Holdfast wrote it.
    """
    name = prefix_of(set_id) + MANIFEST
    document = await read_json(store.backend, name, f"the manifest of set-{set_id}")
    digest = document.pop("sha256", "")
    if document.get("format") != FORMAT:
        raise UnsupportedError(
            f"set-{set_id} has format {document.get('format')!r:.20}; this Holdfast reads {FORMAT}"
        )
    if digest != _digest(document):
        raise CorruptedError(f"the manifest of set-{set_id} is damaged: its digest differs")
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise CorruptedError(f"the manifest of set-{set_id} is damaged: {error}") from None
    if wrong := _wrong(manifest, set_id):
        raise CorruptedError(f"the manifest of set-{set_id} is damaged: {wrong}")
    return manifest


def _wrong(manifest: Manifest, set_id: str) -> str:
    """Return what cannot be true of the manifest in the folder of `set_id`, "" for nothing."""
    if manifest.id != set_id:
        return f"it is that of set-{manifest.id:.80}"
    if bad := [one for one in (*manifest.needs, manifest.parent) if one and not _NAME.fullmatch(one)]:
        return f"{bad[0]!r:.80} is no id of a set"
    if bad := [piece.name for piece in manifest.pieces if not _NAME.fullmatch(piece.name) or piece.size < 0]:
        return f"{bad[0]!r:.80} is no file of a set"
    if manifest.compression not in COMPRESSIONS:
        return f"it was compressed by {manifest.compression!r:.20}"
    return "" if all(0 <= one < 1 << 60 for one in _times(manifest)) else "its times are none"


def _times(manifest: Manifest) -> tuple[int, ...]:
    return (manifest.moment, manifest.started, manifest.ended)


async def save(store: Store, manifest: Manifest) -> None:
    """Write the manifest of a set: from now on it is whole."""
    document: dict[str, Any] = msgspec.to_builtins(manifest)
    document["sha256"] = _digest(document)
    await write_json(store.backend, prefix_of(manifest.id) + MANIFEST, document)


def _digest(document: Mapping[str, Any]) -> str:
    text = msgspec.json.encode(document, order="deterministic")
    return hashlib.sha256(text).hexdigest()


async def read_json(backend: Backend, name: str, told: str) -> dict[str, Any]:
    """Return a small document; `CorruptedError` when it is none."""
    parts, size = [], 0
    with directly():
        async with backend.get(name) as reader:
            async for chunk in reader:
                size += len(chunk)
                if size > _LARGEST:
                    raise CorruptedError(f"{told} is damaged: it is too long")
                parts.append(bytes(chunk))
    try:
        return msgspec.json.decode(b"".join(parts), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise CorruptedError(f"{told} is damaged: {error}") from None


async def write_json(backend: Backend, name: str, document: Mapping[str, Any]) -> None:
    """Write a small document."""
    text = msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1)
    await backend.put(name, Body.of_bytes(text))


def opener(context: Context, store: Store, manifest: Manifest, identities: ages.Identities = ()) -> Opener:
    """Return how the files of a set are opened."""
    return Opener(
        store.backend,
        prefix_of(manifest.id),
        manifest.compression,
        bool(manifest.recipients),
        identities,
        context.executor,
    )


async def leftovers(store: Store, manifest: Manifest) -> AsyncIterator[str]:
    """Yield the names of files under a whole set that are not of it: of steps that were done twice."""
    known = {MANIFEST, *(piece.name for piece in manifest.pieces)}
    prefix = prefix_of(manifest.id)
    async for info in store.backend.list(prefix):
        tail = info.name.removeprefix(prefix)
        if tail not in known and not tail.startswith("drill-"):
            yield info.name


async def remove(store: Store, set_id: str, beat: Callable[[], Awaitable[None]]) -> int:
    """Remove a set: its manifest first, so that it is whole or nothing; return how many files went."""
    prefix = prefix_of(set_id)
    await store.backend.delete(prefix + MANIFEST)
    count, gone = 1, set[str]()
    while names := await _some(store, prefix):
        if still := gone.intersection(names):
            raise ConflictError(
                f"{min(still)} is listed still after it was removed: does store {store.name!r} keep what is deleted?",
                store=store.name,
            )
        gone = set(names)
        for name in names:
            await store.backend.delete(name)
            await beat()
        count += len(names)
    return count


async def _some(store: Store, prefix: str) -> list[str]:
    """Return the first names that begin so, a thousand at most."""
    found: list[str] = []
    async for info in store.backend.list(prefix):
        found.append(info.name)
        if len(found) >= 1000:
            break
    return found


async def parents_of_unfinished(store: Store, set_id: str) -> Sequence[str]:
    """Return the sets that a backup goes on from which has not ended yet."""
    found = []
    async for info in store.backend.list(f"{prefix_of(set_id)}plan-"):
        document = await read_json(store.backend, info.name, info.name)
        if document.get("parent"):
            found.append(str(document["parent"]))
    return found


async def check_needed(store: Store, manifest: Manifest) -> Mapping[str, Manifest]:
    """Return the sets whose files a set rests on, itself among them.

    Raises:
        ConflictError: one is gone, and with it contents of this one.
    """
    found = {manifest.id: manifest}
    for other in manifest.needs:
        try:
            found[other] = await load(store, other)
        except NotFoundError:
            raise ConflictError(f"set-{manifest.id} rests on set-{other}, which is gone") from None
    return found


async def drills(store: Store, manifest: Manifest) -> Sequence[dict[str, Any]]:
    """Return what drills of a set found, the oldest first."""
    found = []
    async for info in store.backend.list(f"{prefix_of(manifest.id)}drill-"):
        found.append(await read_json(store.backend, info.name, info.name))
    return sorted(found, key=lambda one: int(one.get("began", 0)))
