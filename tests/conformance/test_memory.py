"""The memory backend keeps every promise."""

import pytest

from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.testing.run import conformance

pytestmark = pytest.mark.engine

test_promise = conformance(
    lambda environment, folder: open_memory("memory", MemorySettings(), environment=environment)
)
