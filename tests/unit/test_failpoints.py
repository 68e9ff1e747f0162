"""The names of places where a test may make the process die are those that the code passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import holdfast
from holdfast.core.failpoints import NAMES

pytestmark = pytest.mark.unit

PASSED = re.compile(r"\bfailpoint\(\s*\"([^\"]+)\"")


def test_every_place_that_the_code_passes_is_named_once() -> None:
    source = Path(holdfast.__file__).parent
    passed = {name for file in source.rglob("*.py") for name in PASSED.findall(file.read_text("utf-8"))}
    assert "put.after_store" in passed
    assert sorted(NAMES) == sorted(passed)
