"""Holdfast: one place to put, find, protect and move objects, whatever holds their bytes.

`open` gives a client for ordinary code, `open_async` one for code with an event loop. Both take a directory (the engine
runs in this process) or the URL of a server; the verbs are the same.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConfigError
from holdfast.library import opening

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.core.types import (
        Bucket,
        ByteRange,
        Deleted,
        Digests,
        ListPage,
        Part,
        Upload,
        Usage,
        Version,
    )
    from holdfast.library.client import AsyncClient
    from holdfast.library.sync import Client

__all__ = [
    "IF_ABSENT",
    "AsyncClient",
    "Bucket",
    "ByteRange",
    "Client",
    "Deleted",
    "Digests",
    "ListPage",
    "Part",
    "Preconditions",
    "Upload",
    "Usage",
    "Version",
    "__version__",
    "open",
    "open_async",
]

#: The condition of a write that must not replace anything.
IF_ABSENT: Final = Preconditions(if_none_match=("*",))

_TYPES: Final = "Bucket", "ByteRange", "Deleted", "Digests", "ListPage", "Part", "Upload", "Usage", "Version"
_LAZY: Final = {
    "Client": "holdfast.library.sync",
    "AsyncClient": "holdfast.library.client",
    **dict.fromkeys(_TYPES, "holdfast.core.types"),
}


def open(
    target: str | os.PathLike[str] | None = None,
    *,
    token: str | None = None,
    ca_file: str | None = None,
    settings: Settings | None = None,
) -> Client:
    """Return a client for `target`: close it, or use it in a `with`.

    `target` is the URL of a server, a configuration file (`*.toml`), or a data directory, which is made if it is not
    there. Without one, `HOLDFAST_SERVER` names a server; else the settings decide (`holdfast.toml`, `HOLDFAST_*`).
    `token` is for a server; without one, `HOLDFAST_TOKEN` or the file that `HOLDFAST_TOKEN_FILE` names is used.

    Raises:
        ConfigError: a setting is wrong. UnavailableError: the catalog cannot be reached.

    >>> with holdfast.open(folder / "data") as client:
    ...     bucket = client.create_bucket("photos")
    ...     version = client.put("photos", "cat.txt", b"meow")
    ...     client.get("photos", "cat.txt")
    b'meow'
    """
    from holdfast.library.sync import Client

    return Client(_opener(target, token, ca_file, settings))


@asynccontextmanager
async def open_async(
    target: str | os.PathLike[str] | None = None,
    *,
    token: str | None = None,
    ca_file: str | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[AsyncClient]:
    """Give a client for code with an event loop; takes and raises what `open` does.

    >>> async def first_object():
    ...     async with holdfast.open_async(folder / "data") as client:
    ...         await client.create_bucket("photos")
    ...         await client.put("photos", "cat.txt", b"meow")
    ...         return await client.get("photos", "cat.txt")
    >>> asyncio.run(first_object())
    b'meow'
    """
    async with await _opener(target, token, ca_file, settings)() as client:
        yield client


def _opener(
    target: str | os.PathLike[str] | None, token: str | None, ca_file: str | None, settings: Settings | None
) -> Callable[[], Awaitable[AsyncClient]]:
    """Return what opens a client on the loop that will use it."""
    where = os.fspath(target) if target is not None else None
    if where is None and settings is None:
        where = os.environ.get("HOLDFAST_SERVER") or None
        if where is not None and "://" not in where:
            raise ConfigError("HOLDFAST_SERVER must look like http://host:8083 or https://host")
    if where is not None and where.startswith(("http://", "https://")):
        return lambda: _open_http(str(where), token, ca_file)
    if where is not None and "://" in where:
        raise ConfigError(
            f"cannot open {where.partition('://')[0]}://…; give a directory, a *.toml file or an http(s) URL"
        )
    return lambda: _open_embedded(settings or _settings(where))


def _settings(where: str | None) -> Settings:
    from holdfast.config import load

    if where is not None and (where.endswith(".toml") or Path(where).is_file()):
        return load(where)
    config = os.environ.get("HOLDFAST_CONFIG") or None
    return load(config, data=where)


async def _open_http(url: str, token: str | None, ca_file: str | None) -> AsyncClient:
    from holdfast.library.http import HttpClient
    from holdfast.library.tokens import find_token

    return HttpClient(url, token=find_token(token), ca_file=ca_file)


async def _open_embedded(settings: Settings) -> AsyncClient:
    from holdfast.app import local_principal, open_engine
    from holdfast.library.embedded import EmbeddedClient

    engine = await open_engine(settings)
    principal = local_principal(settings)
    return EmbeddedClient(
        engine.session(principal),
        engine.close,
        public_url=settings.public_url,
        sessions=lambda tenant: engine.session(replace(principal, tenant=tenant)),
        engine=engine,
    )


opening.provide(_opener)


def __getattr__(name: str) -> Any:
    """Return a class or `__version__` when it is asked for: importing holdfast stays cheap."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("holdfast")
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
