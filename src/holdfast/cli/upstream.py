"""`holdfast upstream`: a store that others still write to, followed until it can be left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import starting
from holdfast.cli.admin import Tenant, seconds, when
from holdfast.cli.command import Cli, command

if TYPE_CHECKING:
    from holdfast.engine.upstream_desk import UpstreamStatus

BucketName = Annotated[str, typer.Argument(metavar="BUCKET")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    upstream = typer.Typer(
        no_args_is_help=True, help="A store that others still write to, and a bucket that follows it."
    )
    app.add_typer(upstream, name="upstream", rich_help_panel=panel)
    _register_state(upstream)
    _register_jobs(upstream)


def _register_state(upstream: typer.Typer) -> None:
    @command(upstream, "attach")
    async def attach(
        cli: Cli,
        bucket: BucketName,
        store: Annotated[str, typer.Argument(metavar="STORE")],
        prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="only names that begin so")] = "",
        dual_write: Annotated[
            bool, typer.Option("--dual-write", help="write out there too what is changed here")
        ] = False,
        lazy: Annotated[
            bool,
            typer.Option(
                "--lazy", help="do not ask it with each read: what changed there is seen by the next pass"
            ),
        ] = False,
        own: Annotated[
            bool, typer.Option("--own", help="delete there what is brought home; else it stays as it is")
        ] = False,
        tenant: Tenant = None,
    ) -> None:
        """Have BUCKET follow what lies in STORE. Reads find it from now on; `upstream follow` brings it home."""
        from holdfast.core.adopted import Upstream

        wish = Upstream(
            tenant or "", bucket, store, prefix, dual_write=dual_write, fresh=not lazy, keep=not own
        )
        async with cli.target.client() as client:
            _show(cli, await client.attach_upstream(wish))

    @command(upstream, "set")
    async def change(
        cli: Cli,
        bucket: BucketName,
        dual_write: Annotated[bool | None, typer.Option("--dual-write/--no-dual-write")] = None,
        fresh: Annotated[bool | None, typer.Option("--fresh/--lazy")] = None,
        tenant: Tenant = None,
    ) -> None:
        """Change how BUCKET follows its upstream."""
        async with cli.target.client() as client:
            _show(
                cli, await client.change_upstream(bucket, tenant=tenant, dual_write=dual_write, fresh=fresh)
            )

    @command(upstream, "status")
    async def status(
        cli: Cli,
        bucket: Annotated[str | None, typer.Argument(metavar="[BUCKET]")] = None,
        tenant: Tenant = None,
    ) -> None:
        """Show what a bucket follows and how far it is; without BUCKET, all of them."""
        async with cli.target.client() as client:
            if bucket is not None:
                _show(cli, await client.upstream(bucket, tenant=tenant))
                return
            found = await client.upstreams(tenant=tenant)
        rows = [(_record(one), _row(one)) for one in found]
        cli.out.table(("BUCKET", "STORE", "PHASE", ">PASSES", "LAST", ">OWED", ">AWAY", ">DIFFERENCES"), rows)

    @command(upstream, "back")
    async def back(cli: Cli, bucket: BucketName, tenant: Tenant = None) -> None:
        """Write out all that was changed here, so that clients may go back; `upstream follow` does it."""
        async with cli.target.client() as client:
            _show(cli, await client.take_upstream_back(bucket, tenant=tenant))

    @command(upstream, "detach")
    async def detach(
        cli: Cli,
        bucket: BucketName,
        force: Annotated[
            bool, typer.Option("--force", help="even if changes are still to be written out")
        ] = False,
        tenant: Tenant = None,
    ) -> None:
        """Have BUCKET follow nothing any more. Nothing is deleted there."""
        async with cli.target.client() as client:
            await client.detach_upstream(bucket, tenant=tenant, force=force)
        cli.out.record({"bucket": bucket}, f"{bucket}: follows nothing")


def _register_jobs(upstream: typer.Typer) -> None:
    @command(upstream, "follow")
    async def follow(
        cli: Cli,
        bucket: BucketName,
        passes: Annotated[int, typer.Option(min=0, help="so many passes; 0: until it is detached")] = 0,
        pause: Annotated[str, typer.Option(metavar="TIME", help="between two passes")] = "60s",
        share: Annotated[
            float, typer.Option(min=0, max=1, help="the largest share of the objects that may vanish at once")
        ] = 0.1,
        tenant: Tenant = None,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Keep BUCKET in step with its upstream, pass after pass: what is new, changed or gone there; contents; changes made here."""
        spec = {
            "bucket": bucket,
            "passes": passes,
            "pause": seconds(pause, "--pause"),
            "share": share,
            "tenant": await _whose(cli, bucket, tenant),
        }
        return await starting.start(cli, "follow", spec, starting.Run(False, no_wait, objects, bandwidth))

    @command(upstream, "verify")
    async def verify(
        cli: Cli,
        bucket: BucketName,
        sample: Annotated[
            float, typer.Option(min=0, max=1, help="the share of contents that is read")
        ] = 0.01,
        tenant: Tenant = None,
        no_wait: starting.NoWait = False,
        objects: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
    ) -> int | None:
        """Compare BUCKET with its upstream; exit status 15 when something differs."""
        spec = {"bucket": bucket, "sample": sample, "tenant": await _whose(cli, bucket, tenant)}
        return await starting.start(
            cli, "verify-upstream", spec, starting.Run(False, no_wait, objects, bandwidth)
        )

    @command(upstream, "cutover")
    async def cutover(
        cli: Cli,
        bucket: BucketName,
        sample: Annotated[
            float, typer.Option(min=0, max=1, help="the share of contents that is read")
        ] = 0.01,
        tenant: Tenant = None,
    ) -> int | None:
        """Compare, and when nothing differs leave the upstream: it is not read any more, and kept. Have its writers stop first."""
        spec = {
            "bucket": bucket,
            "sample": sample,
            "cutover": True,
            "tenant": await _whose(cli, bucket, tenant),
        }
        return await starting.start(cli, "verify-upstream", spec)


async def _whose(cli: Cli, bucket: str, tenant: str | None) -> str:
    """Return whose bucket is meant; a server is asked whose it is for whoever asks."""
    if tenant or not cli.target.url:
        return tenant or cli.target.settings().tenant
    async with cli.target.client() as client:
        return (await client.upstream(bucket)).upstream.tenant


def _record(status: UpstreamStatus) -> dict[str, Any]:
    import msgspec

    from holdfast.api.upstreams import form_of

    told: dict[str, Any] = msgspec.to_builtins(form_of(status))
    return told


def _row(status: UpstreamStatus) -> tuple[str, ...]:
    upstream = status.upstream
    differences = "" if upstream.differences is None else str(upstream.differences)
    return (
        *(upstream.bucket, f"{upstream.store}/{upstream.prefix}", upstream.phase.value, str(upstream.passes)),
        *(when(upstream.passed), str(status.owing.count), str(status.away), differences),
    )


def _show(cli: Cli, status: UpstreamStatus) -> None:
    upstream = status.upstream
    told = [f"{upstream.bucket}: {upstream.phase.value} {upstream.store}/{upstream.prefix}"]
    told.append(
        f"{upstream.passes} passes" if status.complete else "listings are complete after the first pass"
    )
    if status.owing.count:
        told.append(f"{status.owing.count} changes to be written out")
    if status.away:
        told.append(f"{status.away} contents to be brought home")
    if upstream.differences is not None:
        told.append(f"{upstream.differences} differences when it was compared last")
    cli.out.record(_record(status), "; ".join(told))
