"""The order of a form: a field counts for the files after it, so one behind the last file has come too late.

The end of a file is told only when it is known what follows, so that nothing is stored on a misunderstanding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Final

from holdfast.api.forms import FormError, FormPart

FILES: Final = ("file", "files", "file[]", "files[]")
_HELD: Final = 1 << 20  #: bytes of fields that may stand between two files
_EACH: Final = 256  #: what a held field costs beside its bytes


def is_file(part: FormPart) -> bool:
    """Tell whether a part of a form is a file."""
    return part.filename is not None or part.name in FILES


async def ordered(parts: AsyncIterator[FormPart], late: Collection[str]) -> AsyncIterator[FormPart]:
    """Yield `parts`; when one of the fields `late` stands behind the last file, that file ends with the error.

    Raises:
        FormError: so it is; also when nobody reads the file to its end.
    """
    order = _Order(parts, late)
    while (part := await order.following()) is not None:
        yield part


class _Order:
    """Parts of a form, and those that were read ahead."""

    def __init__(self, parts: AsyncIterator[FormPart], late: Collection[str]) -> None:
        self._parts = parts
        self._late = late
        self._held: deque[FormPart] = deque()
        self._after_file = False

    async def following(self) -> FormPart | None:
        """Return the next part, None at the end."""
        await self._look_ahead()
        part = self._held.popleft() if self._held else await anext(self._parts, None)
        if part is None or not is_file(part):
            return part
        self._after_file = True
        return replace(part, chunks=self._file(part))

    async def _file(self, part: FormPart) -> AsyncIterator[bytes]:
        async for chunk in part.chunks:
            yield chunk
        await self._look_ahead()

    async def _look_ahead(self) -> None:
        """Read the fields behind a file, up to the next file."""
        if not self._after_file:
            return
        self._after_file = False
        size = 0
        while (part := await anext(self._parts, None)) is not None:
            if is_file(part):
                self._held.append(part)
                return
            content = (await part.text()).encode()
            size += len(content) + _EACH
            if size > _HELD:
                raise FormError(f"the form has more than {_HELD} bytes of fields behind a file")
            self._held.append(replace(part, chunks=_once(content)))
        for part in self._held:
            if part.name in self._late:
                raise FormError(
                    f"the form field {part.name!r} comes after the last file, where it says nothing of it: "
                    "send it before the file; that file was not stored"
                )


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
