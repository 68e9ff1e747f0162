"""`holdfast plan` and `holdfast apply`: the catalog as a file describes it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.command import Cli, command
from holdfast.cli.exit import ENDINGS
from holdfast.cli.output import visible
from holdfast.core.errors import ConfigError, ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.engine.administration import Administration
    from holdfast.engine.applying import ConfigPlan
    from holdfast.policy.differences import Change, Wanted

CHANGES: Final = 2  #: with --detailed-exitcode: there is something to change
_OF_ANY: Final = {"layout", "state", "labels"}  #: settings of a store that have a meaning without its driver
_SIGNS: Final = {"create": "+", "change": "~", "remove": "-"}
_DONE: Final = {"create": "created", "change": "changed", "remove": "removed"}

File = Annotated[
    Path | None,
    typer.Argument(help="the file with the table [apply]; without it, the configuration file"),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune", help="also remove what the file does not describe, of the kinds that it speaks of"
    ),
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""

    @command(app, "plan", panel=panel, beside="/api/v1/config/plan")
    async def plan(
        cli: Cli,
        file: File = None,
        prune: Prune = False,
        detailed_exitcode: Annotated[
            bool, typer.Option("--detailed-exitcode", help="status 2 when there is something to change")
        ] = False,
    ) -> int | None:
        """Show what `holdfast apply` would change in the catalog, and change nothing.

        Status 6 when a change cannot be made.
        """
        async with _onlooker(cli) as (admin, home):
            made = await admin.plan_config(_wanted(cli, file, home), prune=prune)
        _show(cli, made)
        _summary(cli, made)
        if made.troubles:
            return ENDINGS[ConflictError].status
        return CHANGES if detailed_exitcode and made.changes else None

    @command(app, "apply", panel=panel, beside="/api/v1/config/apply")
    async def apply(
        cli: Cli,
        file: File = None,
        prune: Prune = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    ) -> None:
        """Make tenants, buckets, stores and rules of the catalog as the file describes them.

        The changes are shown first and made when you agree: those, or none if the catalog has changed meanwhile. What
        the file does not name stays as it is.
        """
        async with _opened(cli.target.settings()) as (admin, home):
            wanted = _wanted(cli, file, home)
            made = await admin.plan_config(wanted, prune=prune)
            if not yes or not made.changes or made.troubles:
                _show(cli, made)
            if made.changes and not made.troubles and not yes:
                _agree(cli, made)
            if made.changes:
                made = await admin.apply_config(wanted, prune=prune, expect=made.id)
        if yes:
            _show(cli, made)
        _summary(cli, made, done=True)


@asynccontextmanager
async def _onlooker(cli: Cli) -> AsyncIterator[tuple[Administration, str]]:
    """Open the engine to look only: where nothing is there yet, over a catalog that goes away afterwards."""
    from holdfast.config.settings import StoreSettings

    settings = cli.target.settings()
    if settings.catalog or settings.data.exists():
        async with _opened(settings) as found:
            yield found
        return
    cli.out.note(f"nothing is there yet: {settings.data} is made by holdfast apply")
    with tempfile.TemporaryDirectory(prefix="holdfast-plan-") as folder:
        stores = {
            name: StoreSettings.model_validate({**store.model_dump(include=_OF_ANY), "driver": "memory"})
            for name, store in settings.all_stores.items()
        }
        async with _opened(
            settings.model_copy(update={"data": Path(folder) / "data", "stores": stores})
        ) as found:
            yield found


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Administration, str]]:
    """Open the engine as the operator on this machine."""
    from holdfast.app import local_principal, open_engine

    engine = await open_engine(settings)
    try:
        yield engine.session(local_principal(settings)).admin, settings.tenant
    finally:
        await engine.close()


def _wanted(cli: Cli, file: Path | None, home: str) -> Wanted:
    from holdfast.config.declared import read_declared
    from holdfast.config.settings import chosen_file
    from holdfast.engine.wanting import wanted_of

    path = file or chosen_file(cli.target.config or os.environ.get("HOLDFAST_CONFIG") or None)
    if path is None:
        raise ConfigError(
            "there is no file to read: name one with a table [apply], or put it into holdfast.toml here"
        )
    return wanted_of(read_declared(path), home)


def _agree(cli: Cli, made: ConfigPlan) -> None:
    """Ask whether the changes shall be made.

    Raises:
        InvalidRequestError: nobody can be asked, or the answer is no.
    """
    if not sys.stdin.isatty() or cli.out.as_json:
        raise InvalidRequestError("nothing was done: look at the changes, then say --yes to make them")
    answer = input(f"Make {len(made.changes)} changes? Only yes is taken: ")
    if answer.strip().lower() != "yes":
        raise InvalidRequestError("nothing was done")


def _show(cli: Cli, made: ConfigPlan) -> None:
    from holdfast.policy.differences import shown

    for change in made.changes:
        facts: dict[str, Any] = {
            "action": change.action.value,
            "kind": change.kind.value,
            "name": change.name,
            "edits": [
                {"member": edit.member, "old": shown(edit.old), "new": shown(edit.new)}
                for edit in change.edits
            ],
            "trouble": change.trouble,
        }
        cli.out.record(facts, "\n".join(_lines(change)))


def _lines(change: Change) -> Iterator[str]:
    """Yield a change as people read it."""
    yield visible(f"{_SIGNS[change.action.value]} {change.kind} {change.name}")
    for edit in change.edits:
        if change.action.value == "create":
            if edit.new in (None, "", [], {}):
                continue
            yield visible(f"    {edit.member} = {text(edit.new)}")
        else:
            yield visible(f"    {edit.member}: {text(edit.old)} → {text(edit.new)}")
    if change.trouble:
        yield visible(f"    ! cannot be done: {change.trouble}")


def text(value: Any) -> str:
    """Return a value as people read it; secrets are not shown."""
    from holdfast.policy.differences import shown

    value = shown(value)
    if value in (None, "", [], {}):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {text(one)}" for name, one in value.items())
    return ", ".join(text(one) for one in value) if isinstance(value, list) else str(value)


def _summary(cli: Cli, made: ConfigPlan, *, done: bool = False) -> None:
    counts = Counter(change.action.value for change in made.changes)
    if not made.changes:
        said = "nothing to change: the catalog is as described"
    elif done:
        said = ", ".join(f"{counts[action]} {word}" for action, word in _DONE.items())
    else:
        said = ", ".join(f"{counts[action]} to {action}" for action in _SIGNS)
    if made.troubles and not done:
        said += f"; {len(made.troubles)} cannot be done, so apply would do nothing"
    cli.out.note(said)
