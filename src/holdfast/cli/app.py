"""The commands and where each is: one line per file."""

from __future__ import annotations

import typer

from holdfast.cli import bucket, catalog, config, cp, get, ls, put, rm, serve, stat, store, sweep, versions

OBJECTS = "Objects"
OPERATE = "Run and look after it"


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


for room in (put, get, ls, stat, cp, rm, versions, bucket):
    room.register(app, OBJECTS)
for room in (serve, store, catalog, sweep, config):
    room.register(app, OPERATE)
