"""`holdfast backup`: make backups, look at them, prove them, practise with them, and let go of old ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import job_text, starting
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size
from holdfast.core.errors import ConfigError
from holdfast.core.jobs import Job, JobState

Store = Annotated[
    str | None,
    typer.Option("--store", help="the store that holds backups, else backup.store of the configuration"),
]
Set = Annotated[str, typer.Argument(metavar="SET", help="id of a set, its first letters, or latest")]
Identity = Annotated[
    Path | None, typer.Option("--identity", help="file with the age identity, where the job runs")
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help="Backups of catalog and contents, to any store.", no_args_is_help=True)
    app.add_typer(group, name="backup", rich_help_panel=panel)
    _making(group)
    _looking(group)
    _proving(group)
    _keeping(group)


def _making(group: typer.Typer) -> None:
    @command(group, "create")
    async def create(
        cli: Cli,
        store: Store = None,
        tenant: Annotated[str | None, typer.Option(help="only this tenant")] = None,
        bucket: Annotated[str | None, typer.Option(help="only this bucket, with --tenant")] = None,
        incremental: Annotated[
            bool,
            typer.Option(
                "--incremental", help="write only contents that the last backup of the same does not have"
            ),
        ] = False,
        parent: Annotated[str | None, typer.Option(help="go on from this set")] = None,
        recipient: Annotated[
            list[str] | None, typer.Option(help="age public key to encrypt to (age1…); may be given again")
        ] = None,
        plain: Annotated[bool, typer.Option("--plain", help="do not encrypt")] = False,
        compression: Annotated[str | None, typer.Option(help="zst, gz or none")] = None,
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Back up the service, a tenant or a bucket, as it is at one moment; others go on writing meanwhile."""
        spec = {
            "store": store,
            "tenant": tenant,
            "bucket": bucket,
            "incremental": incremental,
            "parent": parent,
            "recipients": recipient or None,
            "plain": plain,
            "compression": compression,
        }
        return await starting.start(
            cli,
            "backup",
            spec,
            run,
            show=_in_a_line(cli, _made),
        )

    @command(group, "keygen", beside="")
    async def keygen(
        cli: Cli,
        output: Annotated[
            Path, typer.Option("--output", "-o", help="file for the identity; it must not exist")
        ],
    ) -> None:
        """Make an age key: the identity, which is secret, into a file, and its recipient shown.

        Keep the file where the service is not, on paper as well; without it nothing encrypted can be restored.
        """
        from holdfast.engine.backups.ages import new_identity

        identity, recipient = new_identity()
        try:
            made = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ConfigError(f"{output} cannot be made: {error.strerror}") from None
        with os.fdopen(made, "w") as file:
            file.write(f"# public key: {recipient}\n{identity}\n")
        cli.out.record({"recipient": recipient, "file": str(output)}, recipient)


def _looking(group: typer.Typer) -> None:
    @command(group, "list", beside="")
    async def list_(cli: Cli, store: Store = None) -> None:
        """Show the sets that are whole, the oldest first."""
        from holdfast.engine.backups.shelf import shown

        async with cli.target.engine() as engine:
            found = await shown(engine.context, store or "")
        cli.out.table(
            ("set", "moment", "of", "parent", "versions", "bytes", "stored", "encrypted"),
            [(one, _columns(one)) for one in found.sets],
        )
        for set_id, why in found.damaged.items():
            cli.out.note(f"set-{set_id}: {why}")
        for set_id in found.unfinished:
            cli.out.note(f"set-{set_id} is not whole: its backup runs, or never ended")

    @command(group, "show", beside="")
    async def show(cli: Cli, wanted: Set = "latest", store: Store = None) -> None:
        """Show all that is known of a set without opening it."""
        from holdfast.engine.backups.shelf import described

        async with cli.target.engine() as engine:
            found = await described(engine.context, store or "", wanted)
        lines = [f"{name.replace('_', ' ')}: {_text(name, value)}" for name, value in found.items()]
        cli.out.record(found, "\n".join(lines))


