"""Which contents each key may have, given what was asked and what was answered.

Per key: an operation that was answered has happened between its question and its answer; one that was not answered has
happened then, or later, or not at all. A reader may see an operation unless another one, answered and asked after the
first had ended, must have replaced it. Contents are named by the SHA-256 of their bytes; None is "nothing there".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torture.journal import Event

Key = tuple[str, str]  #: bucket, key
Content = str | None
_NEVER = 1 << 60


@dataclass
class Operation:
    """One write. `ended` is when the answer, or the error, came; `source` is set for copies."""

    key: Key
    asked: int
    content: Content = None
    source: Key | None = None
    ended: int = _NEVER
    answered: bool = False
    version: str | None = None
    refused: bool = False  #: answered with "no": it did not happen


@dataclass
class Read:
    """One read that was answered in the load itself."""

    key: Key
    asked: int
    ended: int
    content: Content


@dataclass
class Model:
    """Everything that was said, over all lives of the service."""

    operations: dict[int, Operation] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  #: every content ever offered
    before: dict[Key, Content] = field(default_factory=dict)  #: what a key held when this life began
    kept: dict[str, tuple[Key, str]] = field(default_factory=dict)  #: answered versions that must stay
    complaints: list[str] = field(default_factory=list)  #: what the load itself found wrong
    answered: int = 0
    _time: int = 0
    _reading: dict[int, tuple[Key, int]] = field(default_factory=dict)

    def hear(self, events: Iterable[Event]) -> None:
        """Take in what the load said, in order."""
        for event in events:
            self._time += 1
            handler = getattr(self, f"_on_{event['what']}", None)
            if handler is not None:
                handler(event)

    def settle(self, found: dict[Key, Content]) -> None:
        """Begin a new life in which each key holds what was found: what was unanswered has happened or never will."""
        self.before = dict(found)
        self.operations.clear()
        self.reads.clear()
        self._reading.clear()

    def allowed(self, key: Key, start: int = _NEVER, end: int = _NEVER) -> set[Content]:
        """Return what a read of `key` between `start` and `end` may see; without them, a read after everything."""
        return self._allowed(key, start, end, frozenset())

    def keys(self) -> set[Key]:
        """Return every key that was ever written to."""
        return {operation.key for operation in self.operations.values()} | set(self.before)

    def wrong_reads(self) -> list[str]:
        """Return what reads in the load saw and should not have."""
        return [
            f"a read of {read.key} saw {_short(read.content)}"
            for read in self.reads
            if read.content not in self.allowed(read.key, read.asked, read.ended)
        ]

    def _allowed(self, key: Key, start: int, end: int, seen: frozenset[int]) -> set[Content]:
        writes = {
            number: operation
            for number, operation in self.operations.items()
            if operation.key == key and operation.asked < end and not operation.refused
        }
        done = [
            operation.asked for operation in writes.values() if operation.answered and operation.ended < start
        ]
        newest = max(done, default=-1)
        found: set[Content] = set() if done else {self.before.get(key)}
        for number, operation in writes.items():
            if operation.ended >= newest and number not in seen:
                found |= self._contents(operation, seen | {number})
        return found

    def _contents(self, operation: Operation, seen: frozenset[int]) -> set[Content]:
        if operation.source is None or operation.content is not None:
            return {operation.content}
        return self._allowed(operation.source, operation.asked, operation.ended, seen) - {None}

    # -- events -------------------------------------------------------------------------------------------------
    def _on_body(self, event: Event) -> None:
        self.sizes[event["content"]] = event["size"]

    def _on_ask(self, event: Event) -> None:
        source = tuple(event["source"]) if event.get("source") else None
        self.operations[event["op"]] = Operation(
            (event["bucket"], event["key"]), self._time, event.get("content"), source
        )

    def _on_answer(self, event: Event) -> None:
        operation = self.operations[event["op"]]
        operation.ended, operation.answered = self._time, True
        operation.version = event.get("version")
        operation.content = event.get("content", operation.content)
        self.answered += 1
        if event.get("keep") and operation.version and operation.content:
            self.kept[operation.version] = (operation.key, operation.content)

    def _on_fail(self, event: Event) -> None:
        operation = self.operations[event["op"]]
        operation.ended = self._time
        operation.refused = bool(event.get("refused"))

    def _on_read(self, event: Event) -> None:
        self._reading[event["op"]] = ((event["bucket"], event["key"]), self._time)

    def _on_saw(self, event: Event) -> None:
        key, asked = self._reading.pop(event["op"])
        self.reads.append(Read(key, asked, self._time, event["content"]))
        self.answered += 1

    def _on_complain(self, event: Event) -> None:
        self.complaints.append(event["text"])


def _short(content: Content) -> str:
    return "nothing" if content is None else content[:12]
