"""`holdfast catalog`: the database that knows where everything is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.exit import ending
from holdfast.core.errors import ConfigError

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


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {folder}: {error.strerror}") from error


def _where(settings: Settings) -> str:
    from holdfast.cli.config import masked

    return str(masked("catalog", settings.catalog_url))
