"""Contents out of sets, in the order of versions: each file is opened once and read forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack

from holdfast.core.backend import Store
from holdfast.core.errors import CorruptedError, HoldfastError, NotFoundError
from holdfast.core.types import Segment
from holdfast.engine.backups import ages
from holdfast.engine.backups.opening import Frame
from holdfast.engine.backups.packing import Piece
from holdfast.engine.backups.rows import NOWHERE, Stretch, covers
from holdfast.engine.backups.sets import Manifest, opener
from holdfast.engine.context import Context


class _Reading:
    """One file being read forward."""

    def __init__(self, told: str, frames: AsyncIterator[Frame], stack: AsyncExitStack) -> None:
        self.told = told
        self._frames, self._stack = frames, stack
        self._next: Frame | None = None

    def is_past(self, place: tuple[str, int, int]) -> bool:
        """Tell whether it has been read beyond that place."""
        return self._next is not None and _place(self._next) > place

    async def at(self, place: tuple[str, int, int]) -> bytes:
        """Return the bytes of the frame at that place, skipping those before it."""
        while self._next is None or _place(self._next) < place:
            self._next = await anext(self._frames, None)
            if self._next is None:
                raise CorruptedError(f"{self.told} lacks a stretch that the index has there")
        if _place(self._next) != place:
            raise CorruptedError(f"{self.told} lacks a stretch that the index has there")
        return self._next[1]

    async def close(self) -> None:
        await self._stack.aclose()


def _place(frame: Frame) -> tuple[str, int, int]:
    header = frame[0]
    version, position, offset = header.get("v"), header.get("p"), header.get("o")
    if not (isinstance(version, str) and type(position) is int and type(offset) is int):
        raise CorruptedError("a frame of contents does not say of what it is")
    return version, position, offset


class Contents:
    """Reads contents of `sets`, of each one file at a time. Close it in the end."""

    def __init__(
        self,
        context: Context,
        store: Store,
        sets: Mapping[str, Manifest],
        identities: ages.Identities,
    ) -> None:
        self._sets = sets
        self._openers = {name: opener(context, store, one, identities) for name, one in sets.items()}
        self._pieces = {(name, piece.name): piece for name, one in sets.items() for piece in one.data}
        self._open: dict[str, tuple[str, _Reading]] = {}
        self._bad: dict[tuple[str, str], HoldfastError] = {}

    async def segment(
        self, found: Sequence[Stretch], segments: Sequence[Segment], number: int
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of one segment of a version, whose stretches are `found`.

        Raises:
            NotFoundError, CorruptedError: a file is missing or damaged, and is named; or it was never read.
        """
        if not covers(found, segments):
            raise CorruptedError("its contents could not be read when the backup was made")
        for one in found:
            if one.position == number:
                async for payload in self._stretch(one):
                    yield payload

    async def _stretch(self, one: Stretch) -> AsyncIterator[bytes]:
        known = (one.set_id, one.piece)
        if known in self._bad:
            raise _again(self._bad[known])
        offset, end = one.offset, one.offset + one.length
        try:
            while offset < end:
                reading = await self._reading(one, offset)
                payload = await reading.at((one.version, one.position, offset))
                if not 0 < len(payload) <= end - offset:
                    raise CorruptedError(
                        f"{reading.told} is damaged: a frame is not as long as the index says"
                    )
                yield payload
                offset += len(payload)
        except HoldfastError as error:
            if isinstance(error, CorruptedError | NotFoundError):  # whatever else it is may pass
                self._bad[known] = error
            await self._close(one.set_id)
            raise

    async def _reading(self, one: Stretch, offset: int) -> _Reading:
        name, reading = self._open.get(one.set_id, ("", None))
        if (
            reading is not None
            and name == one.piece
            and not reading.is_past((one.version, one.position, offset))
        ):
            return reading
        await self._close(one.set_id)
        piece: Piece | None = self._pieces.get((one.set_id, one.piece))
        if piece is None or one.piece == NOWHERE:
            raise CorruptedError(f"set-{one.set_id} has no file {one.piece!r:.80}, which the index names")
        stack = AsyncExitStack()
        opened = self._openers[one.set_id]
        reading = _Reading(opened.told(piece), await stack.enter_async_context(opened.open(piece)), stack)
        self._open[one.set_id] = (one.piece, reading)
        return reading

    async def _close(self, set_id: str) -> None:
        _, reading = self._open.pop(set_id, ("", None))
        if reading is not None:
            await reading.close()

    async def close(self) -> None:
        """Let go of the files that are open."""
        for set_id in list(self._open):
            await self._close(set_id)


def _again(error: HoldfastError) -> HoldfastError:
    """Return an error to be raised once more: its traceback is that of another raise."""
    return type(error)(error.message, operation=error.operation, store=error.store, name=error.name)
