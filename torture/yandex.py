"""A store on Yandex.Disk in a storm of faults, against a model of what was acknowledged.

Workers put, read, copy, list and delete at once through the usual layers, while the fake service breaks off, answers
late, loses answers, ends tokens and links, and damages bytes. What a call has acknowledged must be there, unchanged;
what failed may be there or not, whole; no call may take for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from holdfast.backends.yandex_disk import YandexDiskBackend, YandexDiskSettings, open_yandex_disk
from holdfast.core.backend import Backend
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.notes import MemoryNotes
from holdfast.core.types import ByteRange
from holdfast.layers.stack import StackSettings, build
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk

_WORKERS = 8
_NAMES = 12
_PATIENCE = 120.0  #: real seconds; on the store's own clock more than six hours
_RATE = 0.12
_FASTER = 200


@dataclass(slots=True)
class Storm:
    """What came out."""

    faults: int = 0
    calls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  #: bytes that nobody wrote
    lost: list[str] = field(default_factory=list)  #: acknowledged, and not there
    hung: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  #: errors that are none of ours

    @property
    def sound(self) -> bool:
        """Whether every promise held."""
        return not (self.wrong or self.lost or self.hung or self.foreign)


class Fast(SystemClock):
    """A clock on which every wait takes a two-hundredth of its time, so that waits still end in their order."""

    def monotonic(self) -> float:
        return super().monotonic() * _FASTER

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / _FASTER)


class _Model:
    """What each name may hold: digests of contents, None for nothing."""

    def __init__(self) -> None:
        self.may: dict[str, set[bytes | None]] = {}
        self.sizes: dict[bytes, int] = {}

    def of(self, name: str) -> set[bytes | None]:
        """Return what may be under a name."""
        return self.may.setdefault(name, {None})

    def learn(self, data: bytes) -> bytes:
        """Return the digest of a content, and remember its size."""
        digest = hashlib.sha256(data).digest()
        self.sizes[digest] = len(data)
        return digest


def storm(seed: int, faults: int, *, rate: float = _RATE) -> Storm:
    """Return how `faults` faults were borne; the same seed makes the same plan."""
    with FakeYandexDisk() as fake:
        return asyncio.run(_storm(fake, seed, faults, rate))


def report(trials: int, seed: int, faults: int) -> bool:
    """Run storms of `faults` in all, print what came out, and return whether all was well."""
    sound = True
    for number in range(trials):
        share = faults // trials + (number < faults % trials)
        found = storm(seed + number, share)
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(found.kinds.items()))
        print(f"yandex seed {seed + number}: {found.faults} faults ({told}) in {found.calls} calls")  # noqa: T201
        errors = ", ".join(f"{kind} {count}" for kind, count in sorted(found.errors.items())) or "none"
        print(  # noqa: T201
            f"  errors told: {errors}; wrong bytes: {len(found.wrong)}, acknowledged and lost: {len(found.lost)},"
            f" calls that hung: {len(found.hung)}, foreign errors: {len(found.foreign)}"
        )
        for text in (*found.wrong, *found.lost, *found.hung, *found.foreign):
            print(f"  {text}")  # noqa: T201
        sound = sound and found.sound
    return sound


async def _storm(fake: FakeYandexDisk, seed: int, faults: int, rate: float) -> Storm:
    found = Storm()
    environment = Environment(clock=Fast(), random=random.Random(seed))  # noqa: S311
    notes = MemoryNotes()
    settings = YandexDiskSettings.model_validate(fake.settings(upload_concurrency=6))
    stores: list[YandexDiskBackend] = [
        open_yandex_disk("disk", settings, environment=environment, notes=notes) for _ in range(2)
    ]
    stacks = [build(store, StackSettings(), environment=environment) for store in stores]
    fake.faults.storm(seed, rate=rate, most=faults)
    try:
        model = _Model()
        async with asyncio.TaskGroup() as group:
            for number in range(_WORKERS):
                chance = random.Random(seed * 1_000 + number)  # noqa: S311
                worker = _Worker(stacks[number % 2], f"t/{number}", chance, found, model)
                group.create_task(worker.work(lambda: fake.faults.total < faults))
        found.faults, found.kinds = fake.faults.total, Counter(map(str, fake.faults.happened.elements()))
        fake.faults.clear()
        await _look(stacks[0], model, found)
    finally:
        for stack in stacks:
            await stack.close()
    return found


class _Worker:
    """One user of the store, with names of its own."""

    def __init__(
        self, store: Backend, start: str, chance: random.Random, found: Storm, model: _Model
    ) -> None:
        self._store, self._start, self._chance = store, start, chance
        self._found, self._model = found, model

    async def work(self, goes_on: Callable[[], bool]) -> None:
        """Do one thing after the other."""
        while goes_on() and not self._found.hung:
            name = f"{self._start}/{self._chance.randrange(3)}/{self._chance.randrange(_NAMES)}.mp4"
            step = self._chance.choices(
                (self._put, self._get, self._range, self._delete, self._copy, self._list, self._discard),
                (5, 5, 2, 2, 1, 1, 1),
            )[0]
            self._found.calls += 1
            try:
                async with asyncio.timeout(_PATIENCE):
                    await step(name)
            except TimeoutError:
                self._found.hung.append(f"{step.__name__} {name}")
            except HoldfastError as error:
                self._found.errors[error.code] += 1
            except Exception as error:
                self._found.foreign.append(f"{step.__name__} {name}: {type(error).__name__}: {error}")

    async def _put(self, name: str) -> None:
        data = self._chance.randbytes(self._chance.choice((0, 1, 1000, 70_000, 700_000)))
        body = Body.of_bytes(data)
        if self._chance.random() < 0.3:
            body = Body.of_stream([data[at : at + 50_000] for at in range(0, len(data), 50_000)])
        await self._change(name, self._model.learn(data), self._store.put(name, body))

    async def _delete(self, name: str) -> None:
        await self._change(name, None, self._store.delete(name))

    async def _discard(self, name: str) -> None:
        await self._change(name, None, self._store.discard(name))

    async def _copy(self, name: str) -> None:
        source = f"{self._start}/{self._chance.randrange(3)}/{self._chance.randrange(_NAMES)}.mp4"
        may = self._model.of(source)
        if len(may) != 1 or source == name:
            return
        (held,) = may
        try:
            await self._change(name, held, self._store.copy(source, name))
        except NotFoundError:
            if held is not None:
                self._found.lost.append(f"{source}: a copy did not find it")

    async def _change(self, name: str, to: bytes | None, doing: Awaitable[object]) -> None:
        """Do it: before it ends either may be there, after success only the new one."""
        may = self._model.of(name)
        self._model.may[name] = {*may, to}
        await doing
        self._model.may[name] = {to}

    async def _get(self, name: str) -> None:
        try:
            async with self._store.get(name) as reader:
                digest: bytes | None = hashlib.sha256(await reader.read()).digest()
        except NotFoundError:
            digest = None
        self._judge(name, digest)

    async def _range(self, name: str) -> None:
        may = self._model.of(name)
        sizes = [self._model.sizes[one] for one in may if one is not None]
        if None in may or min(sizes, default=0) < 1000:
            return
        async with self._store.get(name, range=ByteRange(100, 899)) as reader:
            data = await reader.read()
        if len(data) != 800:
            self._found.wrong.append(f"{name}: {len(data)} bytes of a range of 800")

    async def _list(self, name: str) -> None:
        prefix = name.rpartition("/")[0] + "/"
        before = {one: set(may) for one, may in self._model.may.items() if one.startswith(prefix)}
        listed = [info.name async for info in self._store.list(prefix)]
        if listed != sorted(set(listed)):
            self._found.wrong.append(f"{prefix}: listed twice or out of order")
        for one, may in before.items():
            if None not in may and one not in listed:
                self._found.lost.append(f"{one}: not listed")
            if may == {None} and one in listed:
                self._found.wrong.append(f"{one}: listed although it was deleted")

    def _judge(self, name: str, digest: bytes | None) -> None:
        may = self._model.of(name)
        if digest in may:
            return
        if digest is None:
            self._found.lost.append(f"{name}: not found")
        else:
            self._found.wrong.append(f"{name}: bytes that it cannot have")


async def _look(store: Backend, model: _Model, found: Storm) -> None:
    """Look at everything once the storm is over."""
    listed = {info.name async for info in store.list()}
    for name, may in model.may.items():
        try:
            async with store.get(name) as reader:
                digest: bytes | None = hashlib.sha256(await reader.read()).digest()
        except NotFoundError:
            digest = None
        if digest not in may:
            (found.lost if digest is None else found.wrong).append(f"{name}: after the storm")
        if (digest is not None) != (name in listed):
            found.wrong.append(f"{name}: listed, or not, against what is there")
