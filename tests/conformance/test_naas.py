"""A storage of Naas keeps every promise, over a fake that gives keys and a gate that believes these keys only.

Behind the gate is rclone, which is quick; what it cannot do itself is tried with moto behind the gate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.naas import NaasBackend, NaasSettings, open_naas
from holdfast.core.backend import Capability
from holdfast.core.clock import Environment
from holdfast.testing.checks import CHECKS
from holdfast.testing.fakes.naas import NaasFake, running
from holdfast.testing.run import conformance
from holdfast.testing.servers import moto_s3, rclone_s3, require

pytestmark = pytest.mark.engine

_stack = contextlib.ExitStack()
_running: dict[str, NaasFake] = {}
_LENGTH = "Naas puts the storage below a prefix of the bucket, which takes from the 1,024 bytes of a key"
_DEPARTURES = {"a_store_has_a_name_and_limits": _LENGTH, "a_name_may_have_1024_bytes": _LENGTH}
#: What rclone cannot do, and moto must.
_NOT_RCLONE = {
    "a_segment_may_have_255_bytes",
    "a_copy_keeps_the_metadata",
    "readers_see_one_whole_content_while_it_is_overwritten",
    "a_reader_never_mixes_two_contents",
    "of_two_writers_one_wins_whole",
    *(name for name, check in CHECKS.items() if Capability.IF_ABSENT in check.needs),
}


def teardown_module() -> None:
    _stack.close()
    _running.clear()


def over(kind: str, **how: Any) -> Callable[[Environment, Path], NaasBackend]:
    """Return a factory of backends on a fake over that server, started for the first of them."""

    def factory(environment: Environment, folder: Path) -> NaasBackend:
        if kind not in _running:
            server = _stack.enter_context(require({"rclone": rclone_s3, "moto": moto_s3}[kind]))
            _running[kind] = _stack.enter_context(running(server))
        settings = NaasSettings.model_validate(_running[kind].settings(**how))
        return open_naas("naas", settings, environment=environment)

    return factory


def promises(factory: Callable[..., NaasBackend], names: set[str]) -> Callable[..., None]:
    """Return the test that tries these promises; the departures must fail."""
    assert set(_DEPARTURES) | _NOT_RCLONE <= set(CHECKS)
    inner = conformance(factory)

    def case(name: str) -> Any:
        fails = [pytest.mark.xfail(reason=_DEPARTURES[name], strict=True)] if name in _DEPARTURES else []
        return pytest.param(name, marks=fails)

    @pytest.mark.parametrize("promise", [case(name) for name in CHECKS if name in names])
    def test(promise: str, tmp_path: Path) -> None:
        inner(promise, tmp_path)

    return test


test_promise_on_naas = promises(over("rclone", dialect="rclone"), set(CHECKS) - _NOT_RCLONE)
test_promise_on_naas_over_moto = promises(over("moto"), _NOT_RCLONE)
