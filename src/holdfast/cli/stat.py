"""`holdfast stat`: what is known of an object."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.address import parse_object
from holdfast.cli.batch import each
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, human_time, version_facts, visible
from holdfast.cli.past import At, version_of
from holdfast.core.types import Version


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "stat", panel=panel)
    async def stat(
        cli: Cli,
        objects: Annotated[list[str], typer.Argument(metavar="BUCKET/KEY...")],
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        at: At = None,
    ) -> int:
        """Show what is known of objects without reading them."""
        addresses = [parse_object(text) for text in objects]
        async with cli.target.client() as client:

            async def work(index: int) -> None:
                address = addresses[index]
                wanted = await version_of(client, address.bucket, address.key, version_id, at)
                version = await client.head(address.bucket, address.key, version_id=wanted)
                cli.out.record(version_facts(version), describe(version))

            return await each(cli, range(len(addresses)), work, jobs=1)


#: What is said of an object that is not (wholly) where it belongs.
OWED: Final = {
    "down": "to its store, which was down (on a fallback store until then)",
    "copies": "further copies (being made)",
    "cloned": "copies of its own (it shares those of another version until then)",
}


def describe(version: Version) -> str:
    """Return the facts of a version, one per line."""
    sha256 = version.digests.sha256
    facts = {
        "object": str(version.ref),
        "size": f"{human_size(version.size)} ({version.size} bytes)",
        "content type": version.content_type,
        "modified": f"{human_time(version.created)} UTC",
        "version": version.id,
        "etag": version.etag,
        "sha256": f"{sha256.hex()}{'' if version.parts == 0 else ' (of the parts)'}" if sha256 else "",
        "parts": str(version.parts) if version.parts else "",
        "owed": OWED.get(version.owed, version.owed),
    }
    facts |= {f"meta {name}": value for name, value in version.metadata.items()}
    facts |= {f"tag {name}": value for name, value in version.tags.items()}
    return "\n".join(f"{name + ':':<14} {visible(value)}" for name, value in facts.items() if value)
