"""What a transaction is here: a generator that yields statements and is sent their rows, and does no I/O itself.

So each is written once. On SQLite a thread drives it inside a group commit; on PostgreSQL a task drives it over a
connection. A transaction may be driven again from its start (a deadlock, a lost connection); `Attempt` tells it so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar

from holdfast.catalog.statements import Batch, Call, Many, Row
from holdfast.core.types import ObjectRef

T = TypeVar("T")
Step = Call | Batch | Many
Steps = Generator[Step, Sequence[Row], T]


@dataclass(slots=True)
class Attempt:
    """`again`: an earlier attempt may have been committed without our hearing of it. `seen` outlives attempts."""

    again: bool = False
    seen: dict[str, Any] = field(default_factory=dict)


Transaction = Callable[[Attempt], Steps[T]]


class Still(Protocol):
    """Runs reads that all see the catalog at one moment."""

    def __call__(self, transaction: Transaction[T], /) -> Awaitable[T]:
        """Run one of them."""
        ...


@dataclass(frozen=True)
class Freeing(Generic[T]):
    """A transaction that makes room, or lets room be made: a full disk is no reason to refuse it."""

    inner: Transaction[T]

    def __call__(self, attempt: Attempt) -> Steps[T]:
        """Begin it."""
        return self.inner(attempt)


@dataclass(frozen=True, slots=True)
class Lock:
    """A name to be held until the transaction ends, alone or `shared`. SQLite has one writer and needs none."""

    number: int
    shared: bool = False


def _number(*names: str) -> int:
    digest = blake2b("\0".join(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def bucket_lock(tenant: str, bucket: str, *, shared: bool = True) -> Lock:
    """Shared by whatever adds to the bucket; held alone to remove it."""
    return Lock(_number("bucket", tenant, bucket), shared)


def key_locks(ref: ObjectRef) -> tuple[Lock, ...]:
    """The locks of a change to one key, in the order in which everyone takes them."""
    return (bucket_lock(ref.tenant, ref.bucket), Lock(_number("key", ref.tenant, ref.bucket, ref.key)))


def request_lock(tenant: str, key: str) -> Lock:
    """Held by whatever commits under that idempotency key."""
    return Lock(_number("request", tenant, key))


def audit_lock(tenant: str) -> Lock:
    """Held by whatever changes what is sealed of the tenant's audit; writers of rows do not need it."""
    return Lock(_number("audit", tenant))


def upload_lock(upload_id: str) -> Lock:
    """Held by whatever changes the parts of an upload."""
    return Lock(_number("upload", upload_id))
