"""A ring of keys in memory: for trying the encryption layer, and drivers beneath it, without a catalog."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.clock import Environment
from holdfast.core.errors import CorruptedError
from holdfast.core.keyring import SECRET_BYTES, BlobKey, ShreddedError
from holdfast.core.names import blob_identity


class MemoryKeyRing:
    """Keys that end with the process. `shredded` are tenants whose keys were destroyed; `kept` may be emptied."""

    def __init__(self, environment: Environment | None = None) -> None:
        self._environment = environment or Environment()
        self._wrapping = AESGCM(self._random(32))
        self.kept: dict[tuple[str, str], BlobKey] = {}
        self.shredded: set[str] = set()

    async def make(self, store: str, name: str) -> BlobKey:
        secret, nonce = self._random(SECRET_BYTES), self._random(12)
        wrapped = nonce + self._wrapping.encrypt(nonce, secret, _bound(name))
        made = self.kept[store, name] = BlobKey(secret, 1, wrapped)
        return made

    async def find(self, store: str, name: str) -> BlobKey | None:
        self._check(name)
        return self.kept.get((store, name))

    async def open(self, store: str, name: str, generation: int, wrapped: bytes) -> BlobKey:
        self._check(name)
        try:
            secret = self._wrapping.decrypt(wrapped[:12], wrapped[12:], _bound(name))
        except InvalidTag:
            raise CorruptedError(
                "the key of the blob is not its own, or was altered", operation="get", store=store, name=name
            ) from None
        return BlobKey(secret, generation, wrapped)

    async def forget(self, store: str, name: str) -> None:
        self.kept.pop((store, name), None)

    def _check(self, name: str) -> None:
        tenant = blob_identity(name)[0]
        if tenant in self.shredded:
            raise ShreddedError(f"the keys of tenant {tenant} were destroyed", name=name)

    def _random(self, size: int) -> bytes:
        return self._environment.random.getrandbits(8 * size).to_bytes(size, "big")


def _bound(name: str) -> bytes:
    return "\0".join(blob_identity(name)).encode()
