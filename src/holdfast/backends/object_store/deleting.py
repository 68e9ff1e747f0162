"""Many keys removed with few requests, or where the server has none for that with one each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from hashlib import md5

from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where, from_answer
from holdfast.backends.object_store.xml import XmlError, deletion, parse
from holdfast.core.errors import HoldfastError, NotFoundError, UnavailableError

_BATCH = 1000
_AT_ONCE = 16


async def delete_many(client: ControlClient, where: Where, keys: Sequence[str]) -> None:
    """Remove all of `keys`; the first failure is raised after all have been tried. Absent keys are no failure."""
    step, remove = (_BATCH, _batch) if client.settings.server.batch_delete else (_AT_ONCE, _singly)
    failures: list[HoldfastError] = []
    for start in range(0, len(keys), step):
        failures += await remove(client, where, keys[start : start + step])
    if failures:
        raise failures[0]


async def one(client: ControlClient, where: Where, key: str) -> None:
    """Remove `key`; an absent one is fine."""
    try:
        await client.call(where, "DELETE", key)
    except NotFoundError:
        return


async def _singly(client: ControlClient, where: Where, keys: Sequence[str]) -> list[HoldfastError]:
    found = await asyncio.gather(*(one(client, where, key) for key in keys), return_exceptions=True)
    for error in found:
        if error is not None and not isinstance(error, HoldfastError):
            raise error
    return [error for error in found if isinstance(error, HoldfastError)]


async def _batch(client: ControlClient, where: Where, keys: Sequence[str]) -> list[HoldfastError]:
    """Return the error of each key that failed; the answer as a whole is a success all the same."""
    body = deletion(keys)
    digest = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    headers = {"content-md5": digest, "content-type": "application/xml"}
    answer = await client.call(where, "POST", query=[("delete", "")], headers=headers, body=body)
    try:
        root = parse(answer.body)
    except XmlError as error:
        raise UnavailableError(
            "the answer to a batch delete is not XML", operation="delete", store=where.store
        ) from error
    if root.tag != "DeleteResult":
        raise UnavailableError(
            "the answer to a batch delete is not a DeleteResult", operation="delete", store=where.store
        )
    codes = [item.findtext("Code") or "" for item in root.iterfind("Error")]
    return [from_answer(500, code, where) for code in codes if code not in ("NoSuchKey", "NoSuchVersion")]
