"""The commands and where each is: one line per file."""

from __future__ import annotations

import typer

from holdfast.cli import (
    adopt,
    apply,
    audit,
    backup,
    bucket,
    bucket_settings,
    catalog,
    config,
    cost,
    cp,
    dvc,
    encryption,
    find,
    findings,
    fsck,
    get,
    health,
    hold,
    job,
    key,
    lifecycle,
    ls,
    moving,
    placement,
    presign,
    pull,
    push,
    put,
    reconcile,
    restore,
    rm,
    schedule,
    scrub,
    serve,
    snapshot,
    stat,
    store,
    sweep,
    tag,
    tenant,
    tiering,
    token,
    upstream,
    versions,
)

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


for room in (
    put,
    get,
    push,
    pull,
    ls,
    find,
    stat,
    tag,
    cp,
    rm,
    versions,
    presign,
    bucket,
    bucket_settings,
    lifecycle,
    hold,
    snapshot,
):
    room.register(app, OBJECTS)
for room in (
    serve,
    health,
    store,
    catalog,
    sweep,
    scrub,
    fsck,
    findings,
    reconcile,
    adopt,
    upstream,
    moving,
    tiering,
    config,
    apply,
    tenant,
    key,
    token,
    audit,
    cost,
    placement,
    dvc,
    encryption,
    backup,
    restore,
    job,
    schedule,
):
    room.register(app, OPERATE)
