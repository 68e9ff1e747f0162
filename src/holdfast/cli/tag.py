"""`holdfast tag`: change what is said about objects, without storing them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from holdfast.cli.address import Address, parse, parse_object
from holdfast.cli.batch import each, pairs
from holdfast.cli.command import Cli, command
from holdfast.cli.output import version_facts, visible
from holdfast.core.errors import InvalidRequestError
from holdfast.library.client import AsyncClient


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "tag", panel=panel)
    async def tag(
        cli: Cli,
        objects: Annotated[
            list[str], typer.Argument(metavar="BUCKET/KEY...", help="objects, or with -r folders or buckets")
        ],
        set_tags: Annotated[
            list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="set a tag; repeat")
        ] = None,
        unset: Annotated[
            list[str] | None, typer.Option("--unset", "-u", metavar="NAME", help="take a tag away; repeat")
        ] = None,
        meta: Annotated[
            list[str] | None, typer.Option(metavar="NAME=VALUE", help="set metadata; repeat")
        ] = None,
        unset_meta: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="take metadata away; repeat")
        ] = None,
        content_type: Annotated[str | None, typer.Option(help="the content type")] = None,
        replace: Annotated[bool, typer.Option(help="drop all other tags (or metadata)")] = False,
        recursive: Annotated[
            bool, typer.Option("--recursive", "-r", help="everything in the folder")
        ] = False,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        jobs: Annotated[int, typer.Option(min=1, max=64, help="changes at a time")] = 8,
    ) -> int:
        """Set tags, metadata or the type of objects. `find --tag` finds them by these at once."""
        tags = _changes(set_tags or [], unset or [], "--set")
        metadata = _changes(meta or [], unset_meta or [], "--meta")
        if not tags and not metadata and content_type is None and not replace:
            raise InvalidRequestError(
                "say what to change: --set, --unset, --meta, --unset-meta or --content-type"
            )
        if version_id and (recursive or len(objects) > 1):
            raise InvalidRequestError("--version-id goes with exactly one object")
        async with cli.target.client() as client:

            async def work(place: tuple[str, str]) -> None:
                changed = await client.update(
                    *place,
                    content_type=content_type,
                    metadata=metadata or None,
                    tags=tags if tags or replace else None,
                    merge=not replace,
                    version_id=version_id,
                )
                said = ", ".join(f"{name}={value}" for name, value in changed.tags.items())
                cli.out.record(version_facts(changed), visible(f"{changed.ref}  {said}".rstrip()))

            if recursive:
                return await each(cli, _under(client, [parse(text) for text in objects]), work, jobs=jobs)
            named = [parse_object(text) for text in objects]
            return await each(cli, [(one.bucket, one.key) for one in named], work, jobs=jobs)


def _changes(settings: list[str], gone: list[str], what: str) -> dict[str, str | None]:
    return {**dict.fromkeys(gone), **pairs(settings, what)}


async def _under(client: AsyncClient, folders: list[Address]) -> AsyncIterator[tuple[str, str]]:
    for folder in folders:
        async for version in client.list(folder.bucket, prefix=folder.folder):
            yield folder.bucket, version.ref.key
