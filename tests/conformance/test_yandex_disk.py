"""The backend for Yandex.Disk keeps every promise on a fake that answers as the documentation says.

The fake lists names without regard to case, answers copies with 202, and takes each upload link once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backends.yandex_disk import YandexDiskBackend, YandexDiskSettings, open_yandex_disk
from holdfast.core.clock import Environment
from holdfast.testing.fakes.yandex_disk import FakeYandexDisk
from holdfast.testing.run import conformance
from tests.conformance import copies

pytestmark = pytest.mark.engine

#: Promises that the same lines keep for copies inside one store, which are tried anyway.
_OF_COPY = {"names_of_any_kind_are_found", "a_copy_replaces_its_target_and_leaves_no_third_name"}

_running: list[FakeYandexDisk] = []


def teardown_module() -> None:
    while _running:
        _running.pop().stop()


def _backend(environment: Environment, folder: Path) -> YandexDiskBackend:
    """Return a store in a folder of its own; the application's folder stands for the whole Disk."""
    if not _running:
        _running.append(FakeYandexDisk().start())
    values = _running[0].settings(
        root=f"app:/{environment.new_id()}", conditional_writes=True, refresh_token="", upload_concurrency=8
    )
    return open_yandex_disk("disk", YandexDiskSettings.model_validate(values), environment=environment)


test_promise = conformance(_backend)


def pair(environment: Environment, folder: Path) -> tuple[YandexDiskBackend, YandexDiskBackend]:
    """Return two folders of one Disk."""
    return _backend(environment, folder), _backend(environment, folder)


test_copies_inside_the_disk = copies.kept_by(pair, only=sorted(set(copies.PROMISES) - _OF_COPY))
