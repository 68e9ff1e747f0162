"""Plain values of options and arguments come as they were given; all else is for typer, complaints too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from holdfast.cli.plain import lighten

pytestmark = pytest.mark.unit


GIVEN: dict[str, Any] = {}


def loud(value: str | None) -> str | None:
    return value and value.upper()


def do(
    first: Annotated[str, typer.Argument()],
    rest: Annotated[list[str] | None, typer.Argument()] = None,
    path: Annotated[Path | None, typer.Option()] = None,
    words: Annotated[list[str] | None, typer.Option()] = None,
    count: Annotated[int, typer.Option(min=1, max=9)] = 3,
    share: Annotated[float | None, typer.Option()] = None,
    flag: Annotated[bool, typer.Option()] = False,
    name: Annotated[str | None, typer.Option(callback=loud)] = None,
) -> None:
    GIVEN.update(locals())


def called(arguments: list[str], *, light: bool) -> tuple[Any, dict[str, Any]]:
    """Return exit status and what the command was given."""
    GIVEN.clear()
    app, group = typer.Typer(add_completion=False), typer.Typer()
    app.add_typer(group, name="group")
    group.command("do")(do)
    group.command("other")(loud)
    built = get_command(app)
    if light:
        lighten(built)
    with pytest.raises(SystemExit) as ended:
        built(["group", "do", *arguments], prog_name="x")
    return ended.value.code, dict(GIVEN)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["a", "b", "c"],
        ["", "--path", ""],
        ["a", "--path", "~/x/../y", "--words", "p", "--words", ""],
        ["a", "--count", "9", "--share", "1e-3", "--flag"],
        ["a", "--no-flag", "--name", "n"],
        ["-", "--name", ""],
        [],
        ["a", "--count", "0"],
        ["a", "--count", "many"],
        ["a", "--share", ""],
        ["a", "--path"],
        ["a", "--unknown"],
        ["--help"],
    ],
)
def test_a_command_is_called_as_typer_calls_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    usual = called(arguments, light=False), capsys.readouterr()
    assert (called(arguments, light=True), capsys.readouterr()) == usual


@pytest.mark.parametrize("arguments", [["ls", "--server", "http://127.0.0.1:9"], ["job", "list", "--help"]])
def test_a_command_does_not_start_what_checks_values(arguments: list[str]) -> None:
    program = (
        "import sys, holdfast.cli as cli; cli.run(sys.argv[1:]); sys.exit('typer._adapters' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
