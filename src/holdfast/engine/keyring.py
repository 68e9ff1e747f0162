"""The keys of encrypted blobs: kept in the catalog, given to the layer that encrypts, rotated and destroyed here.

The tenant of a blob is the first part of its name. A tenant's key comes to be with its first encrypted blob. Each process
keeps what it unwrapped for a while and looks every few seconds whether keys of tenants have changed; the process that
changes them knows at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, Catalog
from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError, CorruptedError
from holdfast.core.keyring import BlobKey, ShreddedError
from holdfast.core.names import blob_identity
from holdfast.core.records import KeptKey, TenantKey, TenantKeyState
from holdfast.engine.wrapping import RootKeys, open_blob_key, wrap_blob_key

GENERATION: Final = "keys"
FORMAT: Final = 1  #: of blobs: see `layers.encryption.envelope`
_FRESH: Final = 2.0  #: seconds for which keys of tenants are taken as they were
_REMEMBERED: Final = 8192  #: unwrapped keys of blobs
_TRIES: Final = 5  #: of wrapping a key while others rotate
_PAGE: Final = 500
_RING: Final = Actor("keyring")  #: who makes the first key of a tenant, in the audit


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: the generation that wraps now, and how many keys were wrapped anew."""

    generation: int
    rewrapped: int
    troubles: tuple[str, ...] = ()  #: keys that could not be opened, and so were left


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a tenant's key, and how many keys of blobs it wraps. `opens`: its root key is among ours."""

    key: TenantKey
    blobs: int
    opens: bool


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What is known of the key of a tenant: its generations, and those that were unwrapped."""

    keys: Mapping[int, TenantKey]
    opened: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def active(self) -> TenantKey | None:
        return next((key for key in self.keys.values() if key.state is TenantKeyState.ACTIVE), None)

    def key(self, generation: int, roots: RootKeys) -> bytes:
        found = self.opened.get(generation)
        if found is None:
            found = self.opened[generation] = roots.open(self.keys[generation])
        return found


class CatalogKeyRing:
    """A `KeyRing` over the catalog."""

    def __init__(self, catalog: Catalog, roots: RootKeys, clock: Clock) -> None:
        self._catalog, self._roots, self._clock = catalog, roots, clock
        self._blobs: OrderedDict[tuple[str, str], BlobKey] = OrderedDict()
        self._tenants: dict[str, _Tenant] = {}
        self._epoch = 0  # counts how often all was dropped
        self._generation = -1
        self._due = 0.0

    # -- for the layer --------------------------------------------------------------------------------------------
    async def make(self, store: str, name: str) -> BlobKey:
        tenant, _ = blob_identity(name)
        secret = self._roots.secret()
        for _ in range(_TRIES):
            known, epoch = await self._wrapping(tenant), self._epoch
            assert known.active is not None
            number = known.active.generation
            wrapped = wrap_blob_key(known.key(number, self._roots), name, number, secret, self._roots.nonce())
            if await self._catalog.add_blob_key(KeptKey(store, name, tenant, number, FORMAT, wrapped)):
                made = BlobKey(secret, number, wrapped)
                self._remember(store, name, made, epoch)
                return made
            self._forget_all()  # the generation was retired or destroyed meanwhile
        raise ConflictError(
            f"the key of tenant {tenant} was changed again and again meanwhile; send it again",
            operation="put",
            store=store,
            name=name,
        )

    async def find(self, store: str, name: str) -> BlobKey | None:
        await self._fresh()
        known, epoch = self._blobs.get((store, name)), self._epoch
        if known is not None:
            self._blobs.move_to_end((store, name))
            return known
        kept = await self._catalog.blob_key(store, name)
        if kept is None:
            return None
        try:
            found = await self.open(store, name, kept.generation, kept.wrapped)
        except CorruptedError:
            return None  # the blob carries one too
        self._remember(store, name, found, epoch)
        return found

    async def open(self, store: str, name: str, generation: int, wrapped: bytes) -> BlobKey:
        tenant, _ = blob_identity(name)
        await self._fresh()
        known = await self._known(tenant)
        if generation not in known.keys:
            raise ShreddedError(
                f"the key of tenant {tenant}, generation {generation}, is not in the catalog:"
                " it was destroyed, or not restored",
                operation="get",
                store=store,
                name=name,
            )
        secret = open_blob_key(known.key(generation, self._roots), name, generation, wrapped)
        return BlobKey(secret, generation, wrapped)

    async def forget(self, store: str, name: str) -> None:
        self._blobs.pop((store, name), None)
        await self._catalog.drop_blob_key(store, name)

    # -- for operators --------------------------------------------------------------------------------------------
    async def status(self) -> Sequence[Generation]:
        """Return every generation of every tenant, with what it wraps."""
        counts: Mapping[tuple[str, int], int] = await self._catalog.count_blob_keys()
        return [
            Generation(key, counts.get((key.tenant, key.generation), 0), key.root_key_id in self._roots.ids)
            for key in await self._catalog.tenant_keys()
        ]

    @property
    def root_keys(self) -> tuple[str, ...]:
        """The ids of the root keys; the first wraps."""
        return self._roots.ids

    async def rotate_root(self) -> Rotated:
        """Wrap the keys of all tenants by the first root key, so that the others can be taken away."""
        done, troubles = 0, []
        for key in await self._catalog.tenant_keys():
            if key.state is TenantKeyState.DESTROYED or key.root_key_id == self._roots.first:
                continue
            try:
                done += await self._catalog.rewrap_tenant_key(key, self._roots.rewrap(key))
            except (CorruptedError, ShreddedError) as error:
                troubles.append(error.message)
        self._forget_all()
        return Rotated(0, done, tuple(troubles))

    async def rotate(self, tenant: str, *, actor: Actor) -> Rotated:
        """Begin the next generation of a tenant's key and wrap the keys of its blobs by it; reads and writes go on.

        One that was broken off is taken up again by the next.
        """
        self._forget_all()
        number = max((await self._known(tenant)).keys, default=0) + 1
        held = await self._catalog.add_tenant_key(self._roots.new(tenant, number), actor=actor)
        self._forget_all()
        if held.state is not TenantKeyState.ACTIVE:
            raise ConflictError(f"the key of tenant {tenant} was changed meanwhile; ask again", name=tenant)
        return await self.rewrap(tenant)

    async def rewrap(self, tenant: str) -> Rotated:
        """Wrap the keys of a tenant's blobs by its active generation, page by page."""
        known = await self._wrapping(tenant)
        assert known.active is not None
        number = known.active.generation
        done, troubles, after = 0, [], ("", "")
        while page := await self._catalog.blob_keys(tenant, below=number, after=after, limit=_PAGE):
            changes = []
            for kept in page:
                try:
                    changes.append((kept, await self._rewrapped(kept, known, number)))
                except (CorruptedError, ShreddedError) as error:
                    troubles.append(f"{kept.store}: {kept.blob}: {error.message}")
            if not await self._catalog.rewrap_blob_keys(changes):
                raise ConflictError(
                    f"the key of tenant {tenant} was changed meanwhile; ask again", name=tenant
                )
            done += len(changes)
            after = (page[-1].store, page[-1].blob)
        return Rotated(number, done, tuple(troubles[:_PAGE]))

    async def drop_retired(self, tenant: str, *, actor: Actor) -> int:
        """Destroy retired generations that wrap no key of a blob in the catalog; return how many.

        Copies of the catalog from before, and blobs found without one, cannot be read with what is left.
        """
        counts = await self._catalog.count_blob_keys()
        going = [
            key.generation
            for key in await self._catalog.tenant_keys(tenant)
            if key.state is TenantKeyState.RETIRED and not counts.get((tenant, key.generation))
        ]
        done = await self._catalog.destroy_tenant_keys(tenant, going, actor=actor) if going else 0
        self._forget_all()
        return done

    async def shred(self, tenant: str, *, actor: Actor) -> int:
        """Destroy all generations of a tenant's key, then the keys of its blobs; return how many generations there were.

        What is encrypted for it can be read by nobody any more. Other processes go by it within seconds.
        """
        done = await self._catalog.destroy_tenant_keys(tenant, actor=actor)
        self._forget_all()
        while not await self._catalog.drop_blob_keys(tenant):
            pass
        return done

    async def export(self) -> Sequence[TenantKey]:
        """Return the keys of all tenants as they are kept: wrapped, so of no use without the root keys."""
        return [key for key in await self._catalog.tenant_keys() if key.state is not TenantKeyState.DESTROYED]

    async def restore(self, keys: Sequence[TenantKey], *, actor: Actor) -> int:
        """Add keys of tenants that were exported; return how many were not there. All must open with our root keys."""
        for key in keys:
            self._roots.open(key)
        done = await self._catalog.restore_tenant_keys(keys, actor=actor)
        self._forget_all()
        return done

    # -- what is known --------------------------------------------------------------------------------------------
    async def _rewrapped(self, kept: KeptKey, known: _Tenant, number: int) -> KeptKey:
        opened = await self.open(kept.store, kept.blob, kept.generation, kept.wrapped)
        key, nonce = known.key(number, self._roots), self._roots.nonce()
        wrapped = wrap_blob_key(key, kept.blob, number, opened.secret, nonce)
        return replace(kept, generation=number, wrapped=wrapped)

    async def _wrapping(self, tenant: str) -> _Tenant:
        """Return what is known of a tenant that has an active key; its first one comes to be here."""
        await self._fresh()
        for _ in range(_TRIES):
            known = await self._known(tenant)
            if known.active is not None:
                return known
            made = self._roots.new(tenant, max(known.keys, default=0) + 1)
            await self._catalog.add_tenant_key(made, actor=_RING)
            self._tenants.pop(tenant, None)
        raise ConflictError(f"the key of tenant {tenant} was changed again and again; try again", name=tenant)

    async def _known(self, tenant: str) -> _Tenant:
        known = self._tenants.get(tenant)
        if known is None:
            epoch = self._epoch
            known = _Tenant({key.generation: key for key in await self._catalog.tenant_keys(tenant)})
            if known.keys and epoch == self._epoch:
                if len(self._tenants) >= _REMEMBERED:
                    self._tenants.clear()
                self._tenants[tenant] = known
        return known

    async def _fresh(self) -> None:
        now = self._clock.monotonic()
        if now < self._due:
            return
        due, self._due = self._due, now + _FRESH  # others go by what is known while one of them looks
        try:
            generation = await self._catalog.generation(GENERATION)
        except BaseException:
            self._due = due
            raise
        if generation != self._generation:
            self._forget_all()
            self._generation = generation

    def _remember(self, store: str, name: str, key: BlobKey, epoch: int) -> None:
        if epoch != self._epoch:
            return  # keys were changed while it was looked up
        self._blobs[store, name] = key
        self._blobs.move_to_end((store, name))
        if len(self._blobs) > _REMEMBERED:
            self._blobs.popitem(last=False)

    def _forget_all(self) -> None:
        """Drop what was unwrapped."""
        self._epoch += 1
        self._generation = -1
        self._blobs.clear()
        self._tenants.clear()
