"""What the commands for tenants, keys and tokens share: whoever may read the catalog may look after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from holdfast.cli.command import Cli
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import IpRules, Quota, Rate

if TYPE_CHECKING:
    from holdfast.engine.administration import Administration

T = TypeVar("T")
NONE = "none"  #: takes a limit away

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help="[VERB,…:]BUCKET, BUCKET/PREFIX* or BUCKET/KEY; verbs also read, write",
    ),
]
Tenant = Annotated[str | None, typer.Option(help="the tenant (default: the one of the settings)")]
Allow = Annotated[
    list[str] | None, typer.Option(metavar="NETWORK", help="only from there; repeatable; none: from anywhere")
]
Deny = Annotated[
    list[str] | None, typer.Option(metavar="NETWORK", help="never from there; repeatable; none: no such list")
]
Requests = Annotated[str | None, typer.Option(help="requests per second")]
BytesIn = Annotated[str | None, typer.Option(help="bytes per second of uploads, as 10MB")]
BytesOut = Annotated[str | None, typer.Option(help="bytes per second of downloads, as 10MB")]


@asynccontextmanager
async def administration(cli: Cli, *, create: bool = False) -> AsyncIterator[Administration]:
    """Open the engine as the operator on this machine; no token is needed where the catalog can be read.

    `create` allows a data directory that is not there yet.
    """
    from holdfast.app import local_principal

    async with cli.target.engine(create=create) as engine:
        yield engine.session(local_principal(cli.target.settings())).admin


def seconds(text: str | None, option: str) -> float | None:
    """Return the seconds that `text` means; `InvalidRequestError` names the option when it means none."""
    from holdfast.config.units import parse_time

    return (
        None
        if text is None
        else float(_parsed(parse_time, text, f"a time for {option}, such as 30s, 15m or 90d"))
    )


def limit(text: str | None, held: T | None, read: Callable[[str], T]) -> T | None:
    """Return a limit: the one held when none is given, no limit for `none`."""
    return held if text is None else None if text == NONE else read(text)


def size(text: str) -> int:
    """Return the bytes that `text` means; `InvalidRequestError` when it means none."""
    from holdfast.config.units import parse_size

    return int(_parsed(parse_size, text, "a size such as 64KB or 5GB"))


def quota_with(held: Quota, max_bytes: str | None, max_objects: str | None) -> Quota:
    """Return `held` with what is given."""
    return Quota(limit(max_bytes, held.max_bytes, size), limit(max_objects, held.max_objects, whole))


def rate_with(held: Rate, requests: str | None, bytes_in: str | None, bytes_out: str | None) -> Rate:
    """Return `held` with what is given."""
    return Rate(
        limit(requests, held.requests, number),
        limit(bytes_in, held.bytes_in, size),
        limit(bytes_out, held.bytes_out, size),
    )


def rules_with(held: IpRules, allow: list[str] | None, deny: list[str] | None) -> IpRules:
    """Return `held` with the lists that are given; `none` alone empties a list."""
    return IpRules(_networks(held.allow, allow), _networks(held.deny, deny))


def whole(text: str) -> int:
    """Return a whole number; `InvalidRequestError` when it is none."""
    return int(_parsed(int, text, "a whole number"))


def number(text: str) -> float:
    """Return a number; `InvalidRequestError` when it is none."""
    return float(_parsed(float, text, "a number"))


def when(micros: int | None) -> str:
    """Return a time as people read it, "" for none."""
    return (
        ""
        if micros is None
        else datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    )


def _networks(held: tuple[str, ...], given: list[str] | None) -> tuple[str, ...]:
    if not given:
        return held
    if given == [NONE]:
        return ()
    if any(text.strip() in ("", NONE) for text in given):
        raise InvalidRequestError("name a network such as 10.0.0.0/8, or none alone to empty the list")
    return tuple(given)


def _parsed(parse: Callable[[str], object], text: str, what: str) -> str:
    try:
        return str(parse(text))
    except ValueError:
        raise InvalidRequestError(f"{text!r} is not {what}") from None
