"""A failing variant: objects of plain buckets live in a file named by their key, which is overwritten in place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from unittest import mock

import holdfast.engine.context as engine_context
from holdfast.backends.local.backend import LocalBackend
from holdfast.backends.local.paths import path_of
from holdfast.core.backend import Capability
from holdfast.core.body import Body
from holdfast.core.names import mint
from holdfast.core.types import BlobInfo, ObjectRef
from holdfast.engine import write

_MARK = "/by-key/"
_putting: ContextVar[bool] = ContextVar("putting", default=False)
_mint = mint
_put_object = write.put
_put_blob, _get_blob, _delete_blob = LocalBackend.put, LocalBackend.get, LocalBackend.delete


def _mint_by_key(layout: Any, ref: ObjectRef, *, blob_id: str, now: int) -> str:
    if ref.bucket != "plain" or not _putting.get():
        return _mint(layout, ref, blob_id=blob_id, now=now)
    return f"{ref.tenant}{_MARK}{ref.key}/{blob_id}"


async def _put_named(*args: Any, **kwargs: Any) -> Any:
    token = _putting.set(True)
    try:
        return await _put_object(*args, **kwargs)
    finally:
        _putting.reset(token)


def _by_key(name: str) -> str:
    """Return the name that counts on disk: without the part that is unique."""
    return name.rpartition("/")[0] if _MARK in name else name


async def _put(self: LocalBackend, name: str, body: Body, **kwargs: Any) -> BlobInfo:
    if _MARK not in name:
        return await _put_blob(self, name, body, **kwargs)
    path = Path(f"/proc/self/fd/{self._root}") / path_of(_by_key(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        size = 0
        async for chunk in body.chunks():
            for start in range(0, len(chunk), 1024):
                size += os.write(fd, chunk[start : start + 1024])
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)
    return BlobInfo(name, size, 0)


def _get(self: LocalBackend, name: str, **kwargs: Any) -> Any:
    return _get_blob(self, _by_key(name), **kwargs)


async def _delete(self: LocalBackend, name: str) -> None:
    if _MARK not in name:  # the file belongs to the next version by now
        await _delete_blob(self, name)


@contextmanager
def key_named() -> Iterator[None]:
    """Apply the variant to this process."""
    with (
        mock.patch.object(engine_context, "mint", _mint_by_key),
        mock.patch.object(write, "put", _put_named),
        mock.patch.object(write, "Capability", mock.Mock(COPY=Capability.PRESIGN)),
        mock.patch.multiple(LocalBackend, put=_put, get=_get, delete=_delete),
        mock.patch("torture.verify.path_of", lambda name: path_of(_by_key(name))),
    ):
        yield
