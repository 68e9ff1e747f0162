"""`holdfast audit`: who did what, and the proof that nobody changed the answer."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.exit import ending
from holdfast.cli.output import human_time, iso_time, visible
from holdfast.cli.times import HOW, moment
from holdfast.core.errors import CorruptedError, InvalidRequestError

if TYPE_CHECKING:
    from holdfast.core.errors import HoldfastError
    from holdfast.core.types import AuditEntry
    from holdfast.engine.audit import AuditFilter
    from holdfast.engine.engine import Engine
    from holdfast.engine.verifying import Verdict

_DAY: Final = 86_400_000_000
Tenant = Annotated[str | None, typer.Option(help="the tenant (default: that of the configuration)")]
Service = Annotated[bool, typer.Option("--service", help="what belongs to no tenant, instead")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"not before this time: {HOW}")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="before this time, written so")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The audit: who did what, and whether that was changed.")
    app.add_typer(group, name="audit", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/audit")
    _reading(group)
    _keeping(group)


def _reading(group: typer.Typer) -> None:
    @command(group, "ls")
    async def ls(
        cli: Cli,
        tenant: Tenant = None,
        service: Service = False,
        bucket: Annotated[str, typer.Option(help="only of this bucket")] = "",
        prefix: Annotated[str, typer.Option(help="only of keys that begin so")] = "",
        principal: Annotated[str, typer.Option(help="only of this credential's id")] = "",
        since: Since = None,
        until: Until = None,
        limit: Annotated[int, typer.Option(min=1, help="the newest so many")] = 50,
    ) -> None:
        """List accesses and changes, the newest last."""
        wanted = _filter(bucket, prefix, principal, since, until)
        name = _name(cli, tenant, service)
        newest: deque[AuditEntry] = deque(maxlen=limit)
        async with cli.target.engine() as engine:
            await _check_there(engine, name)
            async for entry in engine.audit.records(name, wanted):
                newest.append(entry)
        cli.out.table(
            [">NUMBER", "TIME", "PRINCIPAL", "ACTION", "OBJECT", ">STATUS", ">BYTES", "FROM"],
            [(facts(entry), _cells(entry)) for entry in newest],
        )

    @command(group, "verify")
    async def verify(
        cli: Cli,
        tenant: Tenant = None,
        service: Service = False,
        expect: Annotated[
            str | None, typer.Option(help="a head shown earlier, which must still be part of it")
        ] = None,
    ) -> int | None:
        """Seal what is open, then tell whether the audit is whole: of all tenants, unless one is named."""
        one = tenant is not None or service or expect is not None
        async with _sealed(cli) as (engine, unsealed):
            if one:
                name = _name(cli, tenant, service)
                await _check_there(engine, name)
                verdicts = [await engine.audit.verify(name, expected=expect)]
            else:
                verdicts = list(await engine.audit.verify_all())
        for verdict in verdicts:
            cli.out.record(verdict_facts(verdict), _sentence(verdict))
        if not all(verdict.whole for verdict in verdicts):
            return _broken()
        return _unsealed(cli, unsealed, [verdict.tenant for verdict in verdicts])

    @command(group, "export")
    async def export(
        cli: Cli, tenant: Tenant = None, service: Service = False, since: Since = None, until: Until = None
    ) -> int | None:
        """Write all records as lines of JSON, and as the last line the head of the chain that they were read from."""
        wanted, name, count = _filter("", "", "", since, until), _name(cli, tenant, service), 0
        async with _sealed(cli) as (engine, unsealed):
            await _check_there(engine, name)
            verdict = await engine.audit.verify(name)
            async for entry in engine.audit.records(name, wanted):
                _write(facts(entry))
                count += 1
        _write({"audit": verdict_facts(verdict), "exported": count})
        if not verdict.whole:
            cli.out.error(CorruptedError(_sentence(verdict)))
            return _broken()
        return _unsealed(cli, unsealed, [name])


def _keeping(group: typer.Typer) -> None:
    @command(group, "prune")
    async def prune(
        cli: Cli,
        tenant: Tenant = None,
        service: Service = False,
        before: Annotated[
            str | None, typer.Option(metavar="TIME", help=f"remove what is older than this time: {HOW}")
        ] = None,
        keep_days: Annotated[
            int | None, typer.Option(min=1, help="remove what is older than so many days")
        ] = None,
    ) -> None:
        """Remove old records, segment by segment, after a look whether all is whole; the audit tells of it."""
        from holdfast.catalog.contract import Actor

        if (before is None) == (keep_days is None):
            raise InvalidRequestError("say how much is to go: either --before or --keep-days")
        name = _name(cli, tenant, service)
        async with _sealed(cli) as (engine, _):
            await _check_there(engine, name)
            limit = await engine.catalog.now() - (keep_days or 0) * _DAY if before is None else moment(before)
            pruned = await engine.audit.prune(name, before=limit, actor=Actor("local"))
        cli.out.record(
            {"tenant": name, "segments": pruned.segments, "records": pruned.records},
            f"removed {pruned.records} records in {pruned.segments} segments",
        )

    @command(group, "restart")
    async def restart(
        cli: Cli,
        tenant: Tenant = None,
        service: Service = False,
        yes: Annotated[bool, typer.Option("--yes", help="do it: what is sealed is gone then")] = False,
    ) -> None:
        """Give up the sealed records of an audit that no longer verifies, so that new ones are sealed; export them first."""
        from holdfast.catalog.contract import Actor

        if not yes:
            raise InvalidRequestError("this removes all sealed records; export them, then say --yes")
        name = _name(cli, tenant, service)
        async with cli.target.engine() as engine:
            await _check_there(engine, name)
            given_up = await engine.audit.restart(name, actor=Actor("local"))
        cli.out.record(
            {"tenant": name, "segments": given_up.segments, "records": given_up.records},
            f"gave up {given_up.records} records in {given_up.segments} segments",
        )


def facts(entry: AuditEntry) -> dict[str, Any]:
    """Return the JSON form of a record."""
    return {
        "number": entry.number,
        "at": iso_time(entry.at),
        "tenant": entry.tenant,
        "principal": entry.principal,
        "action": entry.action,
        "bucket": entry.bucket,
        "key": entry.key,
        "version_id": entry.version_id,
        "request_id": entry.request_id,
        "address": entry.address,
        "status": entry.status,
        "bytes": entry.bytes,
        "received": entry.received,
        "agent": entry.agent,
        "error": entry.error,
        "detail": dict(entry.detail),
    }


def verdict_facts(verdict: Verdict) -> dict[str, Any]:
    """Return the JSON form of a verdict."""
    return {
        "tenant": verdict.tenant,
        "whole": verdict.whole,
        "problem": verdict.problem,
        "segment": verdict.segment,
        "text": verdict.text,
        "segments": verdict.segments,
        "records": verdict.records,
        "pruned": verdict.pruned,
        "head": verdict.head,
    }


def _sentence(verdict: Verdict) -> str:
    whose = f"tenant {visible(verdict.tenant)}" if verdict.tenant else "the service"
    if not verdict.whole:
        where = f" at segment {verdict.segment}" if verdict.segment else ""
        return f"{whose}: NOT WHOLE, {verdict.problem}{where}: {visible(verdict.text)}"
    return f"{whose}: whole, {verdict.records} records in {verdict.segments} segments, head {verdict.head}"


def _cells(entry: AuditEntry) -> list[str]:
    where = f"{entry.bucket}/{entry.key}" if entry.key else entry.bucket
    return [
        str(entry.number),
        human_time(entry.at),
        visible(entry.principal),
        visible(entry.action),
        visible(where),
        str(entry.status) if entry.status else "",
        str(entry.bytes),
        entry.address,
    ]


@asynccontextmanager
async def _sealed(cli: Cli) -> AsyncIterator[tuple[Engine, Mapping[str, HoldfastError]]]:
    """Give the engine, with nothing open in any audit but in those of which it gives the error."""
    async with cli.target.engine() as engine:
        report = await engine.audit.seal()
        for tenant, error in report.failed.items():
            cli.out.note(f"{visible(tenant) or 'the service'}: {error.message}")
        yield engine, report.failed


def _unsealed(cli: Cli, failed: Mapping[str, HoldfastError], tenants: Sequence[str]) -> int | None:
    """Say that what is sealed is whole and the newest records are not in it; return the status, None if they are."""
    for tenant in tenants:
        if (error := failed.get(tenant)) is not None:
            whose = f"tenant {tenant}" if tenant else "the service"
            told = f"what is sealed of {whose} is whole, newer records cannot be sealed: {error.message}"
            cli.out.error(type(error)(told))
            return ending(error).status
    return None


def _filter(bucket: str, prefix: str, principal: str, since: str | None, until: str | None) -> AuditFilter:
    from holdfast.engine.audit import AuditFilter

    return AuditFilter(
        bucket,
        prefix,
        principal,
        moment(since) if since else 0,
        moment(until) if until else AuditFilter().until,
    )


def _name(cli: Cli, tenant: str | None, service: bool) -> str:
    if service and tenant is not None:
        raise InvalidRequestError("--service is no tenant: leave --tenant out")
    return "" if service else cli.target.settings().tenant if tenant is None else tenant


async def _check_there(engine: Engine, name: str) -> None:
    """Raise `NotFoundError` for a tenant that neither is there nor has an audit."""
    if name and name not in await engine.catalog.audit_tenants():
        await engine.catalog.tenant(name)


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def _broken() -> int:
    return ending(CorruptedError("")).status
