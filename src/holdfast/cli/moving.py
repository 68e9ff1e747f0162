"""`holdfast migrate`, `drain`, `mirror` and `move`: everything that a store holds, brought to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.admin import seconds, when
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size

if TYPE_CHECKING:
    from holdfast.cli.output import Output
    from holdfast.core.records import KeptMove

Source = Annotated[str, typer.Argument(metavar="SOURCE")]
Target = Annotated[str, typer.Argument(metavar="TARGET")]
Keep = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="how long the move can be taken back, as 7d; 0: the source is let go of at once"
    ),
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    _register_jobs(app, panel)
    mirror = typer.Typer(no_args_is_help=True, help="Every object in more than one store.")
    app.add_typer(mirror, name="mirror", rich_help_panel=panel)
    _register_mirror(mirror)
    move = typer.Typer(
        no_args_is_help=True, help="A migration, step by step: moves of stores, which operators look after."
    )
    app.add_typer(move, name="move", rich_help_panel=panel)
    _register_move(move)


def _register_jobs(app: typer.Typer, panel: str) -> None:
    @command(app, "migrate", panel=panel)
    async def migrate(
        cli: Cli,
        source: Source,
        target: Target,
        keep: Keep = "7d",
        no_cutover: Annotated[
            bool, typer.Option("--no-cutover", help="only copy; go on with `holdfast move cutover`")
        ] = False,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Bring everything that one store holds to another, while both serve.

        New objects go to both; what is there is copied and read back; when nothing is missing, the target takes the
        source's place, and when the time to take it back is over, the source is let go of.
        """
        spec = {
            "source": source,
            "target": target,
            "keep": seconds(keep, "--keep"),
            "cutover": not no_cutover,
        }
        return await starting.start(cli, "migrate", spec, run)

    @command(app, "drain", panel=panel)
    async def drain(
        cli: Cli,
        store: Annotated[str, typer.Argument(metavar="STORE")],
        to: Annotated[
            str | None, typer.Option(metavar="OTHER", help="where its objects go; else where the rules say")
        ] = None,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Empty a store, so that it may be removed. It takes nothing new from now on."""
        return await starting.start(cli, "drain", {"store": store, "to": to}, run)


def _register_mirror(mirror: typer.Typer) -> None:
    @command(mirror, "add")
    async def add(
        cli: Cli,
        store: Annotated[str, typer.Argument(metavar="STORE")],
        other: Annotated[str, typer.Argument(metavar="OTHER")],
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Keep a copy in OTHER of everything that belongs in STORE: of what is there, and of what will come."""
        return await starting.start(cli, "mirror", {"source": store, "target": other}, run)

    @command(mirror, "fill")
    async def fill(cli: Cli, run: starting.Run = starting.PLAIN) -> int | None:
        """Make the copies that rules want and that are not there: after a rule was given another store."""
        return await starting.start(cli, "mirror", {}, run)


def _register_move(move: typer.Typer) -> None:
    @command(move, "begin")
    async def begin(cli: Cli, source: Source, target: Target) -> None:
        """Have new objects of SOURCE go to TARGET too. `holdfast migrate` copies what is there."""
        async with cli.target.client() as client:
            _show(cli.out, await client.begin_move(source, target))

    @command(move, "list")
    async def list_(
        cli: Cli,
        every: Annotated[bool, typer.Option("--all", help="also those that were taken back")] = False,
    ) -> None:
        """List the moves in force: what takes the place of what, how far it is, and until when it can be taken back."""
        async with cli.target.client() as client:
            found = [one.move for one in await client.moves()]
        import msgspec

        from holdfast.api.moves import move_answer

        rows = [
            (
                msgspec.to_builtins(move_answer(one)),
                (one.source, one.target, one.phase, when(one.updated), when(one.finish_at)),
            )
            for one in found
            if every or one.phase != "back"
        ]
        cli.out.table(("SOURCE", "TARGET", "PHASE", "SINCE", "CAN BE TAKEN BACK UNTIL"), rows)

    @command(move, "status")
    async def status(cli: Cli) -> None:
        """Show every move, its phase, and what its stores hold."""
        async with cli.target.client() as client:
            found = await client.moves()
        import msgspec

        from holdfast.api.moves import form_of

        rows = [
            (
                msgspec.to_builtins(form_of(one)),
                (
                    one.move.source,
                    one.move.target,
                    one.move.phase,
                    f"{one.source.live:,} / {human_size(one.source.bytes)}",
                    f"{one.target.live:,} / {human_size(one.target.bytes)}",
                    when(one.move.finish_at),
                ),
            )
            for one in found
        ]
        cli.out.table(
            ("SOURCE", "TARGET", "PHASE", ">COPIES THERE", ">AND HERE", "SOURCE IS KEPT UNTIL"), rows
        )

    @command(move, "verify")
    async def verify(cli: Cli, source: Source) -> int | None:
        """Tell what is missing; exit status 15 when something is."""
        import msgspec

        from holdfast.api.moves import difference_answer

        async with cli.target.client() as client:
            left = await client.verify_move(source)
        told = (
            left.told
            if left.versions
            else f"nothing is missing: {left.concerned} versions are where they belong"
        )
        cli.out.record(msgspec.to_builtins(difference_answer(left)), told)
        return 15 if left.versions else None

    @command(move, "cutover")
    async def cutover(
        cli: Cli,
        source: Source,
        keep: Annotated[
            str | None, typer.Option(metavar="TIME", help="how long the source is kept at least, as 7d")
        ] = None,
    ) -> None:
        """Have the target take the source's place; refused while something is missing. New objects go to both."""
        kept = seconds(keep, "--keep")
        async with cli.target.client() as client:
            _show(cli.out, await client.cut_over_move(source, keep=kept))

    @command(move, "finish")
    async def finish(
        cli: Cli,
        source: Source,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Let go of the source; refused while something is missing."""
        return await starting.start(cli, "finish-move", {"source": source}, run)

    @command(move, "back")
    async def back(cli: Cli, source: Source) -> None:
        """Take a move back: rules hold as they are written again. `holdfast mirror fill` brings back what is elsewhere."""
        async with cli.target.client() as client:
            _show(cli.out, await client.take_move_back(source))

    @command(move, "forget")
    async def forget(cli: Cli, source: Source) -> None:
        """Drop a move that is done, once no rule names its source any more, or that was taken back."""
        async with cli.target.client() as client:
            await client.forget_move(source)
        cli.out.note(f"the move of {source} is forgotten")


def _show(out: Output, move: KeptMove) -> None:
    import msgspec

    from holdfast.api.moves import move_answer

    until = f"; the source is kept until {when(move.finish_at)}" if move.finish_at is not None else ""
    out.record(msgspec.to_builtins(move_answer(move)), f"{move.source} to {move.target}: {move.phase}{until}")
