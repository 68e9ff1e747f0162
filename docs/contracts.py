"""The page of contracts: every endpoint and variable that they name, and the test that proves it."""

from __future__ import annotations

import ast
import inspect
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

from holdfast import facades
from holdfast.api.openapi import reference
from holdfast.config.legacy import VARIABLES

ROOT: Final = Path(__file__).parent.parent
DATA: Final = ROOT / "tests" / "contracts.toml"
_TABLES: Final = (
    ("Endpoint", "calls"),
    ("Variable", "variables"),
    ("Method", "methods"),
    ("Statement", "statements"),
)
_INTRODUCTION: Final = """# Compatibility

What services and people that were written for other storage services can go on using here. Each line is proved by the
test it names. A token is needed as everywhere (`Authorization: Bearer …`); the routes of the older service can be turned
off with `compat = false`.

Differences that are meant: the port is 8083, also where the older code listened on 8081 (set `PORT=8081`); there is no
default password; nothing is removed by age, and no size is refused, until `RETENTION_DAYS` and `MAX_FILE_SIZE` say so;
listings are pages of at most 1,000; `GET /api/v1/buckets` answers with objects instead of names. The variables weigh less
than `HOLDFAST_*` variables and flags, and more than the configuration file; those about the store count only where no
store is configured in another way.

There are two kinds of bucket here. `MINIO_BUCKET` is the bucket on the S3 server that holds all bytes: it is not made, and a
start without it ends with an error that names it. `DEFAULT_BUCKET` is the bucket inside the service for uploads that name
none: it is made at the start; its name serves for the S3 bucket too when `MINIO_BUCKET` is not set.

Forms and examples of the routes of the older service: [the guide](../guides/compatibility.md).
"""


class ContractError(Exception):
    """A line of the table is not true."""


def page() -> str:
    """Return the page.

    Raises:
        ContractError: a test or a route that a line names does not exist, or a variable is not understood.
    """
    text = _INTRODUCTION
    for contract in contracts():
        text += f"\n## {contract['name']}\n"
        for title, kind in _TABLES:
            if not contract.get(kind):
                continue
            text += f"\n| {title} | | Proved by |\n|---|---|---|\n"
            for name, test, note in contract[kind]:
                check(kind, name, test)
                proof = f"`tests/{test}`" if test else "*not yet*"
                instead = "instead: " if not test and note.startswith(("`", "objects under")) else ""
                shown = name if kind == "statements" else f"`{name}`"
                text += f"| {shown} | {instead}{note} | {proof} |\n"
    return text


def contracts() -> list[dict[str, Any]]:
    """Return the contracts with their lines."""
    found: list[dict[str, Any]] = tomllib.loads(DATA.read_text("utf-8"))["contract"]
    return found


def check(kind: str, name: str, test: str) -> None:
    """Compare one line with the code."""
    if test and not _exists(test):
        raise ContractError(f"{name}: there is no test {test}")
    if kind == "statements":
        return
    if kind == "variables":
        there = name in VARIABLES
    elif kind == "methods":
        there = _is_method(name)
    else:
        method, _, path = name.partition(" ")
        there = method.lower() in _paths().get(path, {})
    if there != bool(test):
        raise ContractError(f"{name} is {'served but no test proves it' if there else 'not served'}")


def _is_method(name: str) -> bool:
    """Return whether `CLASS.METHOD(argument, …)` of the facades takes these arguments, in this order at first."""
    dotted, _, arguments = name.rstrip(")").partition("(")
    kind, _, method = dotted.partition(".")
    found = getattr(getattr(facades, kind, None), method or "__init__", None)
    if found is None:
        return False
    wanted = [argument for argument in arguments.split(", ") if argument]
    taken = [parameter for parameter in inspect.signature(found).parameters if parameter != "self"]
    return taken[: len(wanted)] == wanted


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    return name in _functions(ROOT / "tests" / file)


@cache
def _functions(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def _paths() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reference())["paths"]
    return found
