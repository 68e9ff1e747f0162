"""A backend written by others keeps the promises too: they are promises of storage, not of our code."""

import pytest

from holdfast.testing.run import conformance
from tests.conformance.foreign import ForeignBackend

pytestmark = pytest.mark.engine

test_promise = conformance(lambda environment, folder: ForeignBackend())
