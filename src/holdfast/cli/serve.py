"""`holdfast serve`: run the service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.command import fail
from holdfast.cli.output import Output
from holdfast.core.errors import HoldfastError


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    # Not through `command`: the service owns its loop, its signals and its processes.
    @app.command("serve", rich_help_panel=panel)
    def serve(
        dev: Annotated[bool, typer.Option("--dev", help="no token needed, loopback only")] = False,
        host: Annotated[str | None, typer.Option(help="address to listen on (default: 127.0.0.1)")] = None,
        port: Annotated[
            int | None, typer.Option(help="port to listen on, 0 for a free one (default: 8083)")
        ] = None,
        workers: Annotated[int | None, typer.Option(help="processes on the port (default: 1)")] = None,
        data: Annotated[
            Path | None, typer.Option(help="data directory, made if it is not there (default: holdfast-data)")
        ] = None,
        config: Annotated[
            Path | None, typer.Option(help="configuration file (default: holdfast.toml if there is one)")
        ] = None,
        debug: Annotated[bool, typer.Option("--debug", help="tracebacks of errors at start")] = False,
    ) -> None:
        """Run the service until Ctrl-C or SIGTERM. The first start prints an admin token, once."""
        try:
            status = _serve(dev=dev or None, host=host, port=port, workers=workers, data=data, config=config)
        except HoldfastError as error:
            raise typer.Exit(fail(Output(debug=debug), error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(0) from None
        raise typer.Exit(status)


def _serve(*, config: Path | None, **flags: object) -> int:
    from holdfast import app
    from holdfast.config import load

    chosen = config or os.environ.get("HOLDFAST_CONFIG") or None
    return app.serve(load(chosen, **flags))
