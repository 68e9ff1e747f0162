"""`holdfast cp`: copy objects to objects, inside the store where it can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from holdfast.cli.address import Address, parse, parse_object
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, version_facts, visible
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.library.client import AsyncClient


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "cp", panel=panel)
    async def cp(
        cli: Cli,
        source: Annotated[
            str, typer.Argument(metavar="BUCKET/KEY", help="the object, or with -r the folder")
        ],
        target: Annotated[
            str, typer.Argument(metavar="BUCKET/KEY", help="where to; with / at its end the name is kept")
        ],
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="everything in the folder")
        ] = False,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        if_absent: Annotated[bool, typer.Option("--if-absent", help="fail rather than replace")] = False,
        jobs: Annotated[int, typer.Option(min=1, max=64, help="copies at a time, with -r")] = 4,
    ) -> int | None:
        """Copy objects. Content type, metadata and tags go with them; the bytes do not pass through here."""
        conditions = Preconditions(if_none_match=("*",)) if if_absent else NO_CONDITIONS
        goal = parse(target)
        async with cli.target.client() as client:
            if recursive:
                if version_id:
                    raise InvalidRequestError("--version-id goes with one object, not with -r")
                return await _copy_folder(cli, client, parse(source), goal, conditions, jobs)
            origin = parse_object(source)
            named = goal.under(origin.name) if goal.is_folder else goal
            await _copy(cli, client, origin, named, conditions, version_id)
        return None


async def _copy(
    cli: Cli,
    client: AsyncClient,
    source: Address,
    target: Address,
    conditions: Preconditions,
    version_id: str | None = None,
) -> None:
    version = await client.copy(
        (source.bucket, source.key),
        (target.bucket, target.key),
        source_version_id=version_id,
        conditions=conditions,
    )
    line = f"{visible(str(source))} → {visible(str(target))}  {human_size(version.size)}"
    cli.out.record(version_facts(version), line)


async def _copy_folder(
    cli: Cli, client: AsyncClient, source: Address, target: Address, conditions: Preconditions, jobs: int
) -> int:
    if source.bucket == target.bucket and target.folder.startswith(source.folder):
        raise InvalidRequestError("a folder cannot be copied into itself")
    found = 0

    async def listed() -> AsyncIterator[Address]:
        nonlocal found
        async for version in client.list(source.bucket, prefix=source.folder):
            found += 1
            yield Address(source.bucket, version.ref.key)

    async def work(address: Address) -> None:
        await _copy(cli, client, address, target.under(address.key[len(source.folder) :]), conditions)

    status = await each(cli, listed(), work, jobs=jobs)
    if not found and source.key:
        raise NotFoundError(f"there is nothing in {source.bucket}/{source.folder}")
    return status
