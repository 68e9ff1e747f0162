"""`holdfast store create` and what follows it: stores that the catalog describes, for every process over it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.admin import administration, size, whole
from holdfast.cli.command import Cli, command
from holdfast.cli.exit import BROKEN_PROMISE
from holdfast.cli.output import visible
from holdfast.core.backend import StoreState
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import Layout
from holdfast.core.parsing import parse_json

if TYPE_CHECKING:
    from holdfast.engine.known_stores import KnownStore
    from holdfast.engine.stores import DriverField
    from holdfast.engine.trying import Trial

_STDIN: Final = "@-"
_ENV: Final = "env:"
_NONE: Final = "none"

Name = Annotated[str, typer.Argument(metavar="STORE")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="a setting of the driver; repeatable"),
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="NAME[=SOURCE]",
        help="a secret setting: NAME asks for it, NAME=@FILE, NAME=@- (standard input) or NAME=env:VARIABLE; repeatable",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="LABEL",
        help="internal or external; hot, cold or archive; free words; repeatable; none: no label",
    ),
]
Region = Annotated[str | None, typer.Option(help="where it is")]
Price = Annotated[str | None, typer.Option(help="key of its prices in the price book")]
LayoutName = Annotated[str | None, typer.Option("--layout", help="immutable or readable")]
StateName = Annotated[str | None, typer.Option("--state", help="active, read-only, draining or down")]
Attempts = Annotated[str | None, typer.Option(help="tries of an operation that fails with a passing error")]
InFlight = Annotated[
    str | None, typer.Option(help="operations and open streams at a time, per process; none: as is usual")
]

Encrypt = Annotated[
    bool | None,
    typer.Option(
        "--encrypt/--no-encrypt", help="encrypt whatever is written there before it leaves the service"
    ),
]


CacheOn = Annotated[
    bool | None,
    typer.Option("--cache/--no-cache", help="keep what is read from it on the disk of each machine"),
]
CacheBytes = Annotated[str | None, typer.Option(metavar="SIZE", help="how much the cache holds, as 10GiB")]
Describe = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="whether its blobs say what they are: auto, always or never"),
]


def add(group: typer.Typer) -> None:
    """Add the commands to `holdfast store`."""
    _making(group)
    _changing(group)
    _looking(group)


def _making(group: typer.Typer) -> None:
    @command(group, "create")
    async def create(
        cli: Cli,
        name: Name,
        driver: Annotated[
            str,
            typer.Option(
                help="what kind of storage: s3, gcs, azure, yandex_disk, google_drive, naas, local, memory, or an installed one"
            ),
        ],
        set_: Set = None,
        secret: Secret = None,
        label: Labels = None,
        region: Region = None,
        price: Price = None,
        layout: LayoutName = None,
        state: StateName = None,
        attempts: Attempts = None,
        max_in_flight: InFlight = None,
        encrypt: Encrypt = None,
        cache: CacheOn = None,
        cache_bytes: CacheBytes = None,
        describe: Describe = None,
        activate: Annotated[
            bool, typer.Option("--activate", help="test it now, and let it take objects when that goes well")
        ] = False,
    ) -> int | None:
        """Describe a store in the catalog, which is made with the first one. It takes objects once tested and activated."""
        more = _changes(label, region, price, layout, state, attempts, max_in_flight, encrypt)
        more |= _reading(cache, cache_bytes, describe)
        async with administration(cli, create=True) as admin:
            desk = admin.connections
            settings = _settings(set_, secret, None, desk.options().get(driver, ()))
            made, trial = await desk.create(name, driver, settings, **more), None
            if activate:
                made, trial = await desk.test(name)
                if trial.well:
                    made = await desk.activate(name)
        return _told(cli, made, f"made store {name}", trial)

    @command(group, "retire")
    async def retire(
        cli: Cli,
        name: Name,
        deactivate: Annotated[
            bool, typer.Option("--deactivate", help="also one that takes objects, if it holds none")
        ] = False,
    ) -> None:
        """Remove a store from the catalog; refused while anything is in it or a rule names it."""
        async with administration(cli) as admin:
            await admin.connections.retire(name, stop=deactivate)
        cli.out.record({"store": name, "retired": True}, f"retired {name}")


def _changing(group: typer.Typer) -> None:
    @command(group, "update")
    async def update(
        cli: Cli,
        name: Name,
        driver: Annotated[str | None, typer.Option(help="another driver")] = None,
        set_: Set = None,
        secret: Secret = None,
        unset: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="take a setting away; repeatable")
        ] = None,
        label: Labels = None,
        region: Region = None,
        price: Price = None,
        layout: LayoutName = None,
        attempts: Attempts = None,
        max_in_flight: InFlight = None,
        encrypt: Encrypt = None,
        cache: CacheOn = None,
        cache_bytes: CacheBytes = None,
        describe: Describe = None,
    ) -> None:
        """Change what is given; the rest stays. With another setting it takes objects only when tested again."""
        more = _changes(label, region, price, layout, None, attempts, max_in_flight, encrypt)
        more |= _reading(cache, cache_bytes, describe)
        async with administration(cli) as admin:
            desk = admin.connections
            kind = driver or (await desk.store(name)).connection.driver
            settings = _settings(set_, secret, unset, desk.options().get(kind, ()))
            made = await desk.update(name, driver=driver, settings=settings or None, **more)
        _told(cli, made, f"changed store {name}")

    @command(group, "activate")
    async def activate(cli: Cli, name: Name) -> None:
        """Let a store take new objects, as soon as it is tested."""
        async with administration(cli) as admin:
            made = await admin.connections.activate(name)
        _told(cli, made, f"activated {name}")

    @command(group, "deactivate")
    async def deactivate(cli: Cli, name: Name) -> None:
        """Let a store take no new objects. What it holds stays readable."""
        async with administration(cli) as admin:
            made = await admin.connections.deactivate(name)
        _told(cli, made, f"deactivated {name}")

    @command(group, "state")
    async def state(
        cli: Cli,
        name: Name,
        to: Annotated[str, typer.Argument(metavar="STATE", help="active, read-only, draining or down")],
    ) -> None:
        """Say what a store may do. Services follow within seconds."""
        wanted = _one_of(StoreState, to, "state")
        async with administration(cli) as admin:
            made = await admin.connections.set_state(name, wanted)
        _told(cli, made, f"{name} is {made.connection.state}")

    @command(group, "rewrap")
    async def rewrap(cli: Cli) -> int | None:
        """Seal all secrets with the first of `seal_keys`, so that older keys can be taken away."""
        async with administration(cli) as admin:
            done = await admin.connections.rewrap()
        rows = []
        for one in done:
            facts = {"store": one.store, "key": one.key_id, "changed": one.changed, "trouble": one.trouble}
            said = one.trouble or ("sealed anew" if one.changed else "as it was")
            rows.append((facts, (one.store, one.key_id, visible(said))))
        cli.out.table(("STORE", "KEY", "SECRETS"), rows)
        return BROKEN_PROMISE if any(one.trouble for one in done) else None


def _looking(group: typer.Typer) -> None:
    @command(group, "show")
    async def show(cli: Cli, name: Name) -> None:
        """Show one store; secrets are masked."""
        async with administration(cli) as admin:
            known = await admin.connections.store(name)
        _told(cli, known, "\n".join(_lines(facts(known))))

    @command(group, "test")
    async def test(cli: Cli, name: Name) -> int | None:
        """Open a store, look into it, and write, read and delete a small blob."""
        async with administration(cli) as admin:
            known, trial = await admin.connections.test(name)
        return _told(cli, known, f"{name} works", trial)


def facts(known: KnownStore) -> dict[str, Any]:
    """Return what a program wants to know of a store."""
    import msgspec

    from holdfast.api.store_models import store_info

    told: dict[str, Any] = msgspec.to_builtins(store_info(known))
    return {"store": told.pop("name"), **told}


def _told(cli: Cli, known: KnownStore, line: str, trial: Trial | None = None) -> int | None:
    """Show what became of a store; return the exit status."""
    said = facts(known)
    if trial is not None:
        said["ok"], said["seconds"] = trial.well, round(trial.seconds, 3)
    failed = trial is not None and not trial.well
    cli.out.record(
        said, f"the test of {known.name} failed: {visible(trial.trouble)}" if failed and trial else line
    )
    if known.refusal and not failed:
        cli.out.note(f"it takes no new objects: it {known.refusal}")
    if failed and known.origin != "file" and not known.refusal:
        cli.out.note(
            "it stays in service: what it is now was tested well before, and it did not answer this time"
        )
    return BROKEN_PROMISE if failed else None


def _changes(
    label: Sequence[str] | None,
    region: str | None,
    price: str | None,
    layout: str | None,
    state: str | None,
    attempts: str | None,
    max_in_flight: str | None,
    encrypt: bool | None,
) -> dict[str, Any]:
    """Return what is given, as the verbs on stores take it."""
    given: dict[str, Any] = {"region": region, "price": price, "encrypt": encrypt}
    if label is not None:
        given["labels"] = [] if list(label) == [_NONE] else list(label)
    if layout is not None:
        given["layout"] = _one_of(Layout, layout, "layout")
    if state is not None:
        given["state"] = _one_of(StoreState, state, "state")
    if attempts is not None:
        given["attempts"] = whole(attempts)
    found = {name: value for name, value in given.items() if value is not None}
    if max_in_flight is not None:
        found["max_in_flight"] = None if max_in_flight == _NONE else whole(max_in_flight)
    return found


def _reading(cache: bool | None, cache_bytes: str | None, describe: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"cache": cache, "describe": describe}
    if cache_bytes is not None:
        found["cache_bytes"] = size(cache_bytes)
    return {name: value for name, value in found.items() if value is not None}


def _settings(
    plain: Iterable[str] | None,
    secret: Iterable[str] | None,
    unset: Iterable[str] | None,
    fields: Sequence[DriverField],
) -> dict[str, Any]:
    """Return the settings that the options mean. Secrets never come from the command line itself."""
    secrets = {field.name for field in fields if field.secret}
    found: dict[str, Any] = dict.fromkeys(unset or ())
    for text in plain or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidRequestError("--set takes NAME=VALUE")
        if name in secrets:
            raise InvalidRequestError(
                f"{name} is a secret, and others can see this command: give it with --secret"
            )
        found[name] = _value(value)
    for text in secret or ():
        name, equals, source = text.partition("=")
        found[name] = _secret(name, source if equals else None, os.environ)
    return found


def _value(text: str) -> Any:
    """Return a list or a table as such, everything else as the text that it is."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return parse_json(text)
    except ValueError:
        return text


