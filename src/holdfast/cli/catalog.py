"""`holdfast catalog`: the database that knows where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import job_text, starting
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.exit import ending
from holdfast.core.errors import AlreadyExistsError, ConfigError

if TYPE_CHECKING:
    from holdfast.config import Settings


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The catalog: its schema and its state.")
    app.add_typer(group, name="catalog", rich_help_panel=panel)
    beside_catalog(group)

    @command(group, "upgrade")
    async def upgrade(cli: Cli) -> None:
        """Bring the catalog's schema up to date, or make it; what is up to date stays as it is."""
        from holdfast.catalog import upgrade
        from holdfast.catalog.upgrading import newest

        settings = cli.target.settings()
        if not settings.catalog:
            _make(settings.data)
        await upgrade(settings.catalog_url)
        where = _where(settings)
        cli.out.record({"catalog": where, "schema": newest()}, f"{where} is at schema {newest()}")

    @command(group, "status")
    async def status(cli: Cli) -> int | None:
        """Show where the catalog is, whether it answers, and whether its schema fits this program."""
        from holdfast.catalog import open_catalog
        from holdfast.catalog.upgrading import newest

        settings = cli.target.settings()
        cli.target.must_exist(settings)
        where, state, end = _where(settings), "up to date", None
        try:
            catalog = await open_catalog(settings.catalog_url)
        except ConfigError as error:
            state, end = error.message, ending(error).status
        else:
            try:
                await catalog.ping()
            finally:
                await catalog.close()
        facts = {"catalog": where, "schema": newest(), "state": state, "usable": end is None}
        cli.out.record(facts, f"{where}\nschema of this program: {newest()}\nstate: {state}")
        return end

    @command(group, "rebuild")
    async def rebuild(
        cli: Cli,
        from_: Annotated[
            list[str] | None,
            typer.Option("--from", metavar="STORE", help="gather from this store; repeatable; else from all"),
        ] = None,
        digests: Annotated[
            bool,
            typer.Option(
                "--digests/--no-digests", help="read blobs that do not say their digests, and large ones"
            ),
        ] = True,
        uploads: Annotated[
            bool,
            typer.Option(
                "--uploads", help="also make versions in parts of which nothing says that they are whole"
            ),
        ] = False,
        objects_per_second: starting.Objects = None,
        dry_run: starting.DryRun = False,
    ) -> int | None:
        """Make tenants, buckets and versions anew from what the blobs in the stores say of themselves.

        For a catalog that is empty, or older than the stores. Nothing in the stores is changed, nothing that the catalog
        knows is replaced by something older, and it may be run again.
        """
        settings = cli.target.settings()
        if not settings.catalog:
            _make(settings.data)
        spec: dict[str, Any] = {"digests": digests, "uploads": uploads}
        if from_:
            spec["stores"] = from_
        if dry_run:
            await _would(cli, settings, spec)
            return None
        await _begin(settings)
        return await starting.start(cli, "rebuild", spec, starting.Run(objects_per_second=objects_per_second))


async def _would(cli: Cli, settings: Settings, spec: Mapping[str, Any]) -> None:
    """Tell what a rebuild would look at. A catalog that is empty stays so, and goes on to refuse stores with objects."""
    from holdfast.app import local_principal, open_engine
    from holdfast.jobs.desk import JobDesk
    from holdfast.jobs.installed import installed

    engine = await open_engine(settings, rebuilding=True)
    try:
        desk = JobDesk(engine, installed(), local_principal(settings))
        job_text.show_forecast(cli, "rebuild", await desk.forecast("rebuild", spec))
    finally:
        await engine.close()


async def _begin(settings: Settings) -> None:
    """Make the catalog and its tenant, whatever the stores hold."""
    from holdfast.app import open_engine

    engine = await open_engine(settings, rebuilding=True)
    try:
        with suppress(AlreadyExistsError):
            await engine.catalog.create_tenant(settings.tenant)
    finally:
        await engine.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {folder}: {error.strerror}") from error


def _where(settings: Settings) -> str:
    from holdfast.cli.config import masked

    return str(masked("catalog", settings.catalog_url))
