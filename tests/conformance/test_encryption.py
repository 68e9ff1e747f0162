"""The encryption layer over memory, with a ring that knows every key and with one that knows none, over a bare store, and
in the whole stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.core.keyring import BlobKey
from holdfast.layers import stack
from holdfast.layers.encryption import Encryption
from holdfast.testing.keyring import MemoryKeyRing
from holdfast.testing.run import conformance
from tests.conformance.foreign import ForeignBackend

pytestmark = pytest.mark.engine


class Forgetful(MemoryKeyRing):
    """Keeps nothing, so that every blob must be asked for the key that it carries."""

    async def find(self, store: str, name: str) -> BlobKey | None:
        self._check(name)
        return None


def encrypted(environment: Environment, folder: Path) -> Encryption:
    ring = MemoryKeyRing(environment)
    return Encryption(MemoryBackend("memory", environment=environment), ring, environment=environment)


def carried(environment: Environment, folder: Path) -> Encryption:
    ring = Forgetful(environment)
    return Encryption(MemoryBackend("memory", environment=environment), ring, environment=environment)


def over_foreign(environment: Environment, folder: Path) -> Encryption:
    return Encryption(ForeignBackend(), MemoryKeyRing(environment), environment=environment)


def sealed_face(environment: Environment, folder: Path) -> Backend:
    made = stack.faces(
        MemoryBackend("memory", environment=environment),
        environment=environment,
        encrypt=lambda backend: Encryption(backend, MemoryKeyRing(environment), environment=environment),
    )
    assert made.sealed is not None
    return made.sealed


test_over_memory = conformance(encrypted)
test_with_carried_keys = conformance(carried)
test_over_foreign = conformance(over_foreign)
test_the_sealed_face_of_the_stack = conformance(sealed_face)
