"""`holdfast bucket`: what buckets ask of their objects, and how much they may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.command import Cli, command
from holdfast.cli.output import bucket_facts, human_size, human_time, visible
from holdfast.cli.snapshot import register_of_buckets
from holdfast.core.errors import InvalidRequestError
from holdfast.policy.buckets import settings_members

if TYPE_CHECKING:
    from holdfast.core.types import Bucket, Usage
    from holdfast.engine.buckets import BucketStats

_PANEL = "Settings"
_NONE = "none"


def _option(help: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_PANEL)


Visibility = Annotated[str | None, _option("private, or public: anybody may read by name")]
Types = Annotated[
    list[str] | None,
    _option("take only this: image/png, image/* or .csv; repeatable", "--allow-type", metavar="TYPE"),
]
Largest = Annotated[str | None, _option("largest object, as 100MB, or none", metavar="SIZE")]
MaxBytes = Annotated[
    str | None, _option("most bytes in all, versions and uploads counted, as 10GB, or none", metavar="SIZE")
]
MaxObjects = Annotated[str | None, _option("most versions in all, or none", metavar="COUNT")]
Retention = Annotated[
    str | None, _option("remove versions that are this many days old, or none", metavar="DAYS")
]
Encryption = Annotated[str | None, _option("store: only on stores that encrypt; or none")]
IpAllow = Annotated[
    list[str] | None,
    _option("only these networks, as 10.0.0.0/8; repeatable; none: all", "--ip-allow", metavar="NETWORK"),
]
IpDeny = Annotated[
    list[str] | None, _option("not these networks; repeatable; none: no such", "--ip-deny", metavar="NETWORK")
]
Inline = Annotated[
    str | None,
    _option(
        "size below which contents live in the catalog, as 64KB; 0: none do; none: as the tenant says",
        metavar="SIZE",
    ),
]

DefaultLock = Annotated[
    str | None,
    _option(
        "lock every version that is made, as governance:30 or compliance:365 (days), or none",
        metavar="MODE:DAYS",
    ),
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Settings of buckets: show and change them.")
    app.add_typer(group, name="bucket", rich_help_panel=panel)
    register_of_buckets(group)

    @command(group, "ls")
    async def list_buckets(cli: Cli) -> None:
        """List buckets with what they hold and may hold."""
        async with cli.target.client() as client:
            rows = [(settings_facts(*pair), _cells(*pair)) for pair in await client.buckets()]
        cli.out.table(("BUCKET", ">OBJECTS", ">SIZE", ">LIMIT", ">DAYS", "VISIBILITY", "CREATED"), rows)

    @command(group, "show")
    async def show(cli: Cli, name: Annotated[str, typer.Argument(metavar="BUCKET")]) -> None:
        """Show a bucket: its settings, its counters and how much of its limits is taken."""
        async with cli.target.client() as client:
            _show(cli, await client.bucket(name))

    @command(group, "set")
    async def change(
        cli: Cli,
        name: Annotated[str, typer.Argument(metavar="BUCKET")],
        versioning: Annotated[
            bool | None,
            typer.Option(
                "--versioning/--no-versioning",
                help="keep what is overwritten or removed",
                rich_help_panel=_PANEL,
            ),
        ] = None,
        visibility: Visibility = None,
        allow_type: Types = None,
        max_object_size: Largest = None,
        max_bytes: MaxBytes = None,
        max_objects: MaxObjects = None,
        retention_days: Retention = None,
        encryption: Encryption = None,
        ip_allow: IpAllow = None,
        ip_deny: IpDeny = None,
        inline: Inline = None,
        default_lock: DefaultLock = None,
    ) -> None:
        """Change settings of a bucket; those that are not named stay. `none` takes a limit away."""
        settings = wanted(
            visibility,
            allow_type,
            max_object_size,
            max_bytes,
            max_objects,
            retention_days,
            encryption,
            ip_allow,
            ip_deny,
            inline,
            default_lock,
        )
        if not settings and versioning is None:
            raise InvalidRequestError("name a setting to change; holdfast bucket set --help lists them")
        async with cli.target.client() as client:
            await client.update_bucket(name, versioning=versioning, settings=settings)
            _show(cli, await client.bucket(name))


def wanted(
    visibility: str | None,
    allow_type: list[str] | None,
    max_object_size: str | None,
    max_bytes: str | None,
    max_objects: str | None,
    retention_days: str | None,
    encryption: str | None,
    ip_allow: list[str] | None,
    ip_deny: list[str] | None,
    inline: str | None,
    default_lock: str | None = None,
) -> dict[str, object]:
    """Return the settings that options name, as clients take them."""
    given: dict[str, object | None] = {
        "visibility": visibility,
        "allowed_types": _list(allow_type),
        "max_object_size": max_object_size,
        "max_bytes": max_bytes,
        "max_objects": _whole("--max-objects", max_objects),
        "retention_days": _whole("--retention-days", retention_days),
        "encryption": encryption,
        "ip_allow": _list(ip_allow),
        "ip_deny": _list(ip_deny),
        "inline": inline,
        "default_lock": _lock(default_lock),
    }
    limits = ("max_object_size", "max_bytes", "max_objects", "retention_days", "inline", "default_lock")
    return {
        name: None if name in limits and value == _NONE else value
        for name, value in given.items()
        if value is not None
    }


def _lock(text: str | None) -> dict[str, object] | str | None:
    if text is None or text == _NONE:
        return text
    mode, colon, days = text.partition(":")
    if not (colon and days.isascii() and days.isdigit() and len(days) < 6):
        raise InvalidRequestError(
            f"--default-lock takes MODE:DAYS, as governance:30, or {_NONE}; not {text!r:.80}"
        )
    return {"mode": mode, "days": int(days)}


def _list(given: list[str] | None) -> list[str] | None:
    return None if not given else [text for text in given if text != _NONE]


def _whole(option: str, text: str | None) -> int | str | None:
    if text is None or text == _NONE:
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequestError(f"{option} takes a whole number, or {_NONE}; not {text!r:.80}")
    return int(text)


def settings_facts(bucket: Bucket, usage: Usage) -> dict[str, Any]:
    """Return the JSON form of a bucket with its counters and settings."""
    return {**bucket_facts(bucket, usage), **settings_members(bucket.settings)}


def _cells(bucket: Bucket, usage: Usage) -> tuple[str, ...]:
    settings = bucket.settings
    limit = settings.quota.max_bytes
    return (
        bucket.name,
        str(usage.objects),
        human_size(usage.bytes),
        "" if limit is None else human_size(limit),
        "" if settings.retention_days is None else str(settings.retention_days),
        settings.visibility.value,
        human_time(bucket.created),
    )


def _show(cli: Cli, stats: BucketStats) -> None:
    facts = settings_facts(stats.bucket, stats.usage) | {
        "reserved_bytes": stats.use.reserved_bytes,
        "reserved_objects": stats.use.reserved_objects,
    }
    cli.out.record(facts, "\n".join(f"{name:<18}{_shown(name, value)}" for name, value in facts.items()))


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return _NONE
    if name == "lifecycle":
        return visible(", ".join(rule["name"] for rule in value))
    if isinstance(value, dict):
        return f"{value['mode']}, {value['days']} days"
    if isinstance(value, list):
        return visible(", ".join(value))
    if isinstance(value, int) and ("bytes" in name or "size" in name):
        return f"{value} ({human_size(value)})" if value >= 1024 else f"{value}"
    return visible(str(value))
