"""`holdfast presign`: a URL that somebody without a token may use."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.address import parse_object
from holdfast.cli.command import Cli, command
from holdfast.cli.output import iso_time
from holdfast.core.errors import InvalidRequestError


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "presign", panel=panel)
    async def presign(
        cli: Cli,
        object_: Annotated[str, typer.Argument(metavar="BUCKET/KEY")],
        put: Annotated[bool, typer.Option("--put", help="to store the object, not to read it")] = False,
        upload: Annotated[
            bool, typer.Option("--upload", help="to store it in pieces (tus, or parts)")
        ] = False,
        expires: Annotated[str, typer.Option(help="how long it holds: 15m, 1h, at most 7d")] = "1h",
        content_type: Annotated[
            str | None, typer.Option("--type", help="of what is stored, also a pattern: image/*")
        ] = None,
        max_size: Annotated[str | None, typer.Option(help="most bytes that may be stored: 100MB")] = None,
        once: Annotated[bool, typer.Option("--once", help="to store a single time")] = False,
        ip: Annotated[str | None, typer.Option(help="only from this address or network")] = None,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
    ) -> None:
        """Make a URL that lets its bearer read or store one object without a token.

        Without a server the setting public_url must say where the service is. It ends with the credential that made
        it, and with: holdfast tenant rotate-signing.
        """
        from holdfast.config.units import parse_size, parse_time

        if put and upload:
            raise InvalidRequestError("choose --put or --upload")
        address = parse_object(object_)
        async with cli.target.client() as client:
            signed = await client.presign(
                address.bucket,
                address.key,
                "UPLOAD" if upload else "PUT" if put else "GET",
                expires_in=_number(parse_time, expires),
                content_type=content_type,
                max_size=None if max_size is None else int(_number(parse_size, max_size)),
                once=once,
                ip=ip,
                version_id=version_id,
            )
        facts = {
            "url": signed.url,
            "method": signed.method,
            "headers": dict(signed.headers),
            "expires": iso_time(signed.expires),
        }
        cli.out.record(facts, signed.url)


def _number(parse: object, text: str) -> float:
    assert callable(parse)
    try:
        return float(parse(text))
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
