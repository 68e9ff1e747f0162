"""Many keys removed with few requests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import md5

from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where, from_answer
from holdfast.backends.object_store.xml import XmlError, deletion, parse
from holdfast.core.errors import HoldfastError, UnavailableError

_BATCH = 1000


async def delete_many(client: ControlClient, where: Where, keys: Sequence[str]) -> None:
    """Remove all of `keys`; the first failure is raised after all have been tried. Absent keys are no failure."""
    failures: list[HoldfastError] = []
    for start in range(0, len(keys), _BATCH):
        failures += await _batch(client, where, keys[start : start + _BATCH])
    if failures:
        raise failures[0]


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
    codes = [item.findtext("Code") or "" for item in root.iterfind("Error")]
    return [from_answer(500, code, where) for code in codes if code not in ("NoSuchKey", "NoSuchVersion")]
