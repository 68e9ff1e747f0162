"""`holdfast fsck`: compare what stores hold with what the catalog says, both ways."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.admin import seconds
from holdfast.cli.command import Cli, command


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "fsck", panel=panel)
    async def fsck(
        cli: Cli,
        store: Annotated[str | None, typer.Option(help="only this store; else all")] = None,
        deep: Annotated[
            bool, typer.Option("--deep", help="read every blob, and compare its bytes with what was written")
        ] = False,
        metadata: Annotated[
            bool, typer.Option("--metadata", help="compare what each blob says of itself with its row")
        ] = False,
        shrink: Annotated[
            float | None,
            typer.Option(help="share of the rows that a listing may leave out and be believed (0.2)"),
        ] = None,
        gap: Annotated[
            str | None, typer.Option(help="time between the two sightings of what is dark (1d)")
        ] = None,
        hold: Annotated[str | None, typer.Option(help="how long quarantine lasts (7d)")] = None,
        young: Annotated[str | None, typer.Option(help="what is younger is not called dark (1h)")] = None,
        quarantine: Annotated[
            bool, typer.Option("--quarantine/--no-quarantine", help="whether what is dark may be quarantined")
        ] = True,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """List stores and compare them with the catalog: bytes that no row knows, rows without bytes, wrong sizes.

        What is wrong with a copy is made good from another. Bytes that no row knows are removed only when two runs, a
        day apart, saw them, and a week of quarantine went by without anybody releasing them (`holdfast findings`).
        A listing that fails or leaves out too much changes nothing.
        """
        spec = {
            "store": store,
            "deep": deep,
            "metadata": metadata,
            "shrink": shrink,
            "gap": seconds(gap, "--gap"),
            "hold": seconds(hold, "--hold"),
            "young": seconds(young, "--young"),
            "quarantine": quarantine,
        }
        return await starting.start(cli, "fsck", spec, run)
