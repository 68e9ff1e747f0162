"""`holdfast tier`, `archive` and `recall`: objects in another place than their rule says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from holdfast.cli import starting
from holdfast.cli.admin import seconds, size
from holdfast.cli.batch import pairs
from holdfast.cli.command import Cli, command
from holdfast.core.errors import InvalidRequestError

Where = Annotated[
    str | None,
    typer.Argument(metavar="[BUCKET[/PREFIX]]", help="only these; a prefix that ends with * or /, or a key"),
]


@dataclass(frozen=True, slots=True)
class Which:
    """Which versions are meant, beside where they are: the options of all three commands."""

    everything: Annotated[bool, typer.Option("--all", help="of all tenants and buckets")] = False
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="whose bucket (default: that of the settings)")
    ] = None
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="only with this tag: NAME=VALUE; repeatable")
    ] = None
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="only committed before, as 90d")
    ] = None
    larger_than: Annotated[
        str | None, typer.Option("--larger-than", metavar="SIZE", help="only of this size and above")
    ] = None
    smaller_than: Annotated[
        str | None, typer.Option("--smaller-than", metavar="SIZE", help="only below this size")
    ] = None
    stored_in: Annotated[
        str | None, typer.Option("--stored-in", metavar="STORE", help="only what is in this store")
    ] = None


_EVERY: Final = Which()


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""

    @command(app, "tier", panel=panel)
    async def tier(
        cli: Cli,
        store: Annotated[str, typer.Argument(metavar="STORE", help="where they belong from now on")],
        where: Where = None,
        which: Which = _EVERY,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Move versions to a store, whatever their rule says; `holdfast recall` undoes it."""
        spec = {
            "store": store,
            **_filters(cli, where, which),
        }
        return await starting.start(cli, "tier", spec, run)

    @command(app, "archive", panel=panel)
    async def archive(
        cli: Cli,
        where: Where = None,
        to: Annotated[
            str | None,
            typer.Option(
                metavar="STORE", help="the store; else the only one that is labelled archive, or cold"
            ),
        ] = None,
        which: Which = _EVERY,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Move versions to a store for what is seldom read; `holdfast recall` brings them back."""
        spec = {
            "store": to,
            **_filters(cli, where, which),
        }
        return await starting.start(cli, "archive", spec, run)

    @command(app, "recall", panel=panel)
    async def recall(
        cli: Cli,
        where: Where = None,
        days: Annotated[
            float | None, typer.Option(help="for so long, beside the copy in the archive; else for good")
        ] = None,
        which: Which = _EVERY,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Bring versions that were tiered or archived back to where their rule says."""
        spec = {
            "days": days,
            **_filters(cli, where, which),
        }
        return await starting.start(cli, "recall", spec, run)


def _filters(cli: Cli, where: str | None, which: Which) -> dict[str, Any]:
    if (where is None) != which.everything:
        raise InvalidRequestError("name a bucket, or BUCKET/PREFIX*, or say --all")
    found: dict[str, Any] = {
        "tags": pairs(which.tag or (), "--tag"),
        "older_than": seconds(_with_unit(which.older_than), "--older-than"),
        "min_size": None if which.larger_than is None else size(which.larger_than),
        "max_size": None if which.smaller_than is None else size(which.smaller_than),
        "stored_in": which.stored_in,
        "tenant": which.tenant,
    }
    if where is None:
        return found
    bucket, _, rest = where.partition("/")
    found |= {"bucket": bucket, "tenant": which.tenant or cli.target.tenant()}
    if rest.endswith("*"):
        found["prefix"] = rest.removesuffix("*")
    elif rest.endswith("/"):
        found["prefix"] = rest
    elif rest:
        found["key"] = rest
    return found


def _with_unit(age: str | None) -> str | None:
    """Return an age; a number alone would be seconds, and nobody means that who says 90."""
    if age is not None and age.isdecimal() and int(age):
        raise InvalidRequestError(f"--older-than {age} of what? Say {age}d, {age}h or {age}s")
    return age
