"""`holdfast store`: the places that hold bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import store_admin
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.exit import BROKEN_PROMISE
from holdfast.cli.output import visible
from holdfast.core.errors import (
    ConfigError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from holdfast.core.names import INLINE

if TYPE_CHECKING:
    from holdfast.core.backend import Backend
    from holdfast.core.clock import Environment
    from holdfast.engine.known_stores import KnownStore
    from holdfast.testing.run import Outcome


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The stores that hold the bytes.")
    app.add_typer(group, name="store", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/stores")

    store_admin.add(group)
    _proved(group)
    _lag(group)

    @command(group, "list")
    async def list_stores(cli: Cli) -> None:
        """List the stores of the configuration, and those of the catalog."""
        known, wanted = await _known(cli)
        rows = []
        for one in known:
            said = {**store_admin.facts(one), "copies": one.name in wanted and not one.hidden}
            cells = (
                one.name,
                said["driver"],
                said["state"],
                said["layout"],
                visible(" ".join(said["labels"])),
                "hidden by the file" if one.hidden else said["origin"],
                "yes" if said["copies"] and not one.refusal else "",
                f"it {one.refusal}" if one.refusal else "",
            )
            rows.append((said, cells))
        cli.out.table(
            ("STORE", "DRIVER", "STATE", "LAYOUT", "LABELS", "FROM", "NEW COPIES", "WHY NOT"),
            rows,
        )

    @command(group, "check")
    async def check(
        cli: Cli,
        name: Annotated[str, typer.Argument(metavar="STORE")],
        only: Annotated[
            list[str] | None, typer.Option(metavar="PROMISE", help="only this promise; repeatable")
        ] = None,
    ) -> int | None:
        """Prove on a live store that it keeps every promise. Writes under names of its own, and removes them."""
        from holdfast.core.clock import Environment
        from holdfast.drivers import open_store

        settings = cli.target.settings()
        environment = Environment()
        if name in settings.all_stores:
            store = open_store(name, settings.all_stores[name], environment, caches=settings.caches)
            try:
                return await _check(cli, name, store.backend, environment, only)
            finally:
                await store.backend.close()
        async with cli.target.engine() as engine:
            if name not in engine.stores or name == INLINE:
                known = ", ".join((*settings.all_stores, *sorted(set(engine.stores) - {INLINE})))
                raise ConfigError(
                    f"there is no store {name!r}, in the configuration or the catalog; there is: {known}"
                )
            return await _check(cli, name, engine.stores[name].backend, environment, only)


def _proved(group: typer.Typer) -> None:
    @command(group, "proved", beside="/api/v1/proved")
    async def proved(
        cli: Cli,
        days: Annotated[float, typer.Option(help="count what was proved in so many days")] = 30.0,
    ) -> None:
        """Show how far the copies in each store were read whole and found right; `holdfast scrub` does that."""
        from holdfast.cli.admin import administration, when

        async with administration(cli) as admin:
            found = await admin.findings.proved(days=days)
        rows = []
        for one in found.stores:
            share = one.since / one.copies if one.copies else 0.0
            facts = {
                "store": one.store,
                "copies": one.copies,
                "bytes": one.bytes,
                "never": one.never,
                "suspect": one.suspect,
                "proved": one.since,
                "proved_bytes": one.since_bytes,
                "share": round(share, 4),
                "oldest": when(one.oldest),
            }
            oldest = when(one.oldest) or "-"
            cells = (one.store, str(one.copies), f"{share:.1%}", str(one.never), str(one.suspect), oldest)
            rows.append((facts, cells))
        proved_in = f">PROVED IN {days:g} DAYS"
        cli.out.table(("STORE", ">COPIES", proved_in, ">NEVER", ">BAD", "OLDEST PROOF"), rows)


def _lag(group: typer.Typer) -> None:
    @command(group, "lag", beside="/api/v1/lag")
    async def lag(
        cli: Cli, name: Annotated[str, typer.Argument(metavar="STORE", help="only this one")] = ""
    ) -> None:
        """Show the copies that each store should have and does not have yet, and for how long the oldest is owed."""
        import msgspec

        from holdfast.api.reconciling import lag_info
        from holdfast.cli.admin import administration
        from holdfast.cli.output import human_size

        async with administration(cli) as admin:
            found, now = await admin.lag()
        if name and name not in found:
            raise NotFoundError("there is no such store", store=name)
        rows = []
        for store, behind in found.items():
            if name in ("", store):
                info = lag_info(store, behind, now)
                age = f"{info.oldest_seconds:.0f} s" if info.oldest else "-"
                rows.append(
                    (msgspec.to_builtins(info), (store, str(info.copies), human_size(info.bytes), age))
                )
        cli.out.table(("STORE", ">COPIES OWED", ">BYTES", ">OLDEST"), rows)


async def _known(cli: Cli) -> tuple[Sequence[KnownStore], Sequence[str]]:
    """Return all stores, and those that a rule wants copies in; only the configured ones while there is no catalog."""
    from holdfast.app import local_principal
    from holdfast.drivers import described
    from holdfast.engine.known_stores import FILE, KnownStore

    settings = cli.target.settings()
    if settings.catalog or settings.data.is_dir():
        async with cli.target.engine() as engine:
            placement = await engine.context.placing.fresh()
            desk = engine.session(local_principal(settings)).admin.connections
            return await desk.all(), placement.stores
    own = [KnownStore(replace(one, settings={}), FILE) for one in described(settings).values()]
    return own, settings.placement_stores


async def _check(
    cli: Cli, name: str, backend: Backend, environment: Environment, only: list[str] | None
) -> int | None:
    from holdfast.engine.probe import probe
    from holdfast.testing.checks import CHECKS
    from holdfast.testing.run import State, run

    unknown = sorted(set(only or ()) - set(CHECKS))
    if unknown:
        raise InvalidRequestError(
            f"there is no promise {unknown[0]!r}; without --only all {len(CHECKS)} are tried"
        )
    refused = (await probe(backend, environment)).cause
    if isinstance(refused, ConfigError | PermissionDeniedError | UnauthenticatedError):
        refused.store = refused.store or name
        raise refused  # no promise could be kept, and each would say the same
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
