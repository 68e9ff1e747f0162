"""The S3 backend keeps every promise on independent real servers, over plain HTTP and over TLS.

What a server cannot do is named here, each with its reason, and has to fail: a departure that is gone is an error.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.core.clock import Environment
from holdfast.testing.checks import CHECKS
from holdfast.testing.run import conformance
from holdfast.testing.servers import SERVERS, S3Server, minio_s3, require
from tests.conformance import copies

pytestmark = pytest.mark.engine

_stack = contextlib.ExitStack()
_running: dict[str, S3Server] = {}
_starts = {**SERVERS, "minio-tls": lambda: minio_s3(tls=True)}


def teardown_module() -> None:
    _stack.close()
    _running.clear()
    os.environ.pop("SSL_CERT_FILE", None)


def on(kind: str, **settings: Any) -> Callable[[Environment, Path], ObjectStoreBackend]:
    """Return a factory of backends on the server `kind`, started for the first of them."""

    def factory(environment: Environment, folder: Path) -> ObjectStoreBackend:
        if kind not in _running:
            _running[kind] = _stack.enter_context(require(_starts[kind]))
        server = _running[kind]
        if server.ca_file is not None:
            os.environ["SSL_CERT_FILE"] = str(server.ca_file)  # for the plain client that tries signed URLs
        values = {
            "endpoint": server.endpoint,
            "bucket": server.bucket,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "allow_http": server.ca_file is None,
            "ca_file": server.ca_file,
            **settings,
        }
        return open_s3("s3", S3Settings.model_validate(values), environment=environment)

    return factory


def but_for(departures: Mapping[str, str], factory: Callable[..., ObjectStoreBackend]) -> Callable[..., None]:
    """Return the conformance test in which `departures` (promise: reason) must fail; a reason with "~" only may."""
    assert set(departures) <= set(CHECKS)
    inner = conformance(factory)

    def case(name: str) -> Any:
        reason = departures.get(name)
        if reason is None:
            return name
        return pytest.param(name, marks=pytest.mark.xfail(reason=reason, strict="~" not in reason))

    @pytest.mark.parametrize("promise", [case(name) for name in CHECKS])
    def test(promise: str, tmp_path: Path) -> None:
        inner(promise, tmp_path)

    return test


_LENGTH = "a space ends each key, so names may have 1,023 bytes and their last segment 254"
_ON_DISK = {
    "a_store_has_a_name_and_limits": _LENGTH,
    "a_segment_may_have_255_bytes": _LENGTH,
    "a_name_may_have_1024_bytes": _LENGTH,
}
_MINIO = {
    **_ON_DISK,
    "writers_and_deleters_do_not_disturb_neighbours": "~ MinIO on one drive may answer 403 while it prunes the folder",
}
_VERSITYGW = {name: reason for name, reason in _ON_DISK.items() if name != "a_name_may_have_1024_bytes"} | {
    "writers_and_deleters_do_not_disturb_neighbours": "~ a put may meet a folder that is just being pruned (409)",
}
_RCLONE = {
    **_ON_DISK,
    "a_copy_keeps_the_metadata": "rclone adds its mtime",
    "readers_see_one_whole_content_while_it_is_overwritten": "~ rclone overwrites in place",
    "a_reader_never_mixes_two_contents": "~ rclone overwrites in place",
    "of_two_writers_one_wins_whole": "~ of writers at once rclone may leave a file that it lists after its deletion",
}

test_promise_on_minio = but_for(_MINIO, on("minio", dialect="minio"))
test_promise_on_minio_over_tls = but_for(_MINIO, on("minio-tls", dialect="minio"))
test_promise_on_versitygw = but_for(_VERSITYGW, on("versitygw", dialect="versitygw"))
test_promise_on_moto = but_for({}, on("moto", conditional_writes=True))
# rclone ignores If-None-Match, and says so nowhere; its dialect has to.
test_promise_on_rclone = but_for(_RCLONE, on("rclone", dialect="rclone"))


def pair(environment: Environment, folder: Path) -> tuple[ObjectStoreBackend, ObjectStoreBackend]:
    made = [on("moto", conditional_writes=True, prefix=f"{name}/")(environment, folder) for name in "ab"]
    return made[0], made[1]


#: The rest is that of copies inside a bucket, which are the same request.
test_copies_on_moto = copies.kept_by(
    pair,
    only=(
        *("it_says_of_whom_it_copies", "a_copy_has_the_bytes_the_name_and_the_metadata"),
        "a_source_that_changes_meanwhile_is_copied_whole_or_not",
    ),
)
