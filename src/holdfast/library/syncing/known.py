"""What the last run left equal, remembered beside the user's other caches, since a plain store's listing tells no times.

One line per file, in order of keys: a third stream beside the two that are compared. It is a hint and no more: an entry
counts only where file and object both are still what they were, and without the file everything is asked for again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Final

from holdfast.policy.syncing import Known

#: The first line; of two equally long ones the second says that the listing went on by key.
_HEAD: Final = "holdfast-sync 2 -\n"
_BY_KEY: Final = "holdfast-sync 2 k\n"
_TOGETHER: Final = 500  #: lines that are written at once
_MOST: Final = 50_000  #: files that may wait for an earlier one that is still on its way


@dataclass(slots=True)
class Slot:
    """A place in the order of what is noted. `line` "" when there is nothing to note."""

    line: str = ""
    open: bool = True


def place(source: str, target: str) -> Path:
    """Return where it is remembered what a sync of these two left equal."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(f"{source}\0{target}".encode(errors="surrogateescape")).hexdigest()
    return home / "holdfast" / "sync" / f"{name[:32]}.known"


class Memory:
    """Reads what was known and, with `write`, writes what is known now. `path` None: neither."""

    def __init__(self, path: Path | None, *, write: bool = True) -> None:
        self.by_key = path is not None and _head(path) == _BY_KEY  #: see `Seen`
        self._path = path
        self._before = _known(_lines(path)) if path is not None else iter(())
        self._ahead = next(self._before, None)
        self._waiting: deque[Slot] = deque()
        self._file: TextIOWrapper | None = None
        self._lines: list[str] = []
        if path is not None and write:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                fd, name = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
                self._name = name
                self._file = os.fdopen(fd, "w", encoding="utf-8", newline="\n")
                self._file.write(_HEAD)

    def every(self, count: int) -> Iterator[str]:
        """See `Seen`."""
        before = _lines(self._path) if self._path is not None else iter(())
        return (line.partition("\t")[0] for line in islice(before, count - 1, None, count))

    def find(self, key: str) -> Known | None:
        """Return what is known of `key`; asked in ascending order."""
        while self._ahead is not None and self._ahead.key < key:
            self._ahead = next(self._before, None)
        return self._ahead if self._ahead is not None and self._ahead.key == key else None

    def note(self, key: str, file: str, stored: str) -> None:
        """Note that they are the same now."""
        line = _line(key, file, stored)
        if self._waiting:
            self._add(Slot(line, open=False))
        elif line and self._file is not None:
            self._write(line)

    def later(self) -> Slot:
        """Return a place for what will be known of the next key; give it to `fill` or `forget`."""
        slot = Slot()
        self._add(slot)
        return slot

    def fill(self, slot: Slot, key: str, file: str, stored: str) -> None:
        """Note what has become known."""
        slot.line, slot.open = _line(key, file, stored), False
        self._flush()

    def forget(self, slot: Slot) -> None:
        """Note nothing there."""
        slot.open = False
        self._flush()

    def keep(self) -> None:
        """Have what was noted take the place of what was known before."""
        self._flush(every=True)
        if self._file is not None and self._path is not None:
            try:
                if self.by_key:
                    self._file.seek(0)
                    self._file.write(_BY_KEY)
                self._file.close()
                Path(self._name).replace(self._path)
            except OSError:
                self.close()
            self._file = None

    def close(self) -> None:
        """Let go of it; what was not kept is forgotten."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                Path(self._name).unlink()
            self._file = None

    def _add(self, slot: Slot) -> None:
        if self._file is None:
            return
        self._waiting.append(slot)
        self._flush()
        if len(self._waiting) > _MOST:
            self._waiting.popleft()
            self._flush()

    def _flush(self, *, every: bool = False) -> None:
        waiting = self._waiting
        while waiting and (every or not waiting[0].open):
            line = waiting.popleft().line
            if line and self._file is not None:
                self._write(line)
        if every:
            self._write_out()

    def _write(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= _TOGETHER:
            self._write_out()

    def _write_out(self) -> None:
        lines, self._lines = self._lines, []
        if self._file is not None:
            try:
                self._file.writelines(lines)
            except OSError:
                self.close()


def _line(key: str, file: str, stored: str) -> str:
    plain = file and stored and not ("\t" in stored or "\n" in stored or "\r" in stored)
    return f"{key}\t{file}\t{stored}\n" if plain else ""


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return file.readline(len(_HEAD))
    except (OSError, UnicodeDecodeError):
        return ""


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines behind the first one; what cannot be read ends them."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            if file.readline() in (_HEAD, _BY_KEY):
                yield from file
    except (OSError, UnicodeDecodeError):
        return


def _known(lines: Iterator[str]) -> Iterator[Known]:
    """Yield what lines say, up to the first that is damaged."""
    for line in lines:
        parts = line.split("\t")
        if len(parts) != 3 or line[-1] != "\n":
            return
        yield Known(parts[0], parts[1], parts[2][:-1])
