"""Copies that the service makes, inside an account or from another one: asked for once, then waited for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from math import ceil
from typing import Final

from holdfast.backends.object_store.azure import blocks
from holdfast.backends.object_store.azure.address import Address
from holdfast.backends.object_store.azure.client import Client, strange
from holdfast.backends.object_store.azure.credentials import SharedAccess
from holdfast.backends.object_store.azure.errors import from_answer
from holdfast.backends.object_store.azure.links import WEEK, Links
from holdfast.backends.object_store.azure.signing import encode_query
from holdfast.backends.object_store.errors import Where
from holdfast.core.errors import (
    ConflictError,
    DeadlineError,
    HoldfastError,
    NotFoundError,
    PreconditionFailedError,
    UnsupportedError,
)
from holdfast.core.types import BlobInfo

_COPY_SECONDS: Final = 60.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_MOST_URL: Final = 2048
_SPARE: Final = 900  #: seconds that a link for the source outlives the longest wait, for clocks that differ
_SAID: Final = re.compile(r"\s*([45]\d\d)\b")  #: how the description of a copy that failed begins


async def own_source(client: Client, key: str, address: Address | None = None) -> str:
    """Return the URL of a source in our account, in our container if no `address` is given.

    Our credential is in it when that is how requests are allowed.
    """
    address = address or client.address
    url = f"{address.origin}{address.path(key)}"
    credential = await client.source.current()
    if isinstance(credential, SharedAccess):
        return f"{url}?{encode_query(list(credential.fields))}"
    return url


async def lent_source(client: Client, links: Links, where: Where, key: str, *, patience: float) -> str:
    """Return the URL of a source in the words of its own store, for somebody whom it allows nothing else.

    It lasts a little longer than a copy that takes `patience` seconds.
    """
    if isinstance(await client.source.current(), SharedAccess):
        return await own_source(client, key)
    seconds = min(WEEK, ceil(patience) + _SPARE)
    return (await links.sign(where, key, "r", seconds=seconds, public=False))[0]


async def copy(
    client: Client, where: Where, source: str, target: str, info: BlobInfo, headers: Mapping[str, str]
) -> None:
    """Make `target` a copy of the blob at the URL `source`, which `info` describes; metadata and properties go along.

    Within an account the service is nearly always done when it answers. Where it is not, the unfinished target is
    removed again if the copy fails, is cancelled, or takes longer than `copy_timeout`.

    Raises:
        NotFoundError, PermissionDeniedError: the source is not there, or the service may not read it.
        UnsupportedError: its URL is longer than the service takes.
        DeadlineError: it took too long. UnavailableError: the source was changed meanwhile.
    """
    if len(source) > _MOST_URL:
        raise UnsupportedError(
            f"the source's address has more than the {_MOST_URL:,} bytes that the store takes",
            operation=where.operation,
            store=where.store,
            name=where.name,
        )
    wanted = {**headers, "x-ms-copy-source": source}
    if info.etag:
        wanted["x-ms-source-if-match"] = f'"{info.etag}"'
    try:
        answer = await client.call(where, "PUT", target, headers=wanted, patience=_COPY_SECONDS, done=202)
        found: Mapping[str, str] = answer.headers
    except PreconditionFailedError as error:
        raise strange("the source was changed while it was to be copied", where) from error
    except ConflictError:
        begun = await _begun(client, where, source, target)
        if begun is None:
            raise
        found = begun
    status, copy_id = found.get("x-ms-copy-status", ""), found.get("x-ms-copy-id", "")
    if status == "success":
        return
    try:
        await _wait(client, where, target, status, copy_id)
    except BaseException:
        with contextlib.suppress(HoldfastError):
            await stop(client, where, target, copy_id)
        raise


async def _begun(client: Client, where: Where, source: str, target: str) -> Mapping[str, str] | None:
    """Return the state of this very copy when an earlier try began it, whose answer was lost; else None."""
    try:
        found = (await client.call(where, "HEAD", target)).headers
    except NotFoundError:
        return None
    told = found.get("x-ms-copy-source", "").partition("?")[0]
    mine = found.get("x-ms-copy-status") == "pending" and told == source.partition("?")[0]
    return found if mine else None


async def _wait(client: Client, where: Where, target: str, status: str, copy_id: str) -> None:
    clock = client.environment.clock
    end, pause = clock.monotonic() + client.settings.copy_timeout, _FIRST_PAUSE
    said = ""
    while status == "pending":
        if clock.monotonic() >= end:
            raise DeadlineError(
                f"the store's copy was not done within copy_timeout = {client.settings.copy_timeout:.0f} s",
                operation=where.operation,
                store=where.store,
                name=where.name,
            )
        await clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
        found = (await client.call(where, "HEAD", target)).headers
        if found.get("x-ms-copy-id", "") != copy_id:
            raise strange("another writer replaced the target while it was copied", where)
        status, said = found.get("x-ms-copy-status", ""), found.get("x-ms-copy-status-description", "")
    if status != "success":
        raise _failed(said, where)


def _failed(said: str, where: Where) -> HoldfastError:
    """Return the error for a copy that ended badly; the service tells which answer it got from the source."""
    match = _SAID.match(said)
    if match is None or int(match[1]) >= 500:
        return strange("the store gave up the copy", where)
    if int(match[1]) == 412:
        return strange("the source was changed while it was copied", where)
    return from_answer(int(match[1]), "CannotVerifyCopySource", where)


async def stop(client: Client, where: Where, target: str, copy_id: str = "") -> bool:
    """Stop the copy onto `target` and remove what it began; False when something else is there.

    With a `copy_id` nothing is done when somebody else has written there since.
    """
    try:
        found = (await client.call(where, "HEAD", target)).headers
    except NotFoundError:
        return True
    if copy_id and found.get("x-ms-copy-id", "") != copy_id:
        return False
    pending = found.get("x-ms-copy-status", "") == "pending"
    if pending:
        query = [("comp", "copy"), ("copyid", found.get("x-ms-copy-id", ""))]
        with contextlib.suppress(HoldfastError):  # it may have ended meanwhile
            await client.call(
                where, "PUT", target, query=query, headers={"x-ms-copy-action": "abort"}, done=204
            )
    if pending or copy_id:
        await blocks.delete(client, where, target)
    return pending
