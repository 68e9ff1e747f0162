"""`holdfast config`: what is set, and from where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.exit import OldConfigError, SettingsError
from holdfast.core.errors import ConfigError, InvalidRequestError

MASK: Final = "***"
_SECRET: Final = ("secret", "password", "token", "credential", "sse_key", "customer_key", "private_key")


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The settings: what they are and where they come from.")
    app.add_typer(group, name="config", rich_help_panel=panel)
    beside_catalog(group)

    @command(group, "show")
    async def show(cli: Cli) -> None:
        """Show every setting that counts, with its source: flag, variable, file or default. Secrets are masked."""
        from holdfast.config.legacy import warnings
        from holdfast.config.settings import chosen_file, origins

        try:
            settings = cli.target.settings()
        except ConfigError as error:
            raise SettingsError(error.message) from error
        flags = {"data": cli.target.data} if cli.target.data else {}
        sources = origins(chosen_file(cli.target.config or os.environ.get("HOLDFAST_CONFIG")), flags)
        rows = []
        for name, value in flatten(settings.model_dump(mode="json")):
            shown, source = masked(name, value), sources.of(name)
            if name == "placement.stores" and settings.placement_stores != settings.placement.stores:
                shown, source = list(settings.placement_stores), "the only store"
            rows.append(({"setting": name, "value": shown, "source": source}, (name, _text(shown), source)))
        cli.out.table(("SETTING", "VALUE", "FROM"), rows)
        for warning in warnings(os.environ):
            cli.out.note(f"warning: {warning}")

    @command(group, "import")
    async def import_(
        cli: Cli,
        file: Annotated[
            Path | None,
            typer.Argument(
                help="a storage_config.json, a remote_storage.json, a config.yaml of Naas, or a .env file"
            ),
        ] = None,
        env: Annotated[
            bool, typer.Option("--env", help="read the variables of this process instead")
        ] = False,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="write this file, and secrets into files beside it"),
        ] = None,
        with_secrets: Annotated[
            bool, typer.Option("--with-secrets", help="write secrets in clear into the file itself")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="replace files that are there")] = False,
    ) -> None:
        """Turn the configuration of an older storage service into a holdfast.toml.

        What could not be carried over is in it as a comment, with the reason. Secrets go into files of their own
        beside it, which only their owner can read; without -o they are left to variables.
        """
        from holdfast.config.importing import import_environment, import_file, writing

        if (file is None) != env:
            raise InvalidRequestError(
                "name a file to read, or --env for the variables of this process; not both"
            )
        try:
            made = import_environment(os.environ) if file is None else import_file(file, os.environ)
        except ConfigError as error:
            raise OldConfigError(error.message) from error
        if output is None:
            print(made.text(with_secrets=with_secrets), end="")
            return
        written = writing.write(made, output, with_secrets=with_secrets, replace=force)
        for path in written:
            cli.out.note(f"wrote {path}")
        if made.left:
            lines = "1 line" if len(made.left) == 1 else f"{len(made.left)} lines"
            cli.out.note(f"{lines} could not be carried over; {output} says which, and why")
        if "apply" in made.values:
            cli.out.note(f"next: look at {output}, then holdfast apply --config {output}")


def flatten(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its dotted name."""
    for name, value in values.items():
        full = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{full}.")
        else:
            yield full, value


def masked(name: str, value: Any) -> Any:
    """Return `value`, or a mask when the setting's name says that it is a secret, or it is a URL with a password."""
    if value in (None, "", (), [], {}):
        return value
    last = name.rpartition(".")[2].lower()
    if any(word in last for word in _SECRET) or last.endswith("_key") or last == "key":
        return MASK
    return _without_password(value) if isinstance(value, str) else value


def _without_password(text: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(text)
        if not parts.password and "=" not in parts.query:
            return text
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}:{MASK}@" if parts.password else ""
        query = (
            "&".join(f"{pair.partition('=')[0]}={MASK}" for pair in parts.query.split("&"))
            if parts.query
            else ""
        )
        return urlunsplit((parts.scheme, user + host, parts.path, query, ""))
    except ValueError:
        return MASK  # not a URL after all; it might hold anything


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, (list, tuple)):
        return " ".join(json.dumps(item) if isinstance(item, dict) else str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
