"""`holdfast adopt`: what lies in a bucket or a folder already, indexed where it is."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.admin import Tenant
from holdfast.cli.command import Cli, command


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "adopt", panel=panel)
    async def adopt(
        cli: Cli,
        store: Annotated[str, typer.Argument(metavar="STORE")],
        prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="only names that begin so")] = "",
        bucket: Annotated[str, typer.Option("--bucket", "-b", help="the bucket that gets the objects")] = "",
        strip: Annotated[
            str | None,
            typer.Option(metavar="TEXT", help="what is left out at the beginning of names (default: PREFIX)"),
        ] = None,
        add: Annotated[str, typer.Option(metavar="TEXT", help="what is put before names")] = "",
        heads: Annotated[
            bool,
            typer.Option("--heads", help="ask for each object: its type, metadata and tags come along"),
        ] = False,
        own: Annotated[
            bool,
            typer.Option("--own", help="what is deleted or replaced here is deleted there; else it stays"),
        ] = False,
        read: Annotated[
            bool, typer.Option("--read", help="read each object, to know its digests from the start")
        ] = False,
        tenant: Tenant = None,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Index what lies in STORE where it is: no byte is copied, and again only what changed is looked at.

        From then on it is like any other object. What others write there later is seen by the next run, or at once
        when the bucket follows the store (`holdfast upstream`).
        """
        spec = {
            "store": store,
            "prefix": prefix,
            "bucket": bucket,
            "strip": strip,
            "add": add,
            "heads": heads,
            "keep": not own,
            "digests": "read" if read else "none",
            "tenant": tenant or cli.target.tenant(),
        }
        return await starting.start(cli, "adopt", spec, run)
