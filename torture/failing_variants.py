"""Holdfast with one rule broken, each on purpose: proof that the harness finds what it is meant to find.

A variant is a context manager that patches this process; nothing below `src/` knows of it. `found_by` says which kind
of death must expose it: `kill` for a wrong order, `power` for a missing sync.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any
from unittest import mock

import holdfast.catalog.sqlite as sqlite
from holdfast.backends.local.kernel import Kernel
from holdfast.catalog.contract import Actor, Idempotency, NewVersion
from holdfast.core.body import Body, Meter
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import NotFoundError, UnavailableError
from holdfast.core.failpoints import failpoint
from holdfast.core.types import NO_DIGESTS, ObjectRef, Replica, Segment, Version
from holdfast.engine import checksums, storing, write
from holdfast.engine.context import Context
from holdfast.engine.targets import Target, pending
from holdfast.engine.write import NO_INPUT, ObjectInput
from holdfast.policy.placement import Facts
from torture.in_place import key_named

_OCTETS = "application/octet-stream"
_COMMITS = ("commit_put", "commit_inline", "commit_part", "complete_upload", "delete_object")


@dataclass(frozen=True)
class Variant:
    """A broken rule. `lossy`: it shows when the answer to a commit is lost."""

    name: str
    found_by: str
    breaks: str
    applied: Callable[[], AbstractContextManager[None]]
    lossy: bool = False


@dataclass
class _Put:
    """The steps of a put, to be taken in an order of one's own."""

    context: Context
    ref: ObjectRef
    data: bytes
    actor: Actor
    replicas: list[Replica]

    async def store(self) -> None:
        await storing.store_segment(
            self.context, self.ref, self.replicas, Body.of_bytes(self.data), NO_DIGESTS, _OCTETS
        )
        failpoint("put.after_store")

    async def commit(self) -> Version:
        meter = Meter(checksums.factories(len(self.data), NO_DIGESTS, md5_limit=1 << 30))
        async for _ in Body.of_bytes(self.data).metered(meter).chunks():
            pass
        digests = checksums.settled(meter)
        segment = Segment(self.replicas[0].segment_id, meter.size, digests, *checksums.chunk_list(meter))
        version = NewVersion(
            self.replicas[0].version_id,
            self.ref,
            meter.size,
            checksums.etag_of(digests),
            (segment,),
            digests=digests,
        )
        made = await self.context.catalog.commit_put(
            version, [replica.id for replica in self.replicas], grace=self.context.grace, actor=self.actor
        )
        failpoint("put.after_commit")
        return made

    async def remove(self, replicas: list[Replica]) -> None:
        for replica in replicas:
            await self.context.store(replica.store).backend.delete(replica.blob)


Order = Callable[[_Put], Awaitable[Version]]


async def _put_in_order(
    order: Order,
    context: Context,
    ref: ObjectRef,
    body: Body,
    about: ObjectInput = NO_INPUT,
    *,
    conditions: Preconditions = NO_CONDITIONS,
    idempotency_key: str | None = None,
    once: Idempotency | None = None,
    actor: Actor,
) -> Version:
    data = await body.read()
    version_id = context.environment.new_id()
    plan = context.placement.plan(Facts(ref, len(data), _OCTETS, apart=True))
    replicas = pending(
        context, ref, Target(plan.stores[: plan.acknowledge]), version_id, version_id, len(data)
    )
    await context.catalog.begin(ref, replicas, lease_until=await context.lease_until())
    failpoint("put.after_begin")
    return await order(_Put(context, ref, data, actor, replicas))


async def _commit_first(put: _Put) -> Version:
    made = await put.commit()
    await put.store()
    return made


async def _delete_old_first(put: _Put) -> Version:
    try:
        old = await put.context.catalog.resolve(put.ref)
    except NotFoundError:
        old = None
    await put.store()
    if old is not None and not (await put.context.catalog.bucket(put.ref.tenant, put.ref.bucket)).versioning:
        await put.remove(list(old.replicas))
    return await put.commit()


async def _delete_on_error(put: _Put) -> Version:
    await put.store()
    try:
        return await put.commit()
    except UnavailableError:
        await put.remove(put.replicas)
        await put.context.abandon(put.replicas)
        raise


def _ordered(order: Order) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def applied() -> Iterator[None]:
        with mock.patch.object(write, "put", partial(_put_in_order, order)):
            yield

    return applied


# -- a missing sync ---------------------------------------------------------------------------------------------------
def _unsynced(is_spared: Callable[[int], bool]) -> Callable[[], AbstractContextManager[None]]:
    """Leave out fsync for what `is_spared` by its file mode."""

    def sync(call: Callable[[int], None], self: Kernel, fd: int) -> None:
        if not is_spared(os.fstat(fd).st_mode):
            call(fd)

    @contextmanager
    def applied() -> Iterator[None]:
        full, data = _method(partial(sync, os.fsync)), _method(partial(sync, os.fdatasync))
        with mock.patch.object(Kernel, "sync", full), mock.patch.object(Kernel, "sync_data", data):
            yield

    return applied


def _method(call: Callable[..., None]) -> Callable[[Kernel, int], None]:
    return lambda self, fd: call(self, fd)


def _synchronous(level: str) -> Callable[[], AbstractContextManager[None]]:
    original = sqlite.connect

    def connect(path: str, *, write: bool) -> Any:
        connection = original(path, write=write)
        connection.pragma("synchronous", level)
        return connection

    @contextmanager
    def applied() -> Iterator[None]:
        with mock.patch.object(sqlite, "connect", connect):
            yield

    return applied


# -- answers that are lost --------------------------------------------------------------------------------------------
@contextmanager
def lossy_commits(catalog: Any, chance: Random, share: float = 0.1) -> Iterator[None]:
    """Let some commits of `catalog` take effect and raise `UnavailableError` all the same. No variant: this may happen."""

    def lossy(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await method(*args, **kwargs)
            if chance.random() < share:
                raise UnavailableError("the answer to the commit was lost", store="catalog")
            return result

        return call

    with ExitStack() as stack:
        for name in _COMMITS:
            stack.enter_context(mock.patch.object(catalog, name, lossy(getattr(catalog, name))))
        yield


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("commit-first", "kill", "the commit comes before the bytes", _ordered(_commit_first)),
        Variant(
            "delete-old-first",
            "kill",
            "replaced bytes are deleted before the commit",
            _ordered(_delete_old_first),
        ),
        Variant(
            "delete-on-error",
            "kill",
            "a commit whose answer is lost has its bytes deleted",
            _ordered(_delete_on_error),
            lossy=True,
        ),
        Variant("key-named", "kill", "blobs are named by key and overwritten in place", key_named),
        Variant("no-file-fsync", "power", "files are not fsynced", _unsynced(stat.S_ISREG)),
        Variant("no-folder-fsync", "power", "folders are not fsynced", _unsynced(stat.S_ISDIR)),
        Variant("sqlite-normal", "power", "SQLite runs with synchronous=NORMAL", _synchronous("normal")),
        Variant("sqlite-off", "power", "SQLite runs with synchronous=OFF", _synchronous("off")),
    )
}
