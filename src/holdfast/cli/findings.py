"""`holdfast findings`: what was found wrong with stores, and what is to be done about bytes that no row knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.admin import administration, seconds, when
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.output import human_size, visible

if TYPE_CHECKING:
    from holdfast.core.findings import Finding

StoreName = Annotated[str, typer.Argument(metavar="STORE")]
Blob = Annotated[
    str, typer.Argument(metavar="BLOB", help="its name in the store, as `findings list` tells it")
]
_PAGE = 1000


def register(app: typer.Typer, panel: str) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help="What is not as the catalog says.", no_args_is_help=True)
    app.add_typer(group, name="findings", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/findings")
    _looking(group)
    _changing(group)


def _looking(group: typer.Typer) -> None:
    @command(group, "list")
    async def list_findings(
        cli: Cli,
        store: Annotated[str, typer.Option(help="only of this store")] = "",
        kind: Annotated[
            str, typer.Option(help="only these: dark, lost, wrong-size, wrong-hash, wrong-metadata")
        ] = "",
        state: Annotated[
            str, typer.Option(help="only in this state: seen, quarantined, released, removed")
        ] = "",
        limit: Annotated[int, typer.Option(min=1, help="show so many at most")] = _PAGE,
    ) -> None:
        """List what scrub and fsck found, by store and blob."""
        found: list[Finding] = []
        after = ("", "", "")
        async with administration(cli) as admin:
            while len(found) < limit:
                page = await admin.findings.all(
                    store=store, kind=kind, state=state, after=after, limit=min(limit - len(found), _PAGE)
                )
                if not page:
                    break
                found += page
                after = (page[-1].store, page[-1].blob, page[-1].kind.value)
        cli.out.table(
            ("STORE", "KIND", "STATE", ">SIZE", "SEEN", "BLOB"), [(facts(one), _cells(one)) for one in found]
        )

    @command(group, "show")
    async def show(cli: Cli, store: StoreName, blob: Blob) -> None:
        """Show all that is known about one blob."""
        async with administration(cli) as admin:
            found = await admin.findings.of_blob(store, blob)
        for one in found:
            cli.out.record(facts(one), _told([one]))


def _changing(group: typer.Typer) -> None:
    @command(group, "quarantine")
    async def quarantine(
        cli: Cli,
        store: StoreName,
        blob: Blob,
        hold: Annotated[str | None, typer.Option(help="how long, as 3d (7d)")] = None,
    ) -> None:
        """Have bytes that no row knows removed when the quarantine is over, without a second sighting."""
        async with administration(cli) as admin:
            made = await admin.findings.quarantine(store, blob, hold=seconds(hold, "--hold"))
        cli.out.record(facts(made), f"quarantined until {when(made.until)}; undo: holdfast findings release")

    @command(group, "release")
    async def release(cli: Cli, store: StoreName, blob: Blob) -> None:
        """Leave bytes that no row knows alone from now on."""
        async with administration(cli) as admin:
            made = await admin.findings.release(store, blob)
        cli.out.record(facts(made), "released; it is left alone")

    @command(group, "remove")
    async def remove(cli: Cli, store: StoreName, blob: Blob) -> None:
        """Leave quarantined bytes to the next sweep, without waiting for the end of the quarantine."""
        async with administration(cli) as admin:
            made = await admin.findings.remove(store, blob)
        cli.out.record(facts(made), "left to the next sweep")


def facts(one: Finding) -> dict[str, Any]:
    """Return a finding as JSON shows it."""
    return {
        "store": one.store,
        "blob": one.blob,
        "kind": one.kind.value,
        "state": one.state.value,
        "size": one.size,
        "version_id": one.version_id,
        "detail": one.detail,
        "job_id": one.run,
        "first_seen": when(one.first_seen),
        "last_seen": when(one.last_seen),
        "sightings": one.sightings,
        "until": when(one.until),
    }


def _cells(one: Finding) -> tuple[str, ...]:
    seen = f"{when(one.last_seen)} ({one.sightings})"
    return (one.store, one.kind.value, one.state.value, human_size(one.size), seen, visible(one.blob))


def _told(found: Sequence[Finding]) -> str:
    lines = []
    for one in found:
        lines += [
            f"{one.store} {visible(one.blob)}",
            f"  {one.kind.value}, {one.state.value}, {human_size(one.size)}",
            f"  {visible(one.detail)}",
            f"  seen first {when(one.first_seen)}, last {when(one.last_seen)}, {one.sightings} times; job {one.run}",
        ]
        if one.version_id:
            lines.append(f"  version {one.version_id}")
        if one.until is not None:
            lines.append(f"  until {when(one.until)}")
    return "\n".join(lines)
