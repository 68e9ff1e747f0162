"""Keys that wrap keys: root keys wrap those of tenants, these wrap those of blobs. AES-256-GCM, no I/O.

    wrapped   12   nonce
              n    the key, sealed; n is its own length
              16   tag

Each wrapping is bound to what it is for: a tenant's key to its tenant, generation and root key; a blob's key to its
tenant, its id and the generation. What an object is called is in none of them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.clock import Environment
from holdfast.core.errors import CorruptedError
from holdfast.core.keyring import SECRET_BYTES, LockedError, LostKeyError, ShreddedError
from holdfast.core.names import blob_identity
from holdfast.core.records import TenantKey, TenantKeyState
from holdfast.engine.sealing import ROOT_KEY, parse_keys
from holdfast.engine.secrets import RootSecret

_KEY: Final = 32
_NONCE: Final = 12
_USE: Final = b"holdfast keys of tenants"
_AS_IT_WAS: Final = {ROOT_KEY: "give `secret` back its value"}


class RootKeys:
    """The keys that wrap those of tenants: the first wraps, all open. They are never shown."""

    __slots__ = ("_environment", "_keys")

    def __init__(self, keys: Sequence[tuple[str, bytes]], environment: Environment) -> None:
        self._keys = {name: hmac.digest(key, _USE, hashlib.sha256) for name, key in keys}
        self._environment = environment

    @property
    def first(self) -> str:
        """The id of the key that wraps."""
        return next(iter(self._keys))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all."""
        return tuple(self._keys)

    def new(self, tenant: str, generation: int) -> TenantKey:
        """Return a new key of a tenant, wrapped by the first of ours."""
        return self._wrapped(tenant, generation, self._random(_KEY))

    def open(self, key: TenantKey) -> bytes:
        """Return the key of a tenant.

        Raises:
            LockedError: none of ours wrapped it. LostKeyError: the one that wrapped it is another one now, or it was
            altered. ShreddedError: it was destroyed.
        """
        where = f"the key of tenant {key.tenant}, generation {key.generation},"
        if key.state is TenantKeyState.DESTROYED:
            raise ShreddedError(f"{where} was destroyed, and with it all that it encrypts")
        root = self._keys.get(key.root_key_id)
        if root is None:
            raise LockedError(
                f"{where} is wrapped by the root key {key.root_key_id!r}, which is not among seal_keys"
                f" ({', '.join(self._keys)}); add it back"
            )
        try:
            return _opened(root, key.wrapped, _about_tenant(key.tenant, key.generation, key.root_key_id))
        except InvalidTag:
            raise LostKeyError(
                f"{where} cannot be opened: it was altered, or the root key {key.root_key_id!r} is another one now;"
                f" {_AS_IT_WAS.get(key.root_key_id, 'give it back its value in seal_keys')}"
            ) from None

    def rewrap(self, key: TenantKey, generation: int | None = None) -> TenantKey:
        """Return the key of a tenant wrapped by the first of ours, under another number if one is given. Raises as `open`."""
        made = self._wrapped(key.tenant, generation or key.generation, self.open(key))
        return replace(made, created=key.created, state=key.state)

    def secret(self) -> bytes:
        """Return a new key for a blob."""
        return self._random(SECRET_BYTES)

    def nonce(self) -> bytes:
        """Return what a wrapping begins with."""
        return self._random(_NONCE)

    def __repr__(self) -> str:
        return f"RootKeys({', '.join(self._keys)})"

    def _wrapped(self, tenant: str, generation: int, plain: bytes) -> TenantKey:
        about = _about_tenant(tenant, generation, self.first)
        nonce = self.nonce()
        wrapped = nonce + AESGCM(self._keys[self.first]).encrypt(nonce, plain, about)
        return TenantKey(tenant, generation, self.first, wrapped, 0)

    def _random(self, size: int) -> bytes:
        return self._environment.random.getrandbits(8 * size).to_bytes(size, "big")


def root_keys(text: str, secret: RootSecret, environment: Environment) -> RootKeys:
    """Return the root keys that operators named (`seal_keys`); the one of the service's secret always opens, as the last."""
    return RootKeys((*parse_keys(text), (ROOT_KEY, secret.derive("keys of tenants"))), environment)


def wrap_blob_key(tenant_key: bytes, name: str, generation: int, secret: bytes, nonce: bytes) -> bytes:
    """Return the key of the blob `name`, wrapped."""
    return nonce + AESGCM(tenant_key).encrypt(nonce, secret, _about_blob(name, generation))


def open_blob_key(tenant_key: bytes, name: str, generation: int, wrapped: bytes) -> bytes:
    """Return the key of the blob `name`.

    Raises:
        CorruptedError: it is that of another blob, or was altered.
    """
    try:
        return _opened(tenant_key, wrapped, _about_blob(name, generation))
    except InvalidTag:
        raise CorruptedError("the key of the blob is not its own, or was altered", name=name) from None


def _opened(key: bytes, wrapped: bytes, about: bytes) -> bytes:
    if len(wrapped) < _NONCE + 16:
        raise InvalidTag
    return AESGCM(key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], about)


def _about_tenant(tenant: str, generation: int, root: str) -> bytes:
    return _said(b"tenant", tenant, str(generation), root)


def _about_blob(name: str, generation: int) -> bytes:
    return _said(b"blob", *blob_identity(name), str(generation))


def _said(use: bytes, *parts: str) -> bytes:
    return b"HFK1" + b"".join(len(part).to_bytes(4, "big") + part for part in (use, *map(str.encode, parts)))
