"""`holdfast lifecycle`: rules about what becomes of objects as they grow old."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import starting
from holdfast.cli.address import parse, parse_object
from holdfast.cli.command import Cli, command
from holdfast.cli.hold import facts, line
from holdfast.cli.output import visible
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.core.lifecycle import LifecycleRule
    from holdfast.engine.retention import LifeExplained, Wished

Bucket = Annotated[str, typer.Argument(metavar="BUCKET")]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON: a list of rules; - reads them from the input")
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True, help="What becomes of objects as they grow old: expiry, moves, removal."
    )
    app.add_typer(group, name="lifecycle", rich_help_panel=panel)

    @command(group, "set")
    async def put(cli: Cli, bucket: Bucket, file: File) -> None:
        """Give a bucket these rules, in the place of all that it has; an empty list takes them away."""
        rules = _read(file)
        name = _bucket(bucket)
        async with cli.target.client() as client:
            await client.update_bucket(name, settings={"lifecycle": [_members(rule) for rule in rules]})
        _show(cli, rules)

    @command(group, "show")
    async def show(cli: Cli, bucket: Bucket) -> None:
        """Show the rules of a bucket."""
        async with cli.target.client() as client:
            _show(cli, (await client.bucket(_bucket(bucket))).bucket.settings.lifecycle)

    @command(group, "check")
    async def check(cli: Cli, file: File) -> None:
        """Check a file of rules and show them in their usual form; nothing is changed."""
        _show(cli, _read(file))

    @command(group, "explain")
    async def explain(
        cli: Cli,
        target: Annotated[str, typer.Argument(metavar="BUCKET/KEY", help="an object")],
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
    ) -> None:
        """Say what becomes of an object: which rule wants what, when and why."""
        place = parse_object(target)
        async with cli.target.client() as client:
            told = await client.explain_lifecycle(place.bucket, place.key, version_id=version_id)
        cli.out.record(_life_facts(told), "\n".join(_lines(told)))

    @command(group, "run")
    async def run(
        cli: Cli,
        bucket: Annotated[str | None, typer.Option(metavar="BUCKET", help="only this one")] = None,
        horizon: Annotated[
            int | None,
            typer.Option("--horizon-days", min=1, help="how long what nothing removes is taken to live; 365"),
        ] = None,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Do now what the rules want. A server does so once a day by itself."""
        return await starting.start(
            cli,
            "lifecycle",
            {"bucket": None if bucket is None else _bucket(bucket), "horizon_days": horizon},
            run,
        )


def _bucket(text: str) -> str:
    address = parse(text)
    if address.key:
        raise InvalidRequestError(f"{text!r} names an object; name a bucket")
    return address.bucket


def _read(file: str) -> tuple[LifecycleRule, ...]:
    from holdfast.policy.lifecycle_form import rules_of

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        return rules_of(json.loads(text))
    except OSError as error:
        raise InvalidRequestError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidRequestError(f"{file} is not JSON: {error}") from None


def _members(rule: LifecycleRule) -> dict[str, Any]:
    from holdfast.policy.lifecycle_form import rule_members

    return rule_members(rule)


def _show(cli: Cli, rules: tuple[LifecycleRule, ...]) -> None:
    for rule in rules:
        said = _members(rule)
        told = ", ".join(f"{name} {_told(value)}" for name, value in said.items() if name != "name")
        cli.out.record(said, visible(f"{rule.name}: {told}"))
    if not rules:
        cli.out.note("there are no rules")


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _life_facts(told: LifeExplained) -> dict[str, Any]:
    from holdfast.core.retention import moment

    return {
        **facts(told),
        "wishes": [_wish_facts(wish) for wish in told.wishes],
        "not_meant": [{"rule": rule, "why": why} for rule, why in told.not_meant],
        "now": None if told.now is None else _wish_facts(told.now),
        "refused": told.refused,
        "expires": None if told.expires is None else moment(told.expires),
    }


def _wish_facts(wish: Wished) -> dict[str, Any]:
    from holdfast.core.retention import moment

    return {
        "rule": wish.rule,
        "action": wish.action.value,
        "due": None if wish.due is None else moment(wish.due),
        "why": wish.why,
        "to": wish.to or None,
    }


def _lines(told: LifeExplained) -> list[str]:
    from holdfast.core.retention import moment

    lines = [line(told)]
    lines += [f"{_when(wish)}  {_what(wish)}  rule {wish.rule}: {wish.why}" for wish in told.wishes]
    lines += [f"{'-':<20}  not by rule {rule}: {why}" for rule, why in told.not_meant]
    if told.expires is not None:
        lines.append(f"{moment(told.expires)}  removed: the bucket keeps versions no longer")
    if told.now is not None:
        does = f"not done: {told.refused}" if told.refused else "done by the next run"
        lines.append(f"due now: {_what(told.now)} by rule {told.now.rule}; {does}")
    return [visible(text) for text in lines]


def _when(wish: Wished) -> str:
    from holdfast.core.retention import moment

    return f"{'not known yet':<20}" if wish.due is None else moment(wish.due)


def _what(wish: Wished) -> str:
    return f"move to {wish.to}" if wish.to else wish.action.value
