"""The notes of drivers, kept in the catalog: shared by all processes, sealed where they are secret."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.notes import MAX_VALUE, SEALED
from holdfast.engine.sealing import Sealer

if TYPE_CHECKING:
    from holdfast.catalog.contract import Catalog

_PAGE: Final = 500
_VALUE: Final = "value"


class CatalogNotes:
    """`Notes` of one store. What is secret is sealed for the store and for its own name."""

    def __init__(self, catalog: Catalog, store: str, sealer: Sealer) -> None:
        self._catalog, self._store, self._sealer = catalog, store, sealer

    async def read(self, name: str) -> bytes | None:
        held = await self._catalog.store_note(self._store, name)
        return None if held is None else self._opened(name, held)

    async def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        if new is not None and len(new) > MAX_VALUE:
            raise InvalidRequestError(
                f"a note has at most {MAX_VALUE} bytes, not {len(new)}", store=self._store
            )
        if not name.startswith(SEALED):
            return await self._catalog.swap_store_note(self._store, name, old, new)
        held = await self._catalog.store_note(self._store, name)
        if (None if held is None else self._opened(name, held)) != old:
            return False
        sealed = None if new is None else self._sealed(name, new)
        return await self._catalog.swap_store_note(self._store, name, held, sealed)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        while True:
            page = await self._catalog.store_notes(self._store, prefix=prefix, after=after, limit=_PAGE)
            for name, held in page:
                yield name, self._opened(name, held)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    async def rewrap(self) -> int:
        """Seal what is secret with the first key; return how many notes that changed.

        Raises:
            ConfigError: one cannot be opened.
        """
        changed = 0
        after = ""
        while page := await self._catalog.store_notes(self._store, prefix=SEALED, after=after, limit=_PAGE):
            for name, held in page:
                sealed = self._sealer.rewrap(self._scope(name), held)
                if sealed != held:
                    changed += await self._catalog.swap_store_note(self._store, name, held, sealed)
            after = page[-1][0]
        return changed

    def _opened(self, name: str, held: bytes) -> bytes:
        if not name.startswith(SEALED):
            return held
        value = self._sealer.open(self._scope(name), held).get(_VALUE)
        if not isinstance(value, str):
            raise ConfigError(f"the note {name!r} of store {self._store} holds nothing that can be opened")
        return base64.b64decode(value)

    def _sealed(self, name: str, value: bytes) -> bytes:
        return self._sealer.seal(self._scope(name), {_VALUE: base64.b64encode(value).decode()})

    def _scope(self, name: str) -> str:
        return f"{self._store}/{name}"
