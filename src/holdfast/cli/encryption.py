"""`holdfast encryption`: the keys of encrypted blobs shown, rotated, destroyed, and kept elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli.admin import administration, when
from holdfast.cli.command import Cli, command
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.engine.keyring import Generation

_BESIDE: Final = "/api/v1/encryption"
_PARTLY: Final = 15


def register(app: typer.Typer, panel: str) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help="Keys of encrypted blobs.", no_args_is_help=True)
    app.add_typer(group, name="encryption", rich_help_panel=panel)
    _looking(group)
    _changing(group)
    _keeping(group)


def _looking(group: typer.Typer) -> None:
    @command(group, "status", beside=_BESIDE)
    async def status(cli: Cli) -> None:
        """Show the root keys, and every generation of every tenant's key with the number of blobs that it is for."""
        async with administration(cli) as admin:
            found = await admin.encryption.status()
        facts = [_facts(one) for one in found.generations]
        lines = [f"root keys: {', '.join(found.root_keys)} (the first wraps)"]
        lines += [
            f"{one['tenant']}  generation {one['generation']}  {one['state']}  root key {one['root_key'] or '-'}"
            f"{'' if one['opens'] or one['state'] == 'destroyed' else ' (DOES NOT OPEN)'}  {one['blobs']} blobs"
            for one in facts
        ]
        cli.out.record({"root_keys": list(found.root_keys), "keys": facts}, "\n".join(lines))


def _changing(group: typer.Typer) -> None:
    @command(group, "rotate", beside=_BESIDE)
    async def rotate(
        cli: Cli,
        tenant: Annotated[str | None, typer.Option(help="make this tenant a new key")] = None,
        root: Annotated[
            bool, typer.Option("--root", help="wrap the keys of all tenants by the first of seal_keys")
        ] = False,
        drop: Annotated[
            bool,
            typer.Option(
                "--drop", help="with --tenant: destroy older keys of the tenant that wrap nothing any more"
            ),
        ] = False,
    ) -> int | None:
        """Rotate keys while reads and writes go on; no byte of a blob moves."""
        if root == (tenant is not None) or (drop and root):
            raise InvalidRequestError("say what to rotate: --tenant TENANT (with --drop or not), or --root")
        async with administration(cli) as admin:
            if tenant is None:
                done, dropped = await admin.encryption.rotate_root(), 0
                text = f"wrapped the keys of tenants anew: {done.rewrapped}"
            else:
                done, dropped = await admin.encryption.rotate(tenant, drop=drop)
                text = f"{tenant} has a key of generation {done.generation}; wrapped anew: {done.rewrapped} keys of blobs"
                text += f"; destroyed older generations: {dropped}" if drop else ""
        facts = {
            "tenant": tenant,
            "generation": done.generation,
            "rewrapped": done.rewrapped,
            "dropped": dropped,
        }
        cli.out.record({**facts, "troubles": list(done.troubles)}, "\n".join((text, *done.troubles)))
        return _PARTLY if done.troubles else None

    @command(group, "shred", beside=_BESIDE)
    async def shred(
        cli: Cli,
        tenant: Annotated[str, typer.Argument(metavar="TENANT")],
        yes: Annotated[bool, typer.Option("--yes", help="really; it cannot be undone")] = False,
    ) -> None:
        """Destroy the key of a tenant: what is encrypted for it can be read by nobody any more."""
        if not yes:
            raise InvalidRequestError(
                f"all that is encrypted for {tenant} would be lost for good; say --yes if that is what you want"
            )
        async with administration(cli) as admin:
            count = await admin.encryption.shred(tenant)
        cli.out.record(
            {"tenant": tenant, "destroyed": count},
            f"destroyed the key of {tenant} ({count} generation{'' if count == 1 else 's'}); copies of the catalog from before still hold it",
        )


def _keeping(group: typer.Typer) -> None:
    @command(group, "export", beside=_BESIDE)
    async def export(
        cli: Cli,
        file: Annotated[Path | None, typer.Argument(help="a new file (default: standard output)")] = None,
    ) -> None:
        """Write the keys of all tenants, wrapped by root keys, to be kept apart from the catalog."""
        async with administration(cli) as admin:
            text = await admin.encryption.export()
        if file is None:
            sys.stdout.write(text)
            return
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise InvalidRequestError(f"cannot make {file}: {error.strerror}") from None
        with os.fdopen(handle, "w") as opened:
            opened.write(text)
        cli.out.record({"file": str(file)}, f"wrote {file}; it is of use only with the root keys")

    @command(group, "restore", beside=_BESIDE)
    async def restore(
        cli: Cli, file: Annotated[Path, typer.Argument(help="what `holdfast encryption export` wrote")]
    ) -> None:
        """Add the keys of an export that the catalog has not."""
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequestError(f"cannot read {file}: {error}") from None
        async with administration(cli) as admin:
            count = await admin.encryption.restore(text)
        cli.out.record({"restored": count}, f"restored {count} keys of tenants")


def _facts(one: Generation) -> dict[str, Any]:
    return {
        "tenant": one.key.tenant,
        "generation": one.key.generation,
        "state": one.key.state.value,
        "root_key": one.key.root_key_id,
        "opens": one.opens,
        "blobs": one.blobs,
        "created": when(one.key.created),
    }
