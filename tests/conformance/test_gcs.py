"""The driver for Google Cloud Storage keeps every promise on the fake, which runs in a process of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.object_store.gcs import GcsSettings, open_gcs
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.testing.fakes.gcs import FakeGcs, separate
from holdfast.testing.run import conformance
from tests.conformance import copies

pytestmark = pytest.mark.engine

_stack = contextlib.ExitStack()
_running: dict[str, Any] = {}
_pairs: list[FakeGcs] = []


def teardown_module() -> None:
    _stack.close()
    _running.clear()
    _pairs.clear()


def factory(environment: Environment, folder: Path) -> Backend:
    if not _running:
        _running.update(_stack.enter_context(separate()))
    values = {**_running, "part_size": 5 << 20}
    return open_gcs("gcs", GcsSettings.model_validate(values), environment=environment)


test_promise_on_the_fake = conformance(factory)


def pair(environment: Environment, folder: Path) -> tuple[Backend, Backend]:
    """Two buckets of a fake that takes its time over what is large."""
    if not _pairs:
        _pairs.append(_stack.enter_context(FakeGcs(rewrite_step=200_000)))
        _pairs[0].add_bucket("others")

    def opened(bucket: str) -> Backend:
        settings = GcsSettings.model_validate(_pairs[0].settings(bucket))
        return open_gcs(bucket, settings, environment=environment)

    return opened("others"), opened("blobs")


test_copies_between_buckets = copies.kept_by(pair)
