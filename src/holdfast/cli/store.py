"""`holdfast store`: the places that hold bytes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.command import Cli, command
from holdfast.cli.exit import BROKEN_PROMISE
from holdfast.cli.output import visible
from holdfast.core.errors import ConfigError, InvalidRequestError

if TYPE_CHECKING:
    from holdfast.core.backend import Backend
    from holdfast.core.clock import Environment
    from holdfast.testing.run import Outcome


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The stores that hold the bytes: list and check them.")
    app.add_typer(group, name="store", rich_help_panel=panel)

    @command(group, "list")
    async def list_stores(cli: Cli) -> None:
        """List the configured stores."""
        settings = cli.target.settings()
        wanted = settings.placement_stores
        rows = []
        for name, store in settings.all_stores.items():
            facts = {
                "store": name,
                "driver": store.driver,
                "state": store.state.value,
                "layout": store.layout.value,
                "labels": sorted(store.labels),
                "copies": name in wanted,
            }
            cells = (
                name,
                store.driver,
                store.state.value,
                store.layout.value,
                " ".join(sorted(store.labels)),
                "yes" if name in wanted else "",
            )
            rows.append((facts, cells))
        cli.out.table(("STORE", "DRIVER", "STATE", "LAYOUT", "LABELS", "NEW COPIES"), rows)

    @command(group, "check")
    async def check(
        cli: Cli,
        name: Annotated[str, typer.Argument(metavar="STORE")],
        only: Annotated[
            list[str] | None, typer.Option(metavar="PROMISE", help="only this promise; repeatable")
        ] = None,
    ) -> int | None:
        """Prove on a live store that it keeps every promise. Writes under names of its own, and removes them."""
        from holdfast.app import open_store
        from holdfast.core.clock import Environment

        settings = cli.target.settings()
        if name not in settings.all_stores:
            known = ", ".join(settings.all_stores)
            raise ConfigError(f"there is no store {name!r} under [stores]; there is: {known}")
        environment = Environment()
        store = open_store(name, settings.all_stores[name], environment)
        try:
            return await _check(cli, name, store.backend, environment, only)
        finally:
            await store.backend.close()


async def _check(
    cli: Cli, name: str, backend: Backend, environment: Environment, only: list[str] | None
) -> int | None:
    from holdfast.testing.checks import CHECKS
    from holdfast.testing.run import State, run

    unknown = sorted(set(only or ()) - set(CHECKS))
    if unknown:
        raise InvalidRequestError(
            f"there is no promise {unknown[0]!r}; without --only all {len(CHECKS)} are tried"
        )
    with cli.out.steps(f"checking {name}", len(only or CHECKS)) as step:

        def told(outcome: Outcome) -> None:
            step(outcome.name)

        outcomes = await run(backend, environment=environment, only=only, progress=told)
    cli.out.table(("PROMISE", "STATE", ">SECONDS", "REASON"), [_row(outcome) for outcome in outcomes])
    counts = Counter(outcome.state for outcome in outcomes)
    cli.out.note(", ".join(f"{counts[state]} {state.value}" for state in State))
    if counts[State.BROKEN]:
        cli.out.note("what a broken promise means, and which three MinIO cannot keep: docs/guides/deploy.md")
    return BROKEN_PROMISE if counts[State.BROKEN] else None


def _row(outcome: Outcome) -> tuple[dict[str, object], tuple[str, ...]]:
    facts: dict[str, object] = {
        "promise": outcome.name,
        "says": outcome.promise,
        "state": outcome.state.value,
        "reason": outcome.reason,
        "seconds": round(outcome.seconds, 3),
    }
    return facts, (outcome.name, outcome.state.value, f"{outcome.seconds:.2f}", visible(outcome.reason))
