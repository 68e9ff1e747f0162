"""What stands at the beginning of an encrypted blob, so that it can be read with the tenants' keys and nothing else.

    magic        4   `HFE1`
    format       1   1: FLOE-256 with segments of 64 KiB
    generation   4   of the tenant's key that the blob's key was wrapped with when the blob was written, big-endian
    wrapped     92   nonce; the blob's key and number, sealed with that tenant's key; tag
    header      74   of FLOE

The blob's key is bound to its tenant and its id, which are told by its name; the user's key is in neither, so that an
object can be renamed without its bytes.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.keyring import SECRET_BYTES, BlobKey
from holdfast.core.names import blob_identity
from holdfast.layers.encryption.floe import HEADER, NONCE, Floe, FloeError

MAGIC: Final = b"HFE1"
FORMAT: Final = 1
WRAPPED: Final = NONCE + SECRET_BYTES + 16
ENVELOPE: Final = len(MAGIC) + 1 + 4 + WRAPPED + HEADER
METADATA: Final = "holdfast-sealed"  #: the one entry of metadata that a store sees
_META_OVERHEAD: Final = NONCE + 16
_ENTRY: Final = 4  #: bytes by which an entry grows: two lengths
_ENTRIES: Final = 16  #: for so many there is room whatever they are


@dataclass(frozen=True, slots=True)
class Envelope:
    """The beginning of a blob, taken apart."""

    generation: int
    wrapped: bytes
    header: bytes

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Return what `data` is; `FloeError` when it is no envelope that we know."""
        if len(data) != ENVELOPE or data[:4] != MAGIC:
            raise FloeError("it does not begin like an encrypted blob")
        if data[4] != FORMAT:
            raise FloeError(f"it is encrypted in the format {data[4]}, which this version does not know")
        return cls(int.from_bytes(data[5:9], "big"), data[9 : 9 + WRAPPED], data[9 + WRAPPED :])

    @property
    def bytes(self) -> bytes:
        """The same as it stands in the blob."""
        return MAGIC + bytes([FORMAT]) + self.generation.to_bytes(4, "big") + self.wrapped + self.header


def stream_of(name: str, key: BlobKey) -> Floe:
    """Return the stream of the blob `name`."""
    return Floe(key.secret[:32], key.secret[32:], binding(name))


def binding(name: str) -> bytes:
    """Return what the bytes of the blob `name` are bound to: its tenant and its id."""
    return b"holdfast floe1" + b"".join(len(part).to_bytes(2, "big") + part for part in _identity(name))


def _identity(name: str) -> tuple[bytes, bytes]:
    tenant, blob = blob_identity(name)
    return tenant.encode(), blob.encode()


def metadata_room(limit: int) -> int:
    """Return how many bytes of names and values fit where the store takes `limit` bytes of metadata."""
    return max(0, (limit - len(METADATA)) // 4 * 3 - _META_OVERHEAD - _ENTRY * _ENTRIES)


def seal_metadata(name: str, key: BlobKey, metadata: dict[str, str], nonce: bytes) -> bytes:
    """Return all names and values, sealed as one."""
    parts = [text.encode() for pair in metadata.items() for text in pair]
    plain = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return nonce + _metadata_cipher(key).encrypt(nonce, plain, binding(name))


def open_metadata(name: str, key: BlobKey, sealed: bytes) -> dict[str, str]:
    """Return what was sealed; `FloeError` when it is not as it was."""
    try:
        plain = _metadata_cipher(key).decrypt(sealed[:NONCE], sealed[NONCE:], binding(name))
    except (InvalidTag, ValueError):
        raise FloeError("its metadata is not what was sealed") from None
    parts: list[str] = []
    at = 0
    while at < len(plain):
        size = int.from_bytes(plain[at : at + 2], "big")
        parts.append(plain[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _metadata_cipher(key: BlobKey) -> AESGCM:
    return AESGCM(hmac.digest(key.secret[:32], b"holdfast metadata" + key.secret[32:] + b"\x01", "sha256"))
