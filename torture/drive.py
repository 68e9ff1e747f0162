"""A storm over the fake Google Drive: faults at every kind of call, while several writers put, read, list and delete.

Two backends share one set of notes, as two processes would. Each writer owns some names, so that it knows what must be
there; some names belong to all. No real time passes: pauses move the clock of the fake, too.
"""
# ruff: noqa: T201 - this is a program: it prints

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from holdfast.backends.google_drive import GoogleDriveBackend, GoogleDriveSettings, open_google_drive
from holdfast.core.backend import Backend, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import AlreadyExistsError, HoldfastError, NotFoundError
from holdfast.core.notes import MemoryNotes
from holdfast.core.types import ByteRange
from holdfast.layers.retry import Retry, RetrySettings
from holdfast.testing.fakes.google_drive import Asked, FakeDrive, Fault, Item, fake_drive

WRITERS: Final = 6
NAMES: Final = 5
OPERATION_SECONDS: Final = 60.0  #: of real time: whoever takes longer hangs
_STEP: Final = 256 << 10
_RATE: Final = 0.22
_ANY: Final = (
    *(Fault("refuse", status=503), Fault("refuse", status=500, reason="internalError"), Fault("drop")),
    *(Fault("lose"), Fault("lose"), Fault("garble"), Fault("expire")),
    Fault("refuse", status=403, reason="userRateLimitExceeded"),
    Fault("refuse", status=403, reason="rateLimitExceeded"),
    Fault("refuse", status=429, reason="rateLimitExceeded", retry_after=2),
    Fault("refuse", status=404, reason="notFound"),
)
_OWN: Final = {
    "media": (Fault("half"),) * 4,
    "multipart": (Fault("take_half"), Fault("lose")),
    "session": (Fault("take_half"), Fault("keep_fewer"), Fault("keep_fewer"), Fault("forget"), Fault("lose")),
}
_NOT_MISSING: Final = frozenset({"get", "media", "delete", "copy", "update", "create", "multipart", "begin"})


@dataclass(slots=True)
class Result:
    """What came of a storm."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  #: bytes that nobody wrote, or that were replaced
    lost: list[str] = field(default_factory=list)  #: what was acknowledged and is not there
    hung: list[str] = field(default_factory=list)
    left: int = 0  #: files in Drive after every name was discarded
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether every promise held."""
        return not (self.wrong or self.lost or self.hung or self.left)

    def told(self) -> str:
        """Return it in a few lines."""
        met = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.operations.items()))
        failed = ", ".join(f"{name} {count}" for name, count in sorted(self.failed.items()))
        lines = [
            f"seed {self.seed}: {self.faults.total()} faults in {self.seconds:.1f} s ({met})",
            f"  operations: {done}",
            f"  that failed with an error: {failed or 'none'}",
            f"  wrong bytes {len(self.wrong)}, acknowledged and lost {len(self.lost)}, hangs {len(self.hung)},"
            f" files left behind {self.left}",
        ]
        return "\n".join([*lines, *(f"  {text}" for text in (*self.wrong, *self.lost, *self.hung)[:10])])


class Storm:
    """Chooses what goes wrong, until `count` faults were met."""

    def __init__(self, chance: random.Random, count: int, met: Counter[str]) -> None:
        self._chance, self._left, self._met = chance, count, met

    @property
    def over(self) -> bool:
        """Whether the weather is fine again."""
        return self._left <= 0

    def __call__(self, asked: Asked) -> Fault | None:
        if self.over or self._chance.random() >= _RATE:
            return None
        fault = self._chance.choice((*_ANY, *_OWN.get(asked.what, ())))
        if fault.status == 404 and fault.kind == "refuse" and asked.what in _NOT_MISSING:
            return None  # a file that is said to be gone is gone: Google's word is all there is
        self._left -= 1
        self._met[f"{fault.kind} {fault.status}" if fault.kind == "refuse" else fault.kind] += 1
        return fault


