"""`holdfast scrub`: read copies and compare them with what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.admin import seconds
from holdfast.cli.command import Cli, command
from holdfast.core.errors import InvalidRequestError


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "scrub", panel=panel)
    async def scrub(
        cli: Cli,
        store: Annotated[str | None, typer.Option(help="only this store; else all but archives")] = None,
        bucket: Annotated[str | None, typer.Option(help="only the copies of this bucket")] = None,
        tenant: Annotated[str | None, typer.Option(help="only the copies of this tenant")] = None,
        max_age: Annotated[
            str | None, typer.Option(help="only what was not proved for so long, as 7d (30d)")
        ] = None,
        budget: Annotated[
            str | None, typer.Option(metavar="SIZE", help="read at most so much of each store, as 100GB")
        ] = None,
        share: Annotated[
            float | None, typer.Option(help="read at most this share of each store's bytes, as 0.04")
        ] = None,
        sample: Annotated[
            float | None, typer.Option(help="read this share of the copies, by chance, as 0.1")
        ] = None,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Read copies whole, the least lately proved first, and compare them with what was written.

        A bad copy is passed over by readers and made again from a sound one. Where no sound one is left, that is told
        (`holdfast findings`), and nothing is removed.
        """
        if bucket and not tenant:
            tenant = _tenant(cli)
        spec = {
            "store": store,
            "bucket": bucket,
            "tenant": tenant,
            "max_age": seconds(max_age, "--max-age"),
            "budget": budget,
            "share": share,
            "sample": sample,
        }
        return await starting.start(cli, "scrub", spec, run)


def _tenant(cli: Cli) -> str:
    if cli.target.url:
        raise InvalidRequestError("--bucket goes with --tenant")
    return cli.target.settings().tenant
