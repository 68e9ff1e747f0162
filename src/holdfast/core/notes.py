"""What a driver remembers between runs and shares with other processes: small values by name, of one store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

SEALED: Final = "secret/"  #: values whose names begin so are kept sealed
MAX_VALUE: Final = 64 << 10  #: bytes of a value


class Notes(Protocol):
    """A small table with compare-and-swap. A driver that is opened without a catalog gets `MemoryNotes`."""

    async def read(self, name: str) -> bytes | None:
        """Return the value of `name`, None when there is none.

        Raises:
            UnavailableError: what keeps them does not answer. ConfigError: it is sealed with a key that is missing.
        """
        ...

    async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Make `name` be `new`, if it is `old`; None stands for no value. Return False, and change nothing, if it is not.

        When it has returned, the change survives the loss of power. An error leaves open whether it was made: read.
        """
        ...

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Yield names and values, in byte order of names, that start with `prefix` and are greater than `after`."""
        ...


class MemoryNotes:
    """Notes that end with the process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def read(self, name: str) -> bytes | None:
        return self._values.get(name)

    async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        if self._values.get(name) != old:
            return False
        if new is None:
            self._values.pop(name, None)
        else:
            self._values[name] = new
        return True

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for name in sorted(self._values, key=str.encode):
            if name.startswith(prefix) and name.encode() > after.encode() and name in self._values:
                yield name, self._values[name]
