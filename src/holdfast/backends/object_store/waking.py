"""Objects in archive classes, woken: S3's `RestoreObject`, which makes a readable copy for some days, hours later."""

from __future__ import annotations

import base64
from hashlib import md5
from typing import Final

from holdfast.backends.object_store import encryption
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where
from holdfast.core.asleep import AsleepError

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ASKED: Final = "x-amz-restore"  #: is under way, or awake for some days
_CLASS: Final = "x-amz-storage-class"
_OF_ITSELF: Final = "INTELLIGENT_TIERING"  #: wakes for good: it is not told for how many days


async def wake(client: ControlClient, where: Where, key: str) -> None:
    """Ask for the object `key` to be restored, unless somebody has; see `Waker.wake`."""
    settings = client.settings
    if not settings.restore_days:
        raise AsleepError(
            "the blob is archived, and restore_days = 0 of its store says that none is restored; restore it there, or set"
            " restore_days",
            operation=where.operation,
            store=where.store,
            name=where.name,
        )
    found = (await client.call(where, "HEAD", key, headers=encryption.key_headers(settings))).headers
    by_itself = found.get(_CLASS) == _OF_ITSELF
    if found.get(_ASKED) or (by_itself and not found.get("x-amz-archive-status")):
        return  # it is under way or awake: asked again, it would be charged again
    days = None if by_itself else settings.restore_days
    body = request(days, settings.restore_tier)
    digest = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    headers = {"content-md5": digest, "content-type": "application/xml"}
    try:
        await client.call(where, "POST", key, query=[("restore", "")], headers=headers, body=body)
    except AsleepError:  # another one was quicker, or it is awake
        return


def request(days: int | None, tier: str) -> bytes:
    """Return the body of the request; see RestoreObject in the API reference of Amazon S3."""
    told = "" if days is None else f"<Days>{days}</Days>"
    speed = f"<GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>"
    return f'<RestoreRequest xmlns="{_NAMESPACE}">{told}{speed}</RestoreRequest>'.encode()
