"""Copies that the service makes: asked for once, then waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from holdfast.backends.object_store.azure import blocks
from holdfast.backends.object_store.azure.client import Client, strange
from holdfast.backends.object_store.azure.credentials import SharedAccess
from holdfast.backends.object_store.azure.signing import encode_query
from holdfast.backends.object_store.errors import Where
from holdfast.core.errors import DeadlineError, HoldfastError, PreconditionFailedError
from holdfast.core.types import BlobInfo

_COPY_SECONDS: Final = 60.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


async def copy(
    client: Client, where: Where, source: str, target: str, info: BlobInfo, headers: Mapping[str, str]
) -> None:
    """Make `target` a copy of the blob at key `source`, which `info` describes; metadata and properties go along.

    Within an account the service is nearly always done when it answers. Where it is not, the unfinished target is
    removed again if the copy fails, is cancelled, or takes longer than `copy_timeout`.
    """
    wanted = {**headers, "x-ms-copy-source": await _source(client, source)}
    if info.etag:
        wanted["x-ms-source-if-match"] = f'"{info.etag}"'
    try:
        answer = await client.call(where, "PUT", target, headers=wanted, patience=_COPY_SECONDS, done=202)
    except PreconditionFailedError as error:
        raise strange("the source was changed while it was to be copied", where) from error
    status, copy_id = answer.headers.get("x-ms-copy-status", ""), answer.headers.get("x-ms-copy-id", "")
    if status == "success":
        return
    try:
        await _wait(client, where, target, status, copy_id)
    except BaseException:
        with contextlib.suppress(HoldfastError):
            await _give_up(client, where, target, copy_id)
        raise


async def _source(client: Client, key: str) -> str:
    """Return the URL of the source; it carries the permission when that is how requests are allowed."""
    url = f"{client.address.origin}{client.address.path(key)}"
    credential = await client.source.current()
    if isinstance(credential, SharedAccess):
        return f"{url}?{encode_query(list(credential.fields))}"
    return url


async def _wait(client: Client, where: Where, target: str, status: str, copy_id: str) -> None:
    clock = client.environment.clock
    end, pause = clock.monotonic() + client.settings.copy_timeout, _FIRST_PAUSE
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
        status = found.get("x-ms-copy-status", "")
    if status != "success":
        raise strange("the store gave up the copy", where)


async def _give_up(client: Client, where: Where, target: str, copy_id: str) -> None:
    """Stop the copy and remove what it began, unless somebody else has written there since."""
    found = (await client.call(where, "HEAD", target)).headers
    if found.get("x-ms-copy-id", "") != copy_id:
        return
    if found.get("x-ms-copy-status", "") == "pending":
        query, headers = [("comp", "copy"), ("copyid", copy_id)], {"x-ms-copy-action": "abort"}
        with contextlib.suppress(HoldfastError):  # it may have ended meanwhile
            await client.call(where, "PUT", target, query=query, headers=headers, done=204)
    await blocks.delete(client, where, target)