class Writer:
    """Works on names of its own, and knows for each what may be there."""

    def __init__(
        self, number: int, backends: list[Backend], fake: FakeDrive, result: Result, seed: int
    ) -> None:
        self._number, self._backends, self._fake, self._result = number, backends, fake, result
        self._chance = random.Random(seed * 1009 + number)  # noqa: S311
        self.may: dict[str, set[bytes | None]] = {
            f"tenant-{number}/2026112100/{at}": {None} for at in range(NAMES)
        }

    async def work(self, storm: Storm) -> None:
        """Do one thing after another until the storm is over."""
        while not storm.over:
            act = self._chance.choice(
                ("put", "put", "put", "get", "get", "head", "delete", "copy", "list", "cancel", "plant")
            )
            self._result.operations[act] += 1
            try:
                async with asyncio.timeout(OPERATION_SECONDS):
                    await getattr(self, f"_{act}")(self._chance.choice(list(self.may)))
            except TimeoutError:
                self._result.hung.append(f"{act} by writer {self._number}")
                return
            except HoldfastError as error:
                self._result.failed[f"{act}: {error.code}"] += 1

    async def check(self, backend: Backend) -> None:
        """Look at every name in fine weather."""
        listed = {info.name async for info in backend.list(f"tenant-{self._number}/")}
        for name, may in self.may.items():
            try:
                found: bytes | None = await self._read(backend, name)
            except NotFoundError:
                found = None
            self._judge(name, found, "at the end")
            if (name in listed) != (found is not None) and len(may) == 1:
                self._result.wrong.append(f"{name} is listed and not there, or the other way round")

    def _one(self) -> Backend:
        return self._chance.choice(self._backends)

    def _content(self) -> bytes:
        size = self._chance.choice((0, 1, 1000, 70_000, _STEP, 3 * _STEP, 3 * _STEP + 77, 5 * _STEP))
        return self._chance.randbytes(size)

    def _body(self, data: bytes) -> Body:
        if self._chance.random() < 0.6:
            return Body.of_bytes(data)
        return Body.of_stream([data[at : at + 50_000] for at in range(0, len(data), 50_000)])

    async def _put(self, name: str) -> None:
        data, if_absent = self._content(), self._chance.random() < 0.2
        options = PutOptions(metadata={"size": str(len(data))})
        try:
            info = await self._one().put(name, self._body(data), options=options, if_absent=if_absent)
        except AlreadyExistsError:
            if self.may[name] == {None}:
                self._result.wrong.append(f"{name} was free, and if_absent was refused")
            return
        if info.size != len(data):
            self._result.wrong.append(f"{name}: put told {info.size} bytes")
        self.may[name] = {data}

    async def _cancel(self, name: str) -> None:
        data = self._content()
        putting = asyncio.ensure_future(self._one().put(name, self._body(data)))
        for _ in range(self._chance.randrange(1, 60)):
            await asyncio.sleep(0)
        putting.cancel()
        with contextlib.suppress(asyncio.CancelledError, HoldfastError):
            await putting
            self.may[name] = {data}
            return
        self.may[name] = self.may[name] | {data}

    async def _read(self, backend: Backend, name: str) -> bytes:
        async with backend.get(name) as reader:
            return await reader.read()

    async def _get(self, name: str) -> None:
        backend = self._one()
        whole = next(iter(self.may[name])) if len(self.may[name]) == 1 else None
        if whole and self._chance.random() < 0.4:
            first = self._chance.randrange(len(whole))
            last = self._chance.randrange(first, len(whole) + 10)
            async with backend.get(name, range=ByteRange(first, last)) as reader:
                if await reader.read() != whole[first : last + 1]:
                    self._result.wrong.append(f"{name}: bytes {first} to {last}")
            return
        try:
            found: bytes | None = await self._read(backend, name)
        except NotFoundError:
            found = None
        self._judge(name, found, "while it stormed")

    async def _head(self, name: str) -> None:
        try:
            info = await self._one().head(name)
        except NotFoundError:
            self._judge(name, None, "in head")
            return
        if info.size not in {len(one) for one in self.may[name] if one is not None}:
            self._result.wrong.append(f"{name}: head told {info.size} bytes")

    async def _delete(self, name: str) -> None:
        before = self.may[name]
        self.may[name] = before | {None}
        backend = self._one()
        await (backend.discard(name) if self._chance.random() < 0.3 else backend.delete(name))
        self.may[name] = {None} | self._planted(name)

    async def _copy(self, name: str) -> None:
        target = self._chance.choice(list(self.may))
        if target == name:
            return
        try:
            await self._one().copy(name, target)
        except NotFoundError:
            if None not in self.may[name]:
                self._result.lost.append(f"{name}: not there to be copied")
            return
        self.may[target] = {one for one in self.may[name] if one is not None}

    async def _list(self, name: str) -> None:
        prefix = f"tenant-{self._number}/"
        listed = [info.name async for info in self._one().list(prefix)]
        if listed != sorted(set(listed)):
            self._result.wrong.append(f"{prefix}: not in order")
        for own, may in self.may.items():
            if None not in may and own not in listed:
                self._result.lost.append(f"{own}: not listed")
            if may == {None} and own in listed:
                self._result.wrong.append(f"{own}: listed, and not there")

    async def _plant(self, name: str) -> None:
        """Let a stranger copy a file with all that it says of itself."""
        if len(self.may[name]) != 1 or self.may[name] == {None} or self._chance.random() < 0.5:
            return
        state = self._fake.state
        for item in list(state.items.values()):
            if item.name == name and item.gone is None and not item.trashed:
                twin = Item(state.new_id(), name, item.mime_type, list(item.parents), item.owner, item.drive)
                twin.app_properties = dict(item.app_properties)
                state.fill(twin, item.path.read_bytes() if item.path else item.data)
                state.put(twin)
                return

    def _planted(self, name: str) -> set[bytes | None]:
        """Return what lies in Drive under a name that was deleted: a stranger's copies, which count as found."""
        items = [one for one in self._fake.state.items.values() if one.name == name and one.gone is None]
        return {one.path.read_bytes() if one.path else one.data for one in items}

    def _judge(self, name: str, found: bytes | None, when: str) -> None:
        if found in self.may[name] or found in self._planted(name):
            return
        if found is None:
            self._result.lost.append(f"{name} {when}")
        else:
            self._result.wrong.append(f"{name} {when}: {len(found)} bytes that should not be there")


