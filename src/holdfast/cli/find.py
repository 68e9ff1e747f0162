"""`holdfast find`: objects by what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from holdfast.cli.address import Address, parse
from holdfast.cli.batch import pairs
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, human_time, version_facts, visible
from holdfast.cli.times import HOW, moment
from holdfast.core.errors import InvalidRequestError
from holdfast.core.sizes import parse_size
from holdfast.core.types import Version

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "find", panel=panel)
    async def find(
        cli: Cli,
        folder: Annotated[
            str | None, typer.Argument(metavar="[BUCKET[/FOLDER]]", help="without it: all buckets")
        ] = None,
        tag: Annotated[
            list[str] | None, typer.Option(metavar="NAME=VALUE", help="with this tag; repeat")
        ] = None,
        meta: Annotated[
            list[str] | None, typer.Option(metavar="NAME=VALUE", help="with this metadata; repeat")
        ] = None,
        content_type: Annotated[str, typer.Option(help="a media type, or such as image/*")] = "",
        suffix: Annotated[str, typer.Option(help="keys that end so")] = "",
        min_size: Annotated[str | None, typer.Option(help="at least so large, such as 10MB")] = None,
        max_size: Annotated[str | None, typer.Option(help="at most so large")] = None,
        since: Annotated[
            str | None, typer.Option(metavar="TIME", help=f"stored then or later: {HOW}")
        ] = None,
        until: Annotated[
            str | None, typer.Option(metavar="TIME", help="stored before then, written so; UTC")
        ] = None,
        long: Annotated[bool, typer.Option("--long", "-l", help="with size, time and type")] = False,
    ) -> None:
        """Find objects by tags, metadata, type, size and time: all that is given must hold.

        Tags and metadata are found by an index; for the rest, every object in the folder is looked at.
        """
        where = Address("") if folder is None else parse(folder)
        wish: dict[str, Any] = {
            "prefix": where.folder if where.key else "",
            "suffix": suffix,
            "content_type": content_type,
            "tags": pairs(tag or (), "--tag"),
            "metadata": pairs(meta or (), "--meta"),
            "min_size": _size(min_size),
            "max_size": _size(max_size),
            "since": _time(since),
            "until": _time(until),
        }
        async with cli.target.client() as client:
            async for version in client.search(where.bucket or None, **wish):
                cli.out.record(version_facts(version), _line(version, long))


def _line(version: Version, long: bool) -> str:
    name = visible(str(version.ref))
    if not long:
        return name
    return (
        f"{human_size(version.size):>10}  {human_time(version.created)}  {version.content_type:<24}  {name}"
    )


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(str(parse_size(text)))
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None


def _time(text: str | None) -> datetime | None:
    return None if text is None else _EPOCH + timedelta(microseconds=moment(text))
