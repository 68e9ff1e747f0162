"""The examples in the docstrings of the library are true: each is run, on a client with one empty bucket."""

from __future__ import annotations

import asyncio
import doctest
import importlib
from pathlib import Path

import pytest

import holdfast

pytestmark = pytest.mark.doors

_MODULES = ("holdfast", "holdfast.library.sync", "holdfast.facades")


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    found = [test for name in _MODULES for test in finder.find(importlib.import_module(name), name)]
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.name)
def test_examples(example: doctest.DocTest, tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "client") as client:
        client.create_bucket("photos")
        example.globs = {"holdfast": holdfast, "client": client, "folder": tmp_path, "asyncio": asyncio}
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        told: list[str] = []
        outcome = runner.run(example, out=told.append, clear_globs=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(told)


def test_there_are_examples_for_the_main_verbs() -> None:
    names = {example.name.rpartition(".")[2] for example in _examples()}
    assert {
        "open",
        "open_async",
        "put",
        "get",
        "stream",
        "head",
        "delete",
        "copy",
        "versions",
        "pages",
    } <= names
