"""The secret settings of stores as the catalog holds them: AES-256-GCM, a data key of its own for each record.

The data key is wrapped by a key-encryption key, which has an id. So keys are rotated by wrapping the data keys again,
and whoever reads the catalog without these keys reads no secret. A record, version 1 (numbers big-endian):

    magic         4   `HFS1`
    fields        2 + n   names of the secret settings, JSON list, sorted; they are no secret
    key id        1 + n   ASCII, of the key-encryption key
    wrapping     12 + 48   nonce; data key and tag, sealed with the key-encryption key
                           AAD: magic, `key`, key id, store, fields
    content      12 + n   nonce; JSON object of the secret settings and tag, sealed with the data key
                           AAD: magic, `content`, store, fields

where each part of an AAD but the magic goes with its length in front (4 bytes). The store's name is in it, so that a
record cannot be moved to another store; so is the set of fields, so that none can be hidden or added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.engine.secrets import RootSecret

ROOT_KEY: Final = "root"  #: the key that is made of the service's own secret, when operators name none
_MAGIC: Final = b"HFS1"
_NONCE: Final = 12
_KEY: Final = 32
_TAG: Final = 16
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class _Record:
    fields: bytes
    key_id: str
    wrapping: bytes
    content: bytes

    @property
    def bytes(self) -> bytes:
        name = self.key_id.encode()
        return b"".join(
            (
                _MAGIC,
                len(self.fields).to_bytes(2, "big"),
                self.fields,
                len(name).to_bytes(1, "big"),
                name,
                self.wrapping,
                self.content,
            )
        )


class Sealer:
    """Seals with the first of its keys, opens with any of them. Keys are never shown."""

    __slots__ = ("_environment", "_keys")

    def __init__(self, keys: Sequence[tuple[str, bytes]], environment: Environment) -> None:
        self._keys = dict(keys)
        self._environment = environment

    @property
    def key_id(self) -> str:
        """The id of the key that is sealed with."""
        return next(iter(self._keys))

    def seal(self, store: str, secrets: Mapping[str, Any]) -> bytes:
        """Return the record of `secrets` for `store`; nothing for none."""
        if not secrets:
            return b""
        fields = json.dumps(sorted(secrets), separators=(",", ":")).encode()
        data_key = self._random(_KEY)
        plain = json.dumps(dict(secrets), sort_keys=True).encode()
        nonce = self._random(_NONCE)
        content = nonce + AESGCM(data_key).encrypt(nonce, plain, _aad(b"content", store, fields))
        return _Record(fields, self.key_id, self._wrapped(data_key, store, fields), content).bytes

    def open(self, store: str, sealed: bytes) -> dict[str, Any]:
        """Return the secrets of a record.

        Raises:
            ConfigError: its key is not among ours (the message names it), or it is not as it was sealed.
        """
        if not sealed:
            return {}
        record = _parsed(store, sealed)
        data_key = self._data_key(store, record)
        try:
            nonce, content = record.content[:_NONCE], record.content[_NONCE:]
            plain = AESGCM(data_key).decrypt(nonce, content, _aad(b"content", store, record.fields))
        except InvalidTag:
            raise _altered(store) from None
        found: dict[str, Any] = json.loads(plain)
        return found

    def rewrap(self, store: str, sealed: bytes) -> bytes:
        """Return the record with its data key wrapped by the first of our keys; itself when it is so already.

        Raises:
            ConfigError: as `open`, also when its key is the first already.
        """
        self.open(store, sealed)  # or what is broken would look sound
        if not sealed or key_id_of(store, sealed) == self.key_id:
            return sealed
        record = _parsed(store, sealed)
        wrapping = self._wrapped(self._data_key(store, record), store, record.fields)
        return _Record(record.fields, self.key_id, wrapping, record.content).bytes

    def __repr__(self) -> str:
        return f"Sealer({', '.join(self._keys)})"

    def _wrapped(self, data_key: bytes, store: str, fields: bytes) -> bytes:
        nonce = self._random(_NONCE)
        aad = _aad(b"key", self.key_id, store, fields)
        return nonce + AESGCM(self._keys[self.key_id]).encrypt(nonce, data_key, aad)

    def _data_key(self, store: str, record: _Record) -> bytes:
        key = self._keys.get(record.key_id)
        if key is None:
            raise ConfigError(
                f"the secrets of store {store} are sealed with the key {record.key_id!r}, which is not among seal_keys"
                f" ({', '.join(self._keys)}); add it back, or set the secrets anew"
            )
        nonce, wrapped = record.wrapping[:_NONCE], record.wrapping[_NONCE:]
        try:
            return AESGCM(key).decrypt(nonce, wrapped, _aad(b"key", record.key_id, store, record.fields))
        except InvalidTag:
            raise _altered(store) from None

    def _random(self, size: int) -> bytes:
        return self._environment.random.getrandbits(8 * size).to_bytes(size, "big")


def sealer_of(text: str, secret: RootSecret, environment: Environment) -> Sealer:
    """Return the sealer with the keys that operators named; the one of the service's secret always opens, as the last.

    Raises:
        ConfigError: `text` is no list of keys.
    """
    own = (ROOT_KEY, secret.derive("secrets of stores"))
    return Sealer((*parse_keys(text), own), environment)


def parse_keys(text: str) -> list[tuple[str, bytes]]:
    """Return the keys of a list `id:hex`, parted by commas or white space.

    Raises:
        ConfigError: one is no key, or its id is taken. No key is shown.
    """
    found: dict[str, bytes] = {}
    for place, entry in enumerate(re.split(r"[,\s]+", text.strip()) if text.strip() else (), start=1):
        name, colon, digits = entry.partition(":")
        if not colon or not _ID.fullmatch(name) or not _HEX.fullmatch(digits):
            raise ConfigError(
                f"seal_keys: entry {place} is not ID:KEY with 64 hexadecimal digits; make one with:"
                " echo k1:$(openssl rand -hex 32)"
            )
        if name in found or name == ROOT_KEY:
            raise ConfigError(f"seal_keys: the id {name!r} is taken; give each key an id of its own")
        found[name] = bytes.fromhex(digits)
    return list(found.items())


def key_id_of(store: str, sealed: bytes) -> str:
    """Return the id of the key that a record is sealed with, "" for no record."""
    return _parsed(store, sealed).key_id if sealed else ""


def fields_of(store: str, sealed: bytes) -> tuple[str, ...]:
    """Return the names of the secrets in a record, also of one whose end is damaged."""
    return _named(store, sealed)[1] if sealed else ()


def _named(store: str, sealed: bytes) -> tuple[bytes, tuple[str, ...]]:
    try:
        fields = sealed[6 : 6 + int.from_bytes(sealed[4:6], "big")]
        names = json.loads(fields)
        if sealed[:4] != _MAGIC or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, TypeError):
        raise _altered(store) from None
    return fields, tuple(names)


def _parsed(store: str, sealed: bytes) -> _Record:
    fields, _ = _named(store, sealed)
    try:
        at = 6 + len(fields)
        end = at + 1 + sealed[at]
        key_id = sealed[at + 1 : end].decode("ascii")
        wrapping = sealed[end : end + _NONCE + _KEY + _TAG]
        content = sealed[end + _NONCE + _KEY + _TAG :]
        if len(content) < _NONCE + _TAG:
            raise ValueError
    except (ValueError, IndexError):
        raise _altered(store) from None
    return _Record(fields, key_id, wrapping, content)


def _aad(use: bytes, *parts: str | bytes) -> bytes:
    encoded = (part if isinstance(part, bytes) else part.encode() for part in (use, *parts))
    return _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _altered(store: str) -> ConfigError:
    return ConfigError(
        f"the secrets of store {store} cannot be opened: they are not as they were sealed, or a key with the same id"
        " is another one now; set the secrets anew"
    )
