"""A disk with two states: what programs see, and what would be left if the power were cut now.

Rules, stricter than real file systems, so that what passes here passes there: writing changes only what is seen;
`File.sync` makes that file's bytes, size and (unless `data_only`) attributes durable, but not its name;
`Folder.sync` makes the names in that folder durable, but not what is behind them. On a loss of power everything else
is gone (`Loss.DROP`), or each unsynced 512-byte block, size, attribute set and name by itself is kept or not, as a
seeded coin falls (`Loss.SUBSET`).
"""
# ruff: noqa: S311 - chance is replayable on purpose

from __future__ import annotations

import itertools
from collections.abc import Iterator
from copy import deepcopy
from enum import StrEnum
from random import Random

BLOCK = 512
_serial = itertools.count(2)


class Loss(StrEnum):
    """What happens to unsynced changes."""

    DROP = "drop"
    SUBSET = "subset"


class File:
    """Bytes with a volatile and a durable state."""

    def __init__(self, mode: int) -> None:
        self.number = next(_serial)
        self.mode = mode
        self.links = 0
        self.modified = 0
        self.data = bytearray()
        self.attributes: dict[str, bytes] = {}
        self._saved = bytearray()
        self._saved_attributes: dict[str, bytes] = {}
        self._dirty: set[int] = set()

    def read(self, offset: int, size: int) -> bytes:
        """Return what programs see."""
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, piece: bytes) -> None:
        """Change what programs see; a hole before `offset` is filled with zeros."""
        if offset > len(self.data):
            self.resize(offset)
        self.data[offset : offset + len(piece)] = piece
        self._touch(offset, offset + len(piece))

    def resize(self, size: int) -> None:
        """Cut or grow (with zeros) what programs see."""
        old = len(self.data)
        if size < old:
            del self.data[size:]
        else:
            self.data.extend(bytes(size - old))
        self._touch(min(old, size), max(old, size))

    def sync(self, *, data_only: bool = False) -> None:
        """Make bytes and size durable, and the attributes unless `data_only`."""
        for block in self._dirty:
            self._save(block)
        _resize(self._saved, len(self.data))
        self._dirty.clear()
        if not data_only:
            self._saved_attributes = dict(self.attributes)

    def lose(self, loss: Loss, chance: Random) -> None:
        """Become what a loss of power leaves."""
        if loss is Loss.SUBSET:
            self._keep_some(chance)
        self.data = bytearray(self._saved)
        self.attributes = dict(self._saved_attributes)
        self._dirty.clear()

    def _keep_some(self, chance: Random) -> None:
        least, most = sorted((len(self._saved), len(self.data)))
        between = {block * BLOCK for block in self._dirty if least < block * BLOCK < most}
        for block in sorted(self._dirty):
            if chance.random() < 0.5:
                self._save(block)
        if self._dirty:
            _resize(self._saved, chance.choice(sorted({least, most} | between)))
        if chance.random() < 0.5:
            self._saved_attributes = dict(self.attributes)

    def _save(self, block: int) -> None:
        start = block * BLOCK
        piece = self.data[start : start + BLOCK]
        if len(self._saved) < start + len(piece):
            _resize(self._saved, start + len(piece))
        self._saved[start : start + len(piece)] = piece

    def _touch(self, start: int, end: int) -> None:
        self._dirty.update(range(start // BLOCK, -(-end // BLOCK)))


class Folder:
    """Names with a volatile and a durable state."""

    def __init__(self, mode: int) -> None:
        self.number = next(_serial)
        self.mode = mode
        self.modified = 0
        self.names: dict[str, Node] = {}
        self.attributes: dict[str, bytes] = {}
        self._saved: dict[str, Node] = {}

    def sync(self) -> None:
        """Make the names durable."""
        self._saved = dict(self.names)

    def lose(self, loss: Loss, chance: Random) -> None:
        """Become what a loss of power leaves; what is behind the names is not touched."""
        if loss is Loss.SUBSET:
            for name in sorted({*self._saved, *self.names}):
                if self._saved.get(name) is not self.names.get(name) and chance.random() < 0.5:
                    self._adopt(name)
        self.names = dict(self._saved)

    def _adopt(self, name: str) -> None:
        if name in self.names:
            self._saved[name] = self.names[name]
        else:
            del self._saved[name]


Node = File | Folder


class Disk:
    """A tree of files and folders whose power can be cut."""

    def __init__(self) -> None:
        self.root = Folder(0o755)
        self._base = deepcopy(self.root)

    def sync(self) -> None:
        """Make everything durable."""
        for node in _walk(self.root):
            node.sync()

    def keep(self) -> None:
        """Remember the present state for `restore`."""
        self._base = deepcopy(self.root)

    def restore(self) -> None:
        """Return to the state that `keep` remembered; a new disk remembers that it is empty."""
        self.root = deepcopy(self._base)

    def lose(self, loss: Loss, seed: int) -> None:
        """Cut the power. The same state and seed leave the same disk."""
        chance = Random(seed)  # replayable on purpose
        lost: set[int] = set()
        for node in self._after(loss, chance):
            if isinstance(node, File) and node.number not in lost:
                lost.add(node.number)
                node.lose(loss, chance)
        for node in _walk(self.root):
            if isinstance(node, File):
                node.links = 0
        for node in _walk(self.root):
            if isinstance(node, Folder):
                for child in node.names.values():
                    if isinstance(child, File):
                        child.links += 1

    def _after(self, loss: Loss, chance: Random) -> Iterator[Node]:
        """Cut folders from the root down, so that only what is still reachable is visited."""
        left: list[Folder] = [self.root]
        while left:
            folder = left.pop()
            folder.lose(loss, chance)
            for _, node in sorted(folder.names.items()):
                if isinstance(node, Folder):
                    left.append(node)
                yield node


def _walk(folder: Folder) -> Iterator[Node]:
    yield folder
    for node in folder.names.values():
        if isinstance(node, Folder):
            yield from _walk(node)
        else:
            yield node


def _resize(data: bytearray, size: int) -> None:
    if len(data) > size:
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))
