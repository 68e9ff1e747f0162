"""The memory backend keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backends.memory import MemoryBackend, MemorySettings, open_memory
from holdfast.core.clock import Environment
from holdfast.testing.run import conformance
from tests.conformance import copies

pytestmark = pytest.mark.engine

test_promise = conformance(
    lambda environment, folder: open_memory("memory", MemorySettings(), environment=environment)
)


def pair(environment: Environment, folder: Path) -> tuple[MemoryBackend, MemoryBackend]:
    return MemoryBackend("here", environment=environment), MemoryBackend("there", environment=environment)


test_copies_between_two = copies.kept_by(pair)
