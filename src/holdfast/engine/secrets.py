"""The one secret of a service, and the keys made of it: each use has its own, so that none can stand for another."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

_LEAST: Final = 32  #: bytes
_NAME: Final = "root"


class RootSecret:
    """What signed URLs, sessions, tokens and the audit's MACs are derived from. It is never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) < _LEAST:
            raise ConfigError(
                f"the secret is too short: it needs at least {_LEAST} bytes; make one with: openssl rand -hex 32"
            )
        self._value = value

    @classmethod
    def fresh(cls, environment: Environment) -> RootSecret:
        """Return a new one."""
        return cls(_random(environment))

    def derive(self, label: str, *subjects: str) -> bytes:
        """Return the 32-byte key for one use (`label`) and what it is about; labels hold no NUL."""
        said = "\0".join((label, *subjects))
        return hmac.digest(self._value, said.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def __repr__(self) -> str:
        return "RootSecret(***)"


async def root_secret(catalog: Catalog, environment: Environment, configured: str = "") -> RootSecret:
    """Return the secret that the operator named, else the one that the catalog keeps for all processes over it.

    Raises:
        ConfigError: the configured one is too short.
    """
    if configured.strip():
        return RootSecret(configured.strip().encode())
    return RootSecret(await catalog.secret(_NAME, _random(environment)))


def _random(environment: Environment) -> bytes:
    return environment.random.getrandbits(256).to_bytes(32, "big")
