"""A put, from the link to the name under which all can see it; and what is left when it fails."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import Final

from holdfast.backends.yandex_disk import operations
from holdfast.backends.yandex_disk.api import Answer, Api
from holdfast.backends.yandex_disk.errors import NO_PARENT, Where, from_answer
from holdfast.backends.yandex_disk.folders import Folders
from holdfast.backends.yandex_disk.operations import Outcome
from holdfast.backends.yandex_disk.paths import Paths, parent
from holdfast.backends.yandex_disk.resources import Resource, is_there, look
from holdfast.backends.yandex_disk.uploading import Sent, settled, upload
from holdfast.core.body import Body
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptedError,
    HoldfastError,
    NotFoundError,
    UnavailableError,
)

_ROUNDS: Final = 8
_REFUSALS: Final = 3  #: times that the service may say that it does not replace what is there
_TIDYING: Final = 30.0  #: seconds that removing what is left of a failed put may take


class _Move(Enum):
    """What is known of a move. `OPEN`: nothing, it has to be looked at. `REFUSED`: the same, and something is in the way."""

    MADE = auto()
    OPEN = auto()
    REFUSED = auto()


class Writer:
    """Puts, copies and removes files of one store."""

    def __init__(self, api: Api, paths: Paths, folders: Folders) -> None:
        self._api, self._paths, self._folders = api, paths, folders
        self._tidying: set[asyncio.Task[None]] = set()

    async def put(
        self, where: Where, body: Body, *, limit: int | None, if_absent: bool, neutral: bool
    ) -> Resource:
        """Send `body` and return the file that it became; see `Backend.put`."""
        target = self._paths.blob(where.name)
        if not (neutral or if_absent):
            return await self._straight(where, target, body, limit)
        first = self._temporary(where)
        try:
            link = await self._link(where, first, overwrite=False)
            sent = await upload(self._api, where, link, body, limit=limit)
            found = await settled(self._api, where, first, sent)
            await self._publish(where, first, target, _sent(found), if_absent=if_absent)
            return found
        except BaseException as error:
            await self._tidy(where, first, error)
            raise

    async def copy(self, where: Where, source: str) -> Resource:
        """Copy the file at `source` under the name of `where`, and return it."""
        first, target = self._temporary(where), self._paths.blob(where.name)
        try:
            wanted = await look(self._api, where, source)
            await self._copied(where, source, first)
            found = await self._compared(where, source, first, _sent(wanted))
            await self._publish(where, first, target, _sent(found), if_absent=False)
            return found
        except BaseException as error:
            await self._tidy(where, first, error)
            raise

    async def remove(self, where: Where, path: str) -> None:
        """Remove the file at `path`; succeeds when it is not there."""
        params = {"path": path, "permanently": "true" if self._api.settings.permanently else "false"}
        for turn in range(_ROUNDS):
            answer = await self._api.call(where, "DELETE", "/resources", params, bear=(404, 409))
            if answer.status == 409 and answer.code != NO_PARENT:
                raise from_answer(409, answer.code, where)
            if answer.status in (204, 404, 409):
                return
            if answer.status == 202 and await self._operation(where, answer) is Outcome.DONE:
                return
            # Any other answer that sounds like success proves nothing.
            if not await is_there(self._api, where, path):
                return
            await self._api.pause(turn + 1)
        raise where.error(UnavailableError, "the service gives up every removal of it")

    async def close(self) -> None:
        """Wait until what failed puts left is removed, as far as it can be."""
        while self._tidying:
            await asyncio.wait(self._tidying)

    def _temporary(self, where: Where) -> str:
        return self._paths.temporary(where.name, self._api.environment.new_id().replace("-", ""))

    async def _straight(self, where: Where, target: str, body: Body, limit: int | None) -> Resource:
        """Upload to the last name: the service replaces what was there when it has everything."""
        link = await self._link(where, target, overwrite=True)
        sent = await upload(self._api, where, link, body, limit=limit)
        try:
            return await settled(self._api, where, target, sent)
        except CorruptedError:
            await self.remove(where, target)
            raise

    async def _link(self, where: Where, path: str, *, overwrite: bool) -> Answer:
        """Return a link to upload to `path`, whose folder is made when the service says that it is missing."""
        params = {"path": path, "overwrite": "true" if overwrite else "false"}
        for _ in range(_ROUNDS):
            answer = await self._api.call(where, "GET", "/resources/upload", params, bear=(409,))
            if answer.status != 409:
                return answer
            if answer.code != NO_PARENT:
                raise from_answer(409, answer.code, where)
            await self._folders.make(where, parent(path), missing=True)
        raise where.error(UnavailableError, "the folder keeps vanishing")

    async def _copied(self, where: Where, source: str, path: str) -> None:
        params = {"from": source, "path": path, "overwrite": "false"}
        for turn in range(_ROUNDS):
            answer = await self._api.call(where, "POST", "/resources/copy", params, bear=(409,))
            if answer.status == 409 and answer.code == NO_PARENT:
                await self._folders.make(where, parent(path), missing=True)
                continue
            if answer.status == 409 and not await is_there(self._api, where, path):
                raise from_answer(409, answer.code, where)
            # What is there now is ours, from a try whose answer was lost: nobody else has this name.
            if answer.status in (201, 409) or await self._operation(where, answer) is Outcome.DONE:
                return
            if await is_there(self._api, where, path):
                return
            await self._api.pause(turn + 1)
        raise where.error(UnavailableError, "the service gives up every copy of it")

    async def _compared(self, where: Where, source: str, path: str, wanted: Sent) -> Resource:
        """Return the copy at `path` when it is what `source` was."""
        try:
            return await settled(self._api, where, path, wanted)
        except CorruptedError as error:
            if wanted.wrong(await look(self._api, where, source)):
                raise where.error(UnavailableError, "the source was changed while it was copied") from error
            raise

    async def _publish(self, where: Where, first: str, target: str, sent: Sent, *, if_absent: bool) -> None:
        """Move `first` to `target`.

        The name `first` belongs to this put alone, so that it is gone proves that the move was made, whatever was
        answered. When the service does not replace what is there, that stays as it is.
        """
        refusals = 0
        for turn in range(_ROUNDS):
            move = await self._moved(where, first, target, overwrite=not if_absent)
            if move is _Move.MADE:
                return
            if not await is_there(self._api, where, first):
                await self._confirm(where, target, sent)
                return
            if if_absent and await is_there(self._api, where, target):
                raise where.error(AlreadyExistsError, "a blob of that name is already there")
            refusals += move is _Move.REFUSED
            if refusals >= _REFUSALS:
                raise where.error(
                    ConflictError, "the service does not replace what is there, which was left as it was"
                )
            await self._api.pause(turn + 1)
        raise where.error(UnavailableError, "the service gives up every move to the last name")

    async def _moved(self, where: Where, source: str, target: str, *, overwrite: bool) -> _Move:
        """Ask the service to move a file."""
        params = {"from": source, "path": target, "overwrite": "true" if overwrite else "false"}
        answer = await self._api.call(where, "POST", "/resources/move", params, bear=(404, 409))
        if answer.status == 409 and answer.code == NO_PARENT:
            await self._folders.make(where, parent(target), missing=True)
            return _Move.OPEN
        if answer.status == 202 and await self._operation(where, answer) is Outcome.DONE:
            return _Move.MADE
        # Any other answer that sounds like success proves nothing.
        return {201: _Move.MADE, 409: _Move.REFUSED}.get(answer.status, _Move.OPEN)

    async def _confirm(self, where: Where, target: str, sent: Sent) -> None:
        """Return when the target has what was sent; with another put of the name at the same time it may not."""
        try:
            found = await look(self._api, where, target)
        except NotFoundError:
            raise where.error(UnavailableError, "what was uploaded is not where it was moved to") from None
        if sent.wrong(found):
            raise where.error(
                ConflictError, "somebody else has put other bytes under the name at the same time"
            )

    async def _operation(self, where: Where, answer: Answer) -> Outcome:
        within = self._api.settings.operation_timeout
        return await operations.ended(self._api, where, operations.operation_of(answer), within=within)

    async def _tidy(self, where: Where, path: str, error: BaseException) -> None:
        """Remove what a failed put left; of a cancelled one in the background, so that it ends at once."""
        task = asyncio.ensure_future(self._swept(where, path))
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
        if not isinstance(error, asyncio.CancelledError):
            await asyncio.shield(task)

    async def _swept(self, where: Where, path: str) -> None:
        with contextlib.suppress(HoldfastError, TimeoutError):
            async with asyncio.timeout(_TIDYING):
                await self.remove(where, path)


def _sent(found: Resource) -> Sent:
    return Sent(found.size, found.md5, found.sha256)
