"""`holdfast hold` and `holdfast lock`: what keeps versions from being removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import times
from holdfast.cli.address import parse_object
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.output import visible
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.engine.retention import Kept, LifeExplained

_NONE = "none"
Objects = Annotated[list[str], typer.Argument(metavar="BUCKET/KEY...", help="objects")]
VersionId = Annotated[str | None, typer.Option(help="this version instead of the current one")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    holds = typer.Typer(
        no_args_is_help=True, help="Legal holds: nothing removes a version until it is cleared."
    )
    app.add_typer(holds, name="hold", rich_help_panel=panel)
    locks = typer.Typer(
        no_args_is_help=True, help="Retention locks: nothing removes a version before a time."
    )
    app.add_typer(locks, name="lock", rich_help_panel=panel)

    @command(holds, "set")
    async def set_hold(
        cli: Cli,
        objects: Objects,
        reason: Annotated[str, typer.Option(help="why, for the audit")] = "",
        version_id: VersionId = None,
    ) -> int:
        """Put versions under legal hold."""
        return await _hold(cli, objects, True, version_id, reason)

    @command(holds, "clear")
    async def clear_hold(
        cli: Cli,
        objects: Objects,
        reason: Annotated[str, typer.Option(help="why, for the audit")] = "",
        version_id: VersionId = None,
    ) -> int:
        """Clear legal holds."""
        return await _hold(cli, objects, False, version_id, reason)

    @command(holds, "show")
    async def show_hold(cli: Cli, objects: Objects, version_id: VersionId = None) -> int:
        """Show what keeps versions."""
        return await _shown(cli, objects, version_id)

    @command(locks, "set")
    async def set_lock(
        cli: Cli,
        objects: Objects,
        mode: Annotated[
            str,
            typer.Option(
                metavar="MODE", help="governance (an admin may lift it), compliance (nobody may), or none"
            ),
        ],
        days: Annotated[int | None, typer.Option(min=1, max=36_500, help="from now")] = None,
        until: Annotated[
            str | None,
            typer.Option(metavar="TIME", help="2027-01-31, 2027-01-31T12:00:00Z, or from now: 12h, 90d"),
        ] = None,
        bypass: Annotated[
            str,
            typer.Option(
                "--bypass", metavar="REASON", help="weaken a governance lock; the audit keeps the reason"
            ),
        ] = "",
        version_id: VersionId = None,
    ) -> int:
        """Lock versions, make locks longer, or with --bypass shorter. Needs a bucket that keeps versions."""
        from holdfast.policy.lifecycle_form import mode_of

        if mode == _NONE and (days is not None or until is not None):
            raise InvalidRequestError("--mode none takes a lock away, and goes without --days and --until")
        if mode != _NONE and (days is None) == (until is None):
            raise InvalidRequestError("say how long: --days or --until")
        if version_id and len(objects) > 1:
            raise InvalidRequestError("--version-id goes with exactly one object")
        wanted = None if mode == _NONE else mode_of(mode)
        end = None if until is None else -(-times.moment(until, ahead=True) // 1_000_000) * 1_000_000
        places = [parse_object(text) for text in objects]
        async with cli.target.client() as client:

            async def work(place: Any) -> None:
                kept = await client.lock(
                    place.bucket,
                    place.key,
                    wanted,
                    until=end,
                    days=days,
                    version_id=version_id,
                    reason=bypass,
                )
                cli.out.record(facts(kept), line(kept))

            return await each(cli, places, work, jobs=8)

    @command(locks, "show")
    async def show_lock(cli: Cli, objects: Objects, version_id: VersionId = None) -> int:
        """Show what keeps versions."""
        return await _shown(cli, objects, version_id)


async def _hold(cli: Cli, objects: list[str], on: bool, version_id: str | None, reason: str) -> int:
    if version_id and len(objects) > 1:
        raise InvalidRequestError("--version-id goes with exactly one object")
    places = [parse_object(text) for text in objects]
    async with cli.target.client() as client:

        async def work(place: Any) -> None:
            kept = await client.hold(place.bucket, place.key, on, version_id=version_id, reason=reason)
            cli.out.record(facts(kept), line(kept))

        return await each(cli, places, work, jobs=8)


async def _shown(cli: Cli, objects: list[str], version_id: str | None) -> int:
    places = [parse_object(text) for text in objects]
    async with cli.target.client() as client:

        async def work(place: Any) -> None:
            kept = await client.keeping(place.bucket, place.key, version_id=version_id)
            cli.out.record(facts(kept), line(kept))

        return await each(cli, places, work, jobs=8)


def facts(kept: Kept | LifeExplained) -> dict[str, Any]:
    """Return what keeps a version, in its JSON form."""
    from holdfast.core.retention import moment

    keeping = kept.keeping
    return {
        "bucket": kept.ref.bucket,
        "key": kept.ref.key,
        "version_id": kept.version_id,
        "hold": keeping.hold,
        "mode": None if keeping.mode is None else keeping.mode.value,
        "until": None if keeping.until is None else moment(keeping.until),
    }


def line(kept: Kept | LifeExplained) -> str:
    """Return what keeps a version, in words."""
    from holdfast.core.retention import moment

    keeping, said = kept.keeping, []
    if keeping.hold:
        said.append("legal hold")
    if keeping.until is not None:
        said.append(f"{keeping.mode} lock until {moment(keeping.until)}")
    return visible(f"{kept.ref.bucket}/{kept.ref.key}  {', '.join(said) or 'nothing keeps it'}")
