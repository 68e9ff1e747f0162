"""What a command talks to: a server, or an engine in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.errors import ConfigError, InvalidRequestError

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.engine.engine import Engine
    from holdfast.library.client import AsyncClient


@dataclass(frozen=True, slots=True)
class Target:
    """Where the user pointed us: flags win over variables, and a flag for one place turns off the variable of another."""

    server: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    data: Path | None = None
    config: Path | None = None

    def __post_init__(self) -> None:
        if self.server and (self.data or self.config):
            raise ConfigError("--server cannot be combined with --data or --config: choose one place")
        if self.token and self.token_file:
            raise ConfigError("--token cannot be combined with --token-file: choose one")

    @property
    def url(self) -> str | None:
        """The server's URL, or None: work in this process.

        Raises:
            ConfigError: it is no URL; it must not pass for a directory. Or a variable names another place too.
        """
        if not self.server and (self.data or self.config):
            return None
        url = self.server or os.environ.get("HOLDFAST_SERVER") or None
        if not self.server and url and os.environ.get("HOLDFAST_DATA"):
            raise ConfigError(
                "HOLDFAST_SERVER and HOLDFAST_DATA are both set: unset HOLDFAST_SERVER to work in the data directory,"
                " or unset HOLDFAST_DATA to work on the server (--data or --server choose for one command)"
            )
        if url is not None and not url.startswith(("http://", "https://")):
            raise ConfigError("the server's URL must look like http://host:8083 or https://host")
        return url

    @property
    def words(self) -> str:
        """The options, with a space in front, by which another command works in the same place in this process."""
        from shlex import quote

        given = (("--data", self.data), ("--config", self.config))
        return "".join(f" {option} {quote(str(path))}" for option, path in given if path)

    def settings(self) -> Settings:
        """Return the settings for work in this process.

        Raises:
            ConfigError: a setting is wrong, or a server was named for a command that works on stores and catalog.
        """
        from holdfast.config import load

        if self.server:
            raise ConfigError(
                "this command works where catalog and stores are: run it there, with --data or --config instead of --server"
            )
        if self.url:
            raise ConfigError(
                "this command works where catalog and stores are, but HOLDFAST_SERVER names a server: unset it, or name the "
                "place with --data or --config"
            )
        config = self.config or _path_from("HOLDFAST_CONFIG")
        return load(config, data=self.data)

    def tenant(self) -> str:
        """Return whose bucket is meant where nobody says it.

        Raises:
            InvalidRequestError: on a server it has to be said.
        """
        if self.url:
            raise InvalidRequestError(
                "say whose bucket it is: --tenant NAME (`default` where there is no other)"
            )
        return self.settings().tenant

    def secret(self) -> str | None:
        """Return the token for the server, if one is given."""
        from holdfast.library.tokens import find_token

        return find_token(self.token, self.token_file)

    @asynccontextmanager
    async def client(self, *, create: bool = False) -> AsyncIterator[AsyncClient]:
        """Open a client; `create` allows a data directory that is not there yet."""
        from holdfast import open_async

        if url := self.url:
            ca_file = str(self.ca_file) if self.ca_file else None
            async with open_async(url, token=self.secret(), ca_file=ca_file) as client:
                yield client
            return
        settings = self.settings()
        if not create:
            self.must_exist(settings)
        _log_beside()
        async with open_async(settings=settings) as client:
            yield client

    @staticmethod
    def must_exist(settings: Settings) -> None:
        """Refuse a data directory that is not there: a mistyped one would be made, and look empty.

        Raises:
            ConfigError: saying how to name or make one.
        """
        if settings.catalog or settings.data.is_dir():
            return
        raise ConfigError(
            f"there is no data directory {settings.data}; name one with --data or a server with --server,"
            " or make one with: holdfast mb BUCKET"
        )

    @asynccontextmanager
    async def engine(self, *, create: bool = False) -> AsyncIterator[Engine]:
        """Open the engine itself, for work on stores and catalog; `create` as for `client`."""
        from holdfast.app import open_engine

        settings = self.settings()
        if not create:
            self.must_exist(settings)
        _log_beside()
        engine = await open_engine(settings)
        try:
            yield engine
        finally:
            await engine.close()


def _log_beside() -> None:
    """Have what the engine logs go to standard error: standard output is the command's own."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def _path_from(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
