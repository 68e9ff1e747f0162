"""The whole command line: all commands at once, for help and for whatever `quick` does not know."""

from __future__ import annotations

import typer

from holdfast.cli.rooms import ROOMS, register


def _show_version(wanted: bool) -> None:
    if wanted:
        from holdfast import __version__

        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="holdfast",
    help="Put, find and get objects, whatever holds their bytes. Objects are written BUCKET/KEY.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit statuses and examples: docs/guides/command-line.md",
)


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Put, find and get objects, whatever holds their bytes. Objects are written BUCKET/KEY."""


for panel, modules in ROOMS.items():
    for module in modules:
        register(app, module, panel)
