"""The options that name a moment, and what they mean: `--at TIME` or `--snapshot NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.times import HOW, moment
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.library.client import AsyncClient

At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help=f"as it was then, where versions are kept: {HOW}"),
]
Named = Annotated[str | None, typer.Option("--snapshot", metavar="NAME", help="as that snapshot shows it")]
Prefix = Annotated[str, typer.Option(help="only keys that start so")]


async def moment_of(client: AsyncClient, bucket: str, at: str | None, snapshot: str | None) -> int | None:
    """Return the moment that the options name, None when they name none.

    Raises:
        InvalidRequestError: they name two, or no time.
    """
    if at is not None and snapshot is not None:
        raise InvalidRequestError("name a moment or a snapshot: --at or --snapshot")
    if snapshot is not None:
        return (await client.snapshot(bucket, snapshot)).at
    return None if at is None else moment(at)


async def version_of(
    client: AsyncClient, bucket: str, key: str, version_id: str | None, at: str | None
) -> str | None:
    """Return the version that the options name, None for the current one."""
    if at is None:
        return version_id
    if version_id is not None:
        raise InvalidRequestError("name a version or a moment: --version-id or --at")
    return await client.version_at(bucket, key, moment(at))
