"""`holdfast dvc`: a store as the remote of a DVC repository."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import syncing
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.output import visible
from holdfast.core.errors import InvalidRequestError


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Stores as remotes of DVC.")
    app.add_typer(group, name="dvc", rich_help_panel=panel)
    beside_catalog(group)

    @command(group, "setup")
    async def setup(
        cli: Cli,
        store: Annotated[
            str | None, typer.Option(metavar="STORE", help="a store of the configuration: s3, naas or local")
        ] = None,
        bucket: Annotated[
            str | None,
            typer.Option(metavar="BUCKET", help="instead: a bucket, with AWS_* saying where and who"),
        ] = None,
        remote: Annotated[str, typer.Option(metavar="NAME", help="what DVC calls it")] = "",
        folder: Annotated[str, typer.Option(help="folder of the store that is DVC's")] = "dvc",
        directory: Annotated[
            Path | None,
            typer.Option("--dir", help="the .dvc directory; else that of the repository"),
        ] = None,
        default: Annotated[
            bool, typer.Option("--default", help="also where another remote is the default")
        ] = False,
    ) -> None:
        """Write the remote into .dvc/config, and its keys into .dvc/config.local, which only you can read.

        Run it again when the keys have ended: they are fetched anew, and nothing else changes.
        """
        from holdfast.core.clock import Environment
        from holdfast.library import dvc
        from holdfast.library.dvc_remotes import remote_of
        from holdfast.library.syncing import place
        from holdfast.library.syncing.opening import s3_of_environment

        if (store is None) == (bucket is None):
            raise InvalidRequestError("name the place with --store STORE or with --bucket BUCKET")
        name = dvc.check_name(remote or store or "holdfast")
        where = directory or dvc.find(Path.cwd())
        if store is not None:
            driver, values = syncing.store_values(cli, store)
        else:
            driver, values = "s3", s3_of_environment(str(bucket))
        environment = Environment()
        found = await remote_of(
            store or str(bucket), driver, values, place.folder(folder).rstrip("/"), environment=environment
        )
        if not where.is_dir() and not (where.name == ".dvc" and where.absolute().parent.is_dir()):
            raise InvalidRequestError(f"--dir {where}: there is no such directory; `dvc init` makes one")
        written = dvc.write(where, name, found, default=default)
        facts = {
            "remote": name,
            "url": found.public["url"],
            "config": str(written.config),
            "local": str(written.local),
            "default": written.default == name,
            "expires": _when(found.expires),
        }
        cli.out.record(
            facts, f"remote {name}: {visible(str(found.public['url']))} in {visible(str(written.config))}"
        )
        if found.expires is not None:
            left = max(0, found.expires - environment.clock.now()) // 60_000_000
            cli.out.note(
                f"its keys end at {_when(found.expires)}, in {left // 60} h {left % 60} min; run this again by then"
            )
        if written.default != name:
            cli.out.note(f"the default remote is {written.default}; use this one with: dvc push -r {name}")


def _when(micros: int | None) -> str | None:
    return None if micros is None else f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