def _secret(name: str, source: str | None, environ: Mapping[str, str]) -> str:
    from holdfast.config.secrets import read_secret

    if source is None or source == _STDIN:
        if sys.stdin.isatty():
            return str(typer.prompt(name, hide_input=True, err=True))
        value = sys.stdin.readline().rstrip("\r\n")
        if not value:
            raise InvalidRequestError(f"standard input has no (further) line for the secret {name}")
        return value
    if source.startswith(_ENV):
        value = environ.get(source.removeprefix(_ENV), "")
        if not value:
            raise InvalidRequestError(f"the variable for the secret {name} is not set or empty")
        return value
    if source.startswith("@"):
        return read_secret(Path(source[1:]), f"--secret {name}")
    raise InvalidRequestError(
        f"others can see this command: give {name} as {name}=@FILE, {name}=@- or {name}=env:VARIABLE, or"
        f" --secret {name} alone to be asked for it"
    )


def _one_of(kind: Any, text: str, what: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InvalidRequestError(f"{what} is one of {', '.join(kind)}") from None


def _lines(said: Mapping[str, Any]) -> Iterable[str]:
    for name, value in said.items():
        if name == "settings":
            yield from (f"settings.{key}: {visible(str(held))}" for key, held in value.items())
        elif value not in (None, "", []):
            text = " ".join(value) if isinstance(value, list) else str(value)
            yield f"{name.replace('_', ' ')}: {visible(text)}"
