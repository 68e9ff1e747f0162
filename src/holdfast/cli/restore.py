"""`holdfast restore`: put a backup back, all of it or a part."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.backup import Identity, Set, Store
from holdfast.cli.command import Cli, command
from holdfast.cli.times import HOW, moment_text
from holdfast.core.errors import InvalidRequestError


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "restore", panel=panel)
    async def restore(
        cli: Cli,
        wanted: Set,
        store: Store = None,
        identity: Identity = None,
        tenant: Annotated[str | None, typer.Option(help="only this tenant")] = None,
        bucket: Annotated[str | None, typer.Option(help="only this bucket, with --tenant")] = None,
        key: Annotated[str | None, typer.Option(help="only this object, with --bucket")] = None,
        prefix: Annotated[str | None, typer.Option(help="only keys that begin so, with --bucket")] = None,
        at: Annotated[
            str | None,
            typer.Option(
                "--at", metavar="TIME", help=f"only versions made by then, as history has them: {HOW}"
            ),
        ] = None,
        into: Annotated[
            str | None,
            typer.Option(metavar="BUCKET", help="into this bucket instead, made when it is not there"),
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="what was current at the backup is current again")
        ] = False,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Put a backup back, over nothing that is newer than it; what is there already is left as it is."""
        if bucket and not tenant:
            raise InvalidRequestError("--bucket goes with --tenant: whose bucket is it?")
        spec = {
            "store": store,
            "set": wanted,
            "identity": None if identity is None else str(identity.absolute()),
            "tenant": tenant,
            "bucket": bucket,
            "key": key,
            "prefix": prefix,
            "at": moment_text(at),
            "into": into,
            "overwrite": overwrite,
        }
        return await starting.start(cli, "restore", spec, run)
