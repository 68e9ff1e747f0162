"""The keys of encrypted blobs: kept in the catalog, given to the layer that encrypts, rotated and destroyed here.

The tenant of a blob is the first part of its name. A tenant's key comes to be with its first encrypted blob. Each process
keeps what it unwrapped for a while and looks every few seconds whether keys of tenants have changed; the process that
changes them knows at once.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, Catalog
from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError, CorruptedError
from holdfast.core.keyring import BlobKey, LockedError, LostKeyError, ShreddedError
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
    """A generation of a tenant's key, and how many keys of blobs it wraps. `opens`: with a root key of ours."""

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

    def blob_key(self, name: str, generation: int, wrapped: bytes, roots: RootKeys) -> bytes:
        """Return the key of the blob `name`, by whichever key of the tenant opens it.

        That is the one of `generation`, unless another had that number when it was restored, so that it got its own.
        """
        if self.keys and all(key.state is TenantKeyState.DESTROYED for key in self.keys.values()):
            tenant = blob_identity(name)[0]
            raise ShreddedError(
                f"the key of tenant {tenant} was destroyed, and with it all that it encrypts", name=name
            )
        first: LockedError | ShreddedError | CorruptedError | None = None
        for number in sorted(self.keys, key=lambda number: (number != generation, number)):
            try:
                return open_blob_key(self.key(number, roots), name, generation, wrapped)
            except (LockedError, ShreddedError, CorruptedError) as error:
                first = error if number == generation else first
        raise first or LostKeyError(
            f"the key of tenant {blob_identity(name)[0]}, generation {generation}, is not in the catalog; bring it back:"
            " holdfast encryption restore",
            name=name,
        )


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
        while kept is not None:
            try:
                found = await self.open(store, name, kept.generation, kept.wrapped)
            except CorruptedError:
                return None  # the blob carries one too
            except (LockedError, ShreddedError):
                before, kept = kept, await self._catalog.blob_key(store, name)
                if kept == before:
                    raise
            else:  # else it was wrapped anew by another process, and what wrapped it before is gone
                self._remember(store, name, found, epoch)
                return found
        return None

    async def open(self, store: str, name: str, generation: int, wrapped: bytes) -> BlobKey:
        tenant, _ = blob_identity(name)
        await self._fresh()
        known = await self._known(tenant)
        if generation not in known.keys:  # another process has made it since this one looked
            self._tenants.pop(tenant, None)
            known = await self._known(tenant)
        return BlobKey(known.blob_key(name, generation, wrapped, self._roots), generation, wrapped)

    async def forget(self, store: str, name: str) -> None:
        self._blobs.pop((store, name), None)
        await self._catalog.drop_blob_key(store, name)

    # -- for operators --------------------------------------------------------------------------------------------
    async def status(self) -> Sequence[Generation]:
        """Return every generation of every tenant, with what it wraps."""
        counts: Mapping[tuple[str, int], int] = await self._catalog.count_blob_keys()
        return [
            Generation(key, counts.get((key.tenant, key.generation), 0), self._opens(key))
            for key in await self._catalog.tenant_keys()
        ]

    async def locked(self) -> Sequence[str]:
        """Say of each key of a tenant that does not open why that is so."""
        found = map(self._trouble, await self._catalog.tenant_keys())
        return [trouble for trouble in found if trouble]

    @property
    def root_keys(self) -> tuple[str, ...]:
        """The ids of the root keys; the first wraps."""
        return self._roots.ids

    async def rotate_root(self, *, actor: Actor = _RING) -> Rotated:
        """Wrap the keys of all tenants by the first root key, so that the others can be taken away."""
        done, troubles = 0, []
        for key in await self._catalog.tenant_keys():
            if key.state is TenantKeyState.DESTROYED or key.root_key_id == self._roots.first:
                continue
            try:
                done += await self._catalog.rewrap_tenant_key(key, self._roots.rewrap(key), actor=actor)
            except (LostKeyError, ShreddedError) as error:
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
                except (CorruptedError, LostKeyError, ShreddedError) as error:
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

        A key that was restored may be for what older numbers name, so these have to wrap nothing either. Copies of the catalog from before, and blobs found without one, cannot be read with what is left.
        """
        counts = await self._catalog.count_blob_keys()
        going = [
            key.generation
            for key in await self._catalog.tenant_keys(tenant)
            if key.state is TenantKeyState.RETIRED
            and not any(counts.get((tenant, number)) for number in range(1, key.generation + 1))
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
        """Add keys of tenants that were exported; return how many were not there. All must open with our root keys.

        One whose number another key has meanwhile gets a number of its own; one that was destroyed stays so.
        """
        for turn in range(_TRIES):
            wanted = self._lacking(keys, await self._catalog.tenant_keys())
            try:
                done = await self._catalog.restore_tenant_keys(wanted, actor=actor) if wanted else 0
                break
            except ConflictError:
                if turn == _TRIES - 1:
                    raise
        self._forget_all()
        return done

    def _lacking(self, keys: Sequence[TenantKey], there: Sequence[TenantKey]) -> Sequence[TenantKey]:
        """Return those of `keys` that are not there, each under a number that is free."""
        held, last = defaultdict[str, list[TenantKey]](list), defaultdict[str, int](int)
        for key in there:
            held[key.tenant].append(key)
        for key in (*there, *keys):
            last[key.tenant] = max(last[key.tenant], key.generation)
        lacking = []
        for key in keys:
            plain = self._roots.open(key)
            if any(self._is_it(key, plain, one) for one in held[key.tenant]):
                continue
            if any(one.generation == key.generation for one in held[key.tenant]):
                last[key.tenant] += 1
                key = replace(self._roots.rewrap(key, last[key.tenant]), state=TenantKeyState.RETIRED)
            held[key.tenant].append(key)
            lacking.append(key)
        return lacking

    def _is_it(self, key: TenantKey, plain: bytes, one: TenantKey) -> bool:
        if one.state is TenantKeyState.DESTROYED:
            return one.created == key.created  # all that is left to tell it by
        try:
            return hmac.compare_digest(self._roots.open(one), plain)
        except LockedError:
            return False

    def _opens(self, key: TenantKey) -> bool:
        return key.state is not TenantKeyState.DESTROYED and not self._trouble(key)

    def _trouble(self, key: TenantKey) -> str:
        """Say why the key of a tenant does not open, "" if it does or was destroyed."""
        try:
            if key.state is not TenantKeyState.DESTROYED:
                self._roots.open(key)
        except LockedError as error:
            return error.message
        return ""

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
