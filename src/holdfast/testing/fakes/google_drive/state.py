"""What the fake holds: people, drives, files, upload sessions and tokens. All of it may be looked at and changed by tests."""

from __future__ import annotations

import hashlib
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from holdfast.core.clock import Clock, SystemClock

FOLDER: Final = "application/vnd.google-apps.folder"
NATIVE: Final = "application/vnd.google-apps."
WEEK: Final = 7 * 24 * 3600
HOUR: Final = 3600
_IN_MEMORY: Final = 64 << 10
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(slots=True)
class Person:
    """A user, or a service account, which has no room of its own. `limit` in bytes; None: none."""

    email: str
    root: str
    limit: int | None = None
    service: bool = False


@dataclass(slots=True)
class Item:
    """One file or folder. `shown` is when listings begin to show its latest change; `gone` when it was deleted."""

    id: str
    name: str
    mime_type: str
    parents: list[str]
    owner: str
    drive: str = ""
    created: int = 0
    modified: int = 0
    size: int = 0
    md5: str = ""
    sha256: str = ""
    trashed: bool = False
    is_trashed: bool = False  #: itself or a folder above it, as of the last look
    app_properties: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    path: Path | None = None
    data: bytes = b""
    abusive: bool = False
    shown: int = 0
    gone: int | None = None
    vanishes: int = 0  #: when listings stop to show it, once it is gone

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.mime_type == FOLDER


@dataclass(slots=True)
class Session:
    """A resumable upload. `target` is the file to be replaced, "" for a new one."""

    id: str
    person: str
    meta: dict[str, object]
    target: str
    path: Path
    began: int
    total: int | None = None
    kept: int = 0
    done: str = ""  #: the file that it made


@dataclass(slots=True)
class Access:
    """An access token."""

    person: str
    expires: int


Role = Literal["organizer", "fileOrganizer", "reader"]


class State:
    """Everything, with a clock that a test may own and chance that a seed repeats."""

    def __init__(self, clock: Clock | None = None, seed: int = 0) -> None:
        self.clock = clock or SystemClock()
        self.chance = random.Random(seed)  # noqa: S311
        self.people: dict[str, Person] = {}
        self.drives: dict[str, dict[str, Role]] = {}  #: shared drive → member → role
        self.items: dict[str, Item] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, Access] = {}
        self.refresh_tokens: dict[
            str, tuple[str, str, str]
        ] = {}  #: refresh token → client id, secret, person
        self.reserved: set[str] = set()
        self.changes: list[str] = []
        self.lag = 0.0  #: seconds for which listings do not show what changed
        self.page = 1000  #: items that a page has at most, whatever is asked
        self.token_life = float(HOUR)
        self.folder_limit = 500_000
        self._folder = tempfile.TemporaryDirectory(prefix="fake-drive-")
        self._serial = 0

    def close(self) -> None:
        """Remove all contents."""
        self._folder.cleanup()

    def now(self) -> int:
        """Return the time in microseconds."""
        return self.clock.now()

    def new_id(self, length: int = 33) -> str:
        """Return an id that nothing has."""
        return "1" + "".join(self.chance.choices(_LETTERS, k=length - 1))

    def new_path(self) -> Path:
        """Return the path of a file for contents."""
        self._serial += 1
        return Path(self._folder.name) / str(self._serial)

    def add_person(self, email: str, *, limit: int | None = None, service: bool = False) -> Person:
        """Add a user or a service account, with a drive of its own."""
        root = self.new_id(19)
        person = Person(email, root, limit, service)
        self.people[email] = person
        now = self.now()
        self.items[root] = Item(root, "My Drive", FOLDER, [], email, created=now, modified=now, shown=now)
        return person

    def add_drive(self, name: str, members: dict[str, Role]) -> str:
        """Add a shared drive, and return its id, which is also that of its folder."""
        id = self.new_id(19)
        self.drives[id] = members
        now = self.now()
        self.items[id] = Item(id, name, FOLDER, [], "", id, created=now, modified=now, shown=now)
        return id

    def add_folder(self, parent: str, name: str = "blobs") -> str:
        """Add a folder, and return its id."""
        above = self.items[parent]
        return self.put(Item(self.new_id(), name, FOLDER, [parent], above.owner, above.drive)).id

    def put(self, item: Item, *, now: int | None = None) -> Item:
        """Add an item, or note that it changed."""
        now = self.now() if now is None else now
        item.created = item.created or now
        item.modified = item.modified or now
        item.shown = now + int(self.lag * 1e6)
        self.items[item.id] = item
        self.changes.append(item.id)
        return item

    def fill(self, item: Item, source: Path | bytes) -> None:
        """Give an item its content."""
        self.drop(item)
        if isinstance(source, bytes):
            item.size, item.md5 = len(source), hashlib.md5(source, usedforsecurity=False).hexdigest()
            item.sha256 = hashlib.sha256(source).hexdigest()
            if len(source) <= _IN_MEMORY:
                item.data = source
                return
            item.path = self.new_path()
            item.path.write_bytes(source)
            return
        item.path, item.size = source, source.stat().st_size
        with source.open("rb") as file:
            item.md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            file.seek(0)
            item.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def drop(self, item: Item) -> None:
        """Take an item's content away."""
        if item.path is not None:
            item.path.unlink(missing_ok=True)
        item.path, item.data = None, b""

    def remove(self, item: Item) -> None:
        """Delete an item and all below it for good; listings may show it for a while."""
        for other in [one for one in self.items.values() if item.id in one.parents and one.gone is None]:
            self.remove(other)
        item.gone = self.now()
        item.vanishes = item.gone + int(self.lag * 1e6)
        self.changes.append(item.id)
        # Whoever reads it has it open; the content goes with the last reader.
        self.drop(item)
        if not self.lag:
            del self.items[item.id]

    def find(self, id: str) -> Item | None:
        """Return an item that is there."""
        item = self.items.get(id)
        if item is None or item.gone is not None:
            return None
        item.is_trashed = self.in_trash(item)
        return item

    def in_trash(self, item: Item) -> bool:
        """Whether an item, or a folder above it, is in the trash."""
        while True:
            if item.trashed:
                return True
            if not item.parents or item.parents[0] not in self.items:
                return False
            item = self.items[item.parents[0]]

    def may_see(self, email: str, item: Item) -> bool:
        """Whether somebody is shown an item."""
        if item.drive:
            return email in self.drives.get(item.drive, {})
        while True:
            if item.owner == email or email in item.shared:
                return True
            if not item.parents or item.parents[0] not in self.items:
                return False
            item = self.items[item.parents[0]]

    def used(self, email: str) -> int:
        """Return the bytes of somebody's own drive, the trash among them."""
        return sum(
            item.size
            for item in self.items.values()
            if item.gone is None and item.owner == email and not item.drive
        )
