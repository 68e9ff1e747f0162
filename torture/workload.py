"""The load: a few writers and readers on a few keys, everything they do said to the journal before and after.

What a service is asked to do goes through `Client`, so the same load drives the engine in this process and a server
over HTTP. Add a verb: give it a weight and a method.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from holdfast.core.errors import (
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
)
from torture.journal import Journal

BUCKETS = {"plain": False, "kept": True}
KEYS = ("a", "b", "c/d", "c/e")
SIZES = (0, 1, 100, 4096, 5000, 65_536, 65_537, 300_000, 1_048_576, 4_194_304)
WEIGHTS = (4, 4, 20, 20, 20, 8, 8, 6, 3, 1)
_STEP = 512


@dataclass(frozen=True)
class Seen:
    """What a read gave: bytes, and the SHA-256 that the service says they have (None: it does not say)."""

    data: bytes
    sha256: str | None


class Client(Protocol):
    """What the load asks of a service. Errors are the kinds of `holdfast.core.errors`."""

    verbs: frozenset[str]

    async def put(self, bucket: str, key: str, data: bytes) -> str: ...
    async def get(self, bucket: str, key: str) -> Seen: ...
    async def delete(self, bucket: str, key: str) -> None: ...
    async def copy(self, bucket: str, source: str, key: str) -> tuple[str, str | None]:
        """Copy within a bucket; return the version, and the SHA-256 of its bytes if the service says."""
        ...

    async def multipart(
        self, bucket: str, key: str, parts: Sequence[tuple[int, bytes]], *, complete: bool
    ) -> str:
        """Upload the parts in the order given (a number may come twice), then complete or abort."""
        ...

    async def sweep(self) -> None: ...


def body(number: int, size: int) -> bytes:
    """Return bytes of which every 512 tell which body they belong to and where."""
    blocks = (struct.pack("<QQ", number, index) + bytes(_STEP - 16) for index in range(-(-size // _STEP)))
    return b"".join(blocks)[:size]


def content_of(data: bytes) -> str:
    """Return the name of a content: the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Load:
    """Runs `actors` loops against `client` until `operations` were done or the process is gone."""

    client: Client
    journal: Journal
    chance: Random
    first: int = 0  #: where operation numbers begin in this life
    operations: int = 150
    actors: int = 4
    weights: dict[str, int] = field(
        default_factory=lambda: {
            "put": 34,
            "get": 20,
            "delete": 10,
            "copy": 12,
            "multipart": 12,
            "abort": 4,
            "sweep": 8,
        }
    )

    async def run(self) -> None:
        """Return when all operations are done."""
        self._number = self.first
        self._last = self.first + self.operations
        self._verbs = {verb: weight for verb, weight in self.weights.items() if verb in self.client.verbs}
        await asyncio.gather(*(self._loop() for _ in range(self.actors)))

    async def _loop(self) -> None:
        while self._number < self._last:
            self._number += 1
            verb = self.chance.choices(list(self._verbs), list(self._verbs.values()))[0]
            bucket = self.chance.choice(list(BUCKETS))
            await getattr(self, f"_{verb}")(self._number, bucket, self.chance.choice(KEYS))

    async def _put(self, number: int, bucket: str, key: str) -> None:
        data = self._body(number)
        content = self._offer(data)
        with _Asked(self.journal, number, bucket, key, content=content) as asked:
            asked.answer(version=await self.client.put(bucket, key, data), keep=BUCKETS[bucket])

    async def _delete(self, number: int, bucket: str, key: str) -> None:
        with _Asked(self.journal, number, bucket, key, content=None) as asked:
            await self.client.delete(bucket, key)
            asked.answer()

    async def _copy(self, number: int, bucket: str, key: str) -> None:
        source = self.chance.choice(KEYS)
        with _Asked(self.journal, number, bucket, key, source=[bucket, source]) as asked:
            version, content = await self.client.copy(bucket, source, key)
            asked.answer(version=version, keep=BUCKETS[bucket], **({"content": content} if content else {}))

    async def _multipart(self, number: int, bucket: str, key: str) -> None:
        parts = [(part, self._body(number * 10 + part)) for part in range(1, self.chance.randint(1, 3) + 1)]
        content = self._offer(b"".join(data for _, data in parts))
        sent = list(parts)
        if self.chance.random() < 0.5:
            sent.insert(0, (parts[0][0], self._body(number * 10)))  # replaced by other bytes later on
        elif self.chance.random() < 0.5:
            sent.reverse()
        with _Asked(self.journal, number, bucket, key, content=content) as asked:
            asked.answer(
                version=await self.client.multipart(bucket, key, sent, complete=True), keep=BUCKETS[bucket]
            )

    async def _abort(self, number: int, bucket: str, key: str) -> None:
        parts = [(1, self._body(number * 10)), (2, self._body(number * 10 + 1))]
        try:
            await self.client.multipart(bucket, key, parts, complete=False)
        except HoldfastError as error:
            self._unexpected(error)

    async def _get(self, number: int, bucket: str, key: str) -> None:
        self.journal.say("read", op=number, bucket=bucket, key=key)
        try:
            seen = await self.client.get(bucket, key)
        except NotFoundError:
            self.journal.say("saw", op=number, content=None)
            return
        except HoldfastError as error:
            self._unexpected(error)
            return
        content = content_of(seen.data)
        if seen.sha256 is not None and seen.sha256 != content:
            self.journal.say("complain", text=f"torn read of {bucket}/{key}")
        self.journal.say("saw", op=number, content=content)

    async def _sweep(self, number: int, bucket: str, key: str) -> None:
        try:
            await self.client.sweep()
        except HoldfastError as error:
            self._unexpected(error)

    def _unexpected(self, error: HoldfastError) -> None:
        """A passing error is no violation; anything else is."""
        if not error.retryable and not isinstance(error, NotFoundError | ConflictError):
            self.journal.say("complain", text=f"{type(error).__name__}: {error}"[:500])

    def _body(self, number: int) -> bytes:
        return body(number, self.chance.choices(SIZES, WEIGHTS)[0])

    def _offer(self, data: bytes) -> str:
        content = content_of(data)
        self.journal.say("body", content=content, size=len(data))
        return content


class _Asked:
    """Says what is asked, and then what came of it."""

    def __init__(self, journal: Journal, number: int, bucket: str, key: str, **facts: object) -> None:
        self._journal = journal
        self._number = number
        self._where = f"{bucket}/{key}"
        journal.say("ask", op=number, bucket=bucket, key=key, **facts)

    def answer(self, **facts: object) -> None:
        """Say that the answer came."""
        self._journal.say("answer", op=self._number, **facts)

    def __enter__(self) -> _Asked:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, HoldfastError):
            return False
        refused = isinstance(error, NotFoundError | InvalidRequestError)
        self._journal.say(
            "fail", op=self._number, refused=refused, error=f"{type(error).__name__}: {error}"[:500]
        )
        if not refused and not error.retryable and not isinstance(error, ConflictError):
            self._journal.say("complain", text=f"{self._where}: {type(error).__name__}: {error}"[:500])
        return True
