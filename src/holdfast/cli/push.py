"""`holdfast push`: a directory sent to a bucket or a store, what is equal left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import syncing
from holdfast.cli.command import Cli, command


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "push", panel=panel)
    async def push(
        cli: Cli,
        source: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="what is sent")],
        target: Annotated[
            str,
            typer.Argument(
                metavar="TARGET",
                help="BUCKET/PREFIX; without a catalog store:NAME/PREFIX or s3://BUCKET/PREFIX",
            ),
        ],
        options: syncing.Options = syncing.PLAIN,
    ) -> int | None:
        """Send the files of a directory that are new or changed, by size and time.

        A run that was killed is continued by the next. Exit status 15: some files failed, and each was named.
        """
        from holdfast.library.syncing.push import push as send

        where = syncing.remote(target)
        wish = options.wish()
        async with syncing.opened(cli, where, wish) as place:
            with cli.out.progress(str(source), None) as progress:
                report = syncing.report_of(cli, wish, progress, options.verbose)
                with syncing.going_on(cli, report):
                    await send(source, place, wish, report)
        return syncing.end(cli, report, wish, "sent")
