"""`holdfast config`: what is set, and from where."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from holdfast.cli.command import Cli, command

MASK: Final = "***"
_SECRET: Final = ("secret", "password", "token", "credential", "sse_key", "customer_key", "private_key")


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The settings: what they are and where they come from.")
    app.add_typer(group, name="config", rich_help_panel=panel)

    @command(group, "show")
    async def show(cli: Cli) -> None:
        """Show every setting that counts, with its source: flag, variable, file or default. Secrets are masked."""
        from holdfast.config.legacy import warnings
        from holdfast.config.settings import chosen_file, origins

        settings = cli.target.settings()
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
        return " ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
