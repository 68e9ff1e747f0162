"""Fixtures of the doors: a service for the tests of one file, and the same verbs with and without it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from tests.doors.cli_tools import Place, Server, embedded, serving
from tests.doors.preloaded import executable
from tests.doors.rest_service import Service
from tests.doors.rest_service import serving as dev_serving


@pytest.fixture(scope="module")
def rest_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in development mode, with the buckets `plain` and `kept` (versioned)."""
    with dev_serving(tmp_path_factory.mktemp("rest")) as service:
        yield service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real service."""
    with serving(tmp_path_factory.mktemp("service") / "data", program=executable()) as running:
        yield running


@pytest.fixture(params=["embedded", "server"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[holdfast.Client]:
    """The Python client, over an engine of its own and over the service."""
    if request.param == "embedded":
        opened = holdfast.open(tmp_path / "data")
    else:
        server: Server = request.getfixturevalue("server")
        opened = holdfast.open(server.url, token=server.token)
    with opened:
        yield opened


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where commands run: over an engine of their own and over the service."""
    if request.param == "embedded":
        return embedded(tmp_path)
    server: Server = request.getfixturevalue("server")
    return server.place(tmp_path)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for a bucket of this test alone."""
    return "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
