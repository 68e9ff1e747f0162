"""Fixtures of the doors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doors.rest_service import Service, serving


@pytest.fixture(scope="module")
def rest_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in development mode, with the buckets `plain` and `kept` (versioned)."""
    with serving(tmp_path_factory.mktemp("rest")) as service:
        yield service
