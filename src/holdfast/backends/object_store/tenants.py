"""One store, with keys of its own for each tenant: the first segment of a blob's name says whose they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final

from holdfast.backends.object_store.backend import ObjectStoreBackend
from holdfast.core.backend import NO_OPTIONS, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.errors import InvalidRequestError, UnsupportedError
from holdfast.core.names import check_tenant
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests

_KEPT: Final = 256  #: tenants whose connections and keys stay open while nobody uses them


class _Held:
    """A tenant's backend, and how many calls are in it."""

    __slots__ = ("backend", "users")

    def __init__(self, backend: ObjectStoreBackend) -> None:
        self.backend, self.users = backend, 0


class PerTenantBackend:
    """A store whose blobs are reached with the keys of the tenant that they belong to. Make it with `open_store`.

    A listing below a tenant's name uses the tenant's keys. One across tenants uses those of `whole`, a name that stands
    for all of them; without one it is refused.
    """

    def __init__(
        self, store: str, whole: str, open: Callable[[str], ObjectStoreBackend], *, kept: int = _KEPT
    ) -> None:
        self._store, self._whole, self._open, self._kept = store, whole, open, kept
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._leaving: list[_Held] = []
        # Never used for a request: it tells what all of them offer, and fails now if the settings are wrong.
        self._pattern = open(whole or "nobody")

    @property
    def store(self) -> str:
        return self._store

    @property
    def capabilities(self) -> Capability:
        return self._pattern.capabilities

    @property
    def limits(self) -> Limits:
        return self._pattern.limits

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes; the same for every tenant."""
        return self._pattern.put_requests(size, known)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body` with the keys of its tenant."""
        async with self._of(name) as backend:
            return await backend.put(name, body, options=options, if_absent=if_absent)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        """Open `name` with the keys of its tenant."""
        async with self._of(name) as backend, backend.get(name, range=range) as reader:
            yield reader

    async def fetch(self, name: str, size: int) -> bytes:
        """See `Fetcher.fetch`."""
        async with self._of(name) as backend:
            return await backend.fetch(name, size)

    async def head(self, name: str) -> BlobInfo:
        async with self._of(name) as backend:
            return await backend.head(name)

    async def delete(self, name: str) -> None:
        async with self._of(name) as backend:
            await backend.delete(name)

    async def discard(self, name: str) -> None:
        async with self._of(name) as backend:
            await backend.discard(name)

    async def delete_many(self, names: Sequence[str]) -> None:
        """Remove all of `names`, tenant by tenant; raises the first failure after having tried the rest."""
        by_tenant: dict[str, list[str]] = {}
        for name in names:
            by_tenant.setdefault(self._tenant(name), []).append(name)
        failures = []
        for some in by_tenant.values():
            try:
                async with self._of(some[0]) as backend:
                    await backend.delete_many(some)
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield what is below `prefix`: with the keys of its tenant, or those of the whole store."""
        first, slash, _ = prefix.partition("/")
        tenant = first if slash else self._whole
        if not tenant:
            raise UnsupportedError(
                "each tenant has keys of its own: set credentials_tenants to whoever may list the whole store",
                operation="list",
                store=self._store,
            )
        async with self._lent(self._checked(tenant, prefix)) as backend:
            async with aclosing(backend.list(prefix, after=after)) as found:  # type: ignore[type-var]  # a generator
                async for info in found:
                    yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy within one tenant: no keys reach two of them."""
        if self._tenant(source) != self._tenant(target):
            raise UnsupportedError(
                "the two blobs belong to tenants with different keys", operation="copy", store=self._store
            )
        async with self._of(source) as backend:
            return await backend.copy(source, target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Return a URL signed with the keys of the tenant; it ends with them."""
        async with self._of(name) as backend:
            return await backend.presign(
                method,
                name,
                expires_in=expires_in,
                content_type=content_type,
                content_disposition=content_disposition,
            )

    async def abort_stale_uploads(self, older_than: int) -> int:
        """Abort what was left open, see `ObjectStoreBackend`; of the whole store, so it needs keys for that."""
        if not self._whole:
            return 0
        async with self._lent(self._whole) as backend:
            return await backend.abort_stale_uploads(older_than)

    async def close(self) -> None:
        for held in (*self._held.values(), *self._leaving):
            await held.backend.close()
        await self._pattern.close()

    def _tenant(self, name: str) -> str:
        return self._checked(name.partition("/")[0], name)

    def _checked(self, tenant: str, name: str) -> str:
        """Return `tenant` if it may stand in a command, a URL or a path; what is no tenant's name is refused."""
        try:
            return check_tenant(tenant)
        except InvalidRequestError:
            raise InvalidRequestError(
                "the blob's name does not begin with a tenant, so nobody's keys reach it",
                store=self._store,
                name=name,
            ) from None

    @asynccontextmanager
    async def _of(self, name: str) -> AsyncIterator[ObjectStoreBackend]:
        async with self._lent(self._tenant(name)) as backend:
            yield backend

    @asynccontextmanager
    async def _lent(self, tenant: str) -> AsyncIterator[ObjectStoreBackend]:
        """Give the backend of a tenant; those that nobody has used for longest are closed when there are too many."""
        with self._using(tenant) as backend:
            for idle in [held for held in self._leaving if not held.users]:
                self._leaving.remove(idle)
                await idle.backend.close()
            yield backend

    @contextmanager
    def _using(self, tenant: str) -> Iterator[ObjectStoreBackend]:
        held = self._held.get(tenant)
        if held is None:
            held = self._held[tenant] = _Held(self._open(tenant))
            if len(self._held) > self._kept:
                self._leaving.append(self._held.popitem(last=False)[1])
        self._held.move_to_end(tenant)
        held.users += 1
        try:
            yield held.backend
        finally:
            held.users -= 1