async def storm(seed: int, faults: int) -> Result:
    """Return what came of `faults` faults."""
    result, began = Result(seed), time.monotonic()
    clock = ManualClock()
    chance = random.Random(seed)  # noqa: S311
    async with fake_drive(clock=clock, seed=seed) as fake:
        notes, drivers = MemoryNotes(), []
        settings = _settings(fake)
        for number in range(2):
            environment = Environment(clock, random.Random(seed * 31 + number))  # noqa: S311
            drivers.append(open_google_drive("drive", settings, environment=environment, notes=notes))
        backends: list[Backend] = [
            Retry(driver, environment=Environment(clock, chance), settings=RetrySettings(budget=1e9))
            for driver in drivers
        ]
        try:
            await _rage(seed, faults, fake, backends, drivers, result)
        finally:
            for driver in drivers:
                await driver.close()
    result.seconds = time.monotonic() - began
    return result


async def _rage(
    seed: int,
    faults: int,
    fake: FakeDrive,
    backends: list[Backend],
    drivers: list[GoogleDriveBackend],
    result: Result,
) -> None:
    weather = Storm(random.Random(seed + 7), faults, result.faults)  # noqa: S311
    writers = [Writer(number, backends, fake, result, seed) for number in range(WRITERS)]
    fake.state.lag = 3.0 if seed % 2 else 0.0
    fake.state.page = 7
    fake.faults.storm = weather
    await asyncio.gather(*(writer.work(weather) for writer in writers))
    fake.faults.storm = None
    fake.state.clock.advance(3600 * 24 * 2)  # type: ignore[attr-defined]
    for writer in writers:
        await writer.check(drivers[seed % 2])
    for writer in writers:
        for name in writer.may:
            for driver in drivers:
                await driver.discard(name)
    for name in [info.name async for info in drivers[0].list()]:
        await drivers[0].discard(name)
    fake.state.clock.advance(10)  # type: ignore[attr-defined]
    left = [item for item in fake.state.items.values() if not item.folder and item.gone is None]
    result.left = len(left)


def _settings(fake: FakeDrive) -> GoogleDriveSettings:
    person = fake.state.add_person("me@example.org")
    consent = fake.granting.add_consent(person.email, client_id="client", client_secret="secret")  # noqa: S106
    return GoogleDriveSettings.model_validate(
        {
            "folder_id": fake.state.add_folder(person.root),
            "client_id": "client",
            "client_secret": "secret",
            "refresh_token": consent,
            "api_base": fake.api_base,
            "upload_base": fake.upload_base,
            "token_url": fake.token_url,
            "allow_http": True,
            "chunk_size": _STEP,
            "single_request": 100_000,
        }
    )


def report(faults: int, seed: int, *, replay: int | None = None, each: int = 500) -> bool:
    """Run storms of `each` faults until `faults` were met, and print what came of them."""
    seeds = (
        [replay]
        if replay is not None
        else [seed * 1_000_003 + at for at in range(max(1, -(-faults // each)))]
    )
    sound, met = True, 0
    for one in seeds:
        result = asyncio.run(storm(one, min(each, faults)))
        met += result.faults.total()
        sound = sound and result.sound
        print(result.told())
        sys.stdout.flush()
    print(f"{met} faults in all: {'every promise held' if sound else 'PROMISES WERE BROKEN'}")
    return sound
