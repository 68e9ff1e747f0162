"""The driver for Google Cloud Storage keeps every promise on the fake, which runs in a process of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.object_store.gcs import GcsSettings, open_gcs
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.testing.fakes.gcs import separate
from holdfast.testing.run import conformance

pytestmark = pytest.mark.engine

_stack = contextlib.ExitStack()
_running: dict[str, Any] = {}


def teardown_module() -> None:
    _stack.close()
    _running.clear()


def factory(environment: Environment, folder: Path) -> Backend:
    if not _running:
        _running.update(_stack.enter_context(separate()))
    values = {**_running, "part_size": 5 << 20}
    return open_gcs("gcs", GcsSettings.model_validate(values), environment=environment)


test_promise_on_the_fake = conformance(factory)
