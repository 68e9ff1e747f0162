"""What a Disk is made of: files and their bytes, links, operations."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5, sha256
from pathlib import Path
from typing import Any, Final

_IN_MEMORY: Final = 256 << 10


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, text: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text or code


@dataclass(slots=True)
class Rules:
    """How the account is, and how the fake behaves without any fault."""

    total_space: int = 10 << 30
    max_file_size: int = 1 << 30
    link_seconds: float = 1800.0
    polls: int = 1  #: questions after which what was answered with 202 is done
    copies_late: bool = True  #: copies are answered with 202
    moves_late: bool = False
    moves_replace: bool = True  #: off: a move onto a file is refused even with overwrite, as has been seen
    strict_uploads: bool = True  #: refuse an upload that carries a token
    allowance: int | None = None  #: bytes that may still be uploaded in this period; after them 423
    app_folder: str = "Приложения/fake"


@dataclass(slots=True)
class Content:
    """Bytes of a file, and their digests."""

    size: int
    md5: str
    sha256: str
    data: bytes | None
    path: Path | None = None

    def drop(self) -> None:
        """Forget the bytes; who has the file open can read on."""
        self.data = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    @property
    def there(self) -> bool:
        """Whether the bytes can still be had."""
        return self.data is not None or (self.path is not None and self.path.exists())


class Sink:
    """Bytes as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = bytearray()
        self._file: Path | None = None
        self._md5, self._sha = md5(usedforsecurity=False), sha256()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._md5.update(chunk)
        self._sha.update(chunk)
        self.size += len(chunk)
        self._held += chunk
        if self._file is not None or len(self._held) > _IN_MEMORY:
            if self._file is None:
                self._file = self._folder / secrets.token_hex(16)
            with self._file.open("ab") as file:
                file.write(self._held)
            self._held.clear()

    def content(self) -> Content:
        """Return all that came."""
        data = None if self._file is not None else bytes(self._held)
        return Content(self.size, self._md5.hexdigest(), self._sha.hexdigest(), data, self._file)


@dataclass(slots=True)
class Node:
    """A file or a folder."""

    name: str
    id: str
    created: int
    modified: int
    content: Content | None = None  #: None: a folder
    children: dict[str, Node] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    origin: str = ""  #: of what is in the trash: where it was
    hidden: int = 0  #: looks for which it does not show yet
    hidden_as: int = 404

    @property
    def is_folder(self) -> bool:
        return self.content is None

    @property
    def size(self) -> int:
        """Bytes of all files in it."""
        return self.content.size if self.content else sum(child.size for child in self.children.values())


@dataclass(slots=True)
class Operation:
    """Work that goes on: done after `polls` questions."""

    effect: Callable[[], None] | None
    polls: int
    fails: bool = False
    status: str = "in-progress"

    def poll(self) -> str:
        """Return how it stands, and bring it nearer to its end."""
        if self.status == "in-progress" and self.effect is not None:
            self.polls -= 1
            if self.polls <= 0:
                self.end()
        return self.status

    def end(self) -> None:
        """Carry it out, or fail."""
        effect, self.effect = self.effect, None
        try:
            if self.fails or effect is None:
                raise Refused(500, "failed")
            effect()
            self.status = "success"
        except Refused:
            self.status = "failed"


@dataclass(slots=True)
class UploadLink:
    """Permission to send one file."""

    path: str
    overwrite: bool
    expires: int
    operation: str
    used: bool = False
    asked: bool = False  #: HEAD came, so that the rest may be sent
    held: Sink | None = None


@dataclass(slots=True)
class DownloadLink:
    """Permission to fetch one content."""

    content: Content
    name: str
    expires: int


@dataclass(frozen=True, slots=True)
class Requested:
    """An upload as its link was asked for: whether its name would have made it slow."""

    path: str
    slowed: str  #: `data`, `compressed`, `video`, or ""
