"""`holdfast pull`: what a bucket or a store holds fetched into a directory, what is equal left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import syncing
from holdfast.cli.command import Cli, command


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "pull", panel=panel)
    async def pull(
        cli: Cli,
        source: Annotated[
            str,
            typer.Argument(
                metavar="SOURCE",
                help="BUCKET/PREFIX; without a catalog store:NAME/PREFIX or s3://BUCKET/PREFIX",
            ),
        ],
        target: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="made if it is not there")],
        options: syncing.Options = syncing.PLAIN,
    ) -> int | None:
        """Fetch the objects that are new or changed, by size and time; nothing is written outside of the directory.

        A run that was killed is continued by the next. Exit status 15: some objects failed, and each was named.
        """
        from holdfast.library.syncing.pull import pull as fetch

        where = syncing.remote(source)
        wish = options.wish()
        async with syncing.opened(cli, where, wish) as place:
            with cli.out.progress(str(where), None) as progress:
                report = syncing.report_of(cli, wish, progress, options.verbose)
                with syncing.going_on(cli, report):
                    await fetch(place, target, wish, report)
        if where.prefix and not report.met and not options.selects:
            cli.out.note(f"there is nothing in {where}; of one object: holdfast get")
        return syncing.end(cli, report, wish, "fetched")
