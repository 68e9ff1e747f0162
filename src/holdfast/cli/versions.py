"""`holdfast versions`: every content that an object had and that is kept."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.address import Address, parse
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, human_time, version_facts, visible
from holdfast.core.errors import NotFoundError
from holdfast.core.types import Version


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "versions", panel=panel)
    async def versions(
        cli: Cli,
        target: Annotated[
            str,
            typer.Argument(
                metavar="BUCKET[/KEY]", help="an object, a folder (with / at its end) or a bucket"
            ),
        ],
    ) -> None:
        """List versions, newest first within an object; `rm --version-id` and `get --version-id` take their ids."""
        address = parse(target)
        found = False
        async with cli.target.client() as client:
            async for version in client.versions(address.bucket, prefix=address.key):
                if not address.is_folder and version.ref.key != address.key:
                    if version.ref.key.encode() > address.key.encode():
                        break  # byte order: nothing of this key comes later
                    continue
                found = True
                cli.out.record(version_facts(version), _line(version, address))
        if not found and address.key:
            raise NotFoundError(f"there are no versions of {address}")


def _line(version: Version, address: Address) -> str:
    size = "removed" if version.delete_marker else human_size(version.size)
    mark = "*" if version.current else " "
    name = visible(version.ref.key)
    return f"{mark} {version.id}  {size:>10}  {human_time(version.created)}  {name}"
