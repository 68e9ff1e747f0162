"""The reference of the command line, made from the commands themselves, so that it cannot differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_SHARED: Final = ("Where", "How it is shown")
#: Commands on catalog and stores themselves.
_LOCAL: Final = (
    *(
        "apply",
        "audit",
        "catalog",
        "config",
        "cost",
        "encryption",
        "key",
        "placement",
        "plan",
        "reconcile",
        "store",
        "sweep",
    ),
    *("tenant", "token"),
)


def reference() -> str:
    """Return the page, in Markdown."""
    from typer.main import get_command

    from holdfast.cli.app import app

    root = get_command(app)
    lines = [
        "# Command line reference",
        "",
        "Examples: [the guide](../guides/command-line.md).",
        "",
        "## Options of every command",
        "",
        "They say where to work and how to show it. `serve` has only `--data`, `--config` and `--debug` of them.",
        "",
        f"{_named(_LOCAL)} work where catalog and stores are, with `--data` or `--config`, and need no token; they refuse",
        "a server's URL. What they do can be asked of a server over [REST](openapi.json).",
        "",
        *_table(_options(_commands(root, "holdfast")[0][1], shared=True)),
        "## Exit statuses",
        "",
        *_statuses(),
    ]
    for name, command in _commands(root, "holdfast"):
        lines += _section(name, command)
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, name: str) -> list[tuple[str, Any]]:
    """Return every command that does something, with its full name, in the order of the help."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(name, command)]
    return [found for part, inner in below.items() for found in _commands(inner, f"{name} {part}")]


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(_metavar(argument) for argument in arguments)])
    yield from (f"## {name}", "", f"```text\n{usage}\n```", "", " ".join((command.help or "").split()), "")
    rows = [
        (f"`{_metavar(argument)}`", argument.help or "")
        for argument in arguments
        if getattr(argument, "help", None)
    ]
    yield from _table(rows + _options(command, shared=False))


def _options(command: Any, *, shared: bool) -> list[tuple[str, str]]:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name != "option" or parameter.name == "help":
            continue
        if (getattr(parameter, "rich_help_panel", None) in _SHARED) is shared:
            names = ", ".join(f"`{name}`" for name in parameter.opts)
            rows.append((names, parameter.help or ""))
    return rows


def _named(commands: tuple[str, ...]) -> str:
    *most, last = (f"`{name}`" for name in commands)
    return f"{', '.join(most)} and {last}"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _table(rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    escaped = [(name, text.replace("|", "\\|")) for name, text in rows]
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in escaped), ""]


def _statuses() -> list[str]:
    from holdfast.cli.exit import ENDINGS

    head = ["| Status | Code | Hint |", "|---|---|---|"]
    return [*head, *(f"| {end.status} | `{kind.code}` | {end.hint} |" for kind, end in ENDINGS.items()), ""]