def _proving(group: typer.Typer) -> None:
    @command(group, "verify")
    async def verify(
        cli: Cli,
        wanted: Set = "latest",
        store: Store = None,
        identity: Identity = None,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Read every file of a set and compare it with the manifest; with an identity, look into each as well."""
        spec = {"store": store, "set": wanted, "identity": _path(identity)}
        return await starting.start(
            cli, "backup-verify", spec, starting.Run(dry_run, no_wait, bandwidth=bandwidth)
        )

    @command(group, "drill")
    async def drill(
        cli: Cli,
        wanted: Set = "latest",
        store: Store = None,
        identity: Identity = None,
        folder: Annotated[
            Path | None, typer.Option(help="folder with room for all of it, where the job runs")
        ] = None,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Restore a set into a scratch folder, compare every row and byte, and write the evidence beside the set."""
        spec = {"store": store, "set": wanted, "identity": _path(identity), "folder": _path(folder)}
        return await starting.start(
            cli,
            "drill",
            spec,
            starting.Run(dry_run, no_wait, bandwidth=bandwidth),
            show=_in_a_line(cli, _drilled),
        )


def _keeping(group: typer.Typer) -> None:
    @command(group, "prune")
    async def prune(
        cli: Cli,
        store: Store = None,
        keep: Annotated[int, typer.Option("--keep", min=0, help="keep the last N")] = 0,
        daily: Annotated[int, typer.Option("--keep-daily", min=0, help="the last one of each of N days")] = 0,
        weekly: Annotated[int, typer.Option("--keep-weekly", min=0, help="of each of N weeks")] = 0,
        monthly: Annotated[int, typer.Option("--keep-monthly", min=0, help="of each of N months")] = 0,
        dry_run: starting.DryRun = False,
        no_wait: starting.NoWait = False,
    ) -> int | None:
        """Remove the sets that are not to be kept, but never one that a kept one rests on."""
        spec = {"store": store, "last": keep, "daily": daily, "weekly": weekly, "monthly": monthly}
        return await starting.start(cli, "backup-prune", spec, starting.Run(dry_run, no_wait))


def _in_a_line(cli: Cli, line: Callable[[Mapping[str, Any]], str]) -> Callable[[Job], None]:
    """Return what shows a job that ended well by `line` of its result, and any other as usual."""

    def show(job: Job) -> None:
        if job.state is JobState.DONE and not job.counts.failed:
            cli.out.record(job_text.facts(job), line(job.result))
        else:
            job_text.show_end(cli, job)

    return show


def _made(result: Mapping[str, Any]) -> str:
    return (
        f"set-{result['set']}: {result['versions']} versions, {human_size(result['bytes'])}; wrote"
        f" {human_size(result['written_bytes'])} of contents, {human_size(result['stored_bytes'])} in"
        f" {result['files']} files on {result['store']}"
    )


def _drilled(result: Mapping[str, Any]) -> str:
    return (
        f"set-{result['set']}: {result['rows']} rows and {human_size(result['bytes'])} of {result['versions']} versions"
        f" are {result['result']}, in {result['seconds']:.1f} s; see {result['file'].rpartition('/')[2]}"
    )


def _path(given: Path | None) -> str | None:
    return None if given is None else str(given.absolute())


def _columns(one: Mapping[str, Any]) -> list[str]:
    of = "/".join(name for name in (one["tenant"], one["bucket"]) if name) or "everything"
    return [
        one["set"],
        one["moment"],
        of,
        one["parent"][:13] or "-",
        str(one["versions"]),
        human_size(one["bytes"]),
        human_size(one["stored_bytes"]),
        "yes" if one["recipients"] else "no",
    ]


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "-"
    return human_size(value) if name.endswith("bytes") else str(value) or "-"
