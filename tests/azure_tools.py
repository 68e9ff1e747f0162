"""What tests of Azure share: the server, started once for a file, and stores in it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from holdfast.backends.object_store.azure import AzureBackend, AzureSettings, open_azure
from holdfast.backends.object_store.azure.signing import encode_query, stamp
from holdfast.backends.object_store.errors import Where
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError
from holdfast.testing.azurite import AzureServer

DIRECTORY, OWNER = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"


def settings(server: AzureServer, **changes: Any) -> AzureSettings:
    """Return the settings of a store on `server`, entered with the account's key unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "account": server.account,
        "container": server.container,
        "endpoint": server.endpoint,
        "allow_http": server.ca_file is None,
        "ca_file": server.ca_file,
    }
    if "credentials" not in changes:
        values["account_key"] = server.account_key
    return AzureSettings.model_validate(values | changes)


def store(server: AzureServer, environment: Environment | None = None, **changes: Any) -> AzureBackend:
    """Return a store on `server`."""
    return open_azure("az", settings(server, **changes), environment=environment or Environment())


async def make_container(made: AzureBackend) -> None:
    """Make the container of a store, unless it is there."""
    with contextlib.suppress(ConflictError):
        query = [("restype", "container")]
        await made._client.call(Where("make", "az"), "PUT", "", query=query, done=201)


def shared(server: AzureServer) -> str:
    """Return a signature for everything in the account, made here as documented."""
    ends = stamp(int((time.time() + 600) * 1e6))
    fields = [("sp", "rwdlac"), ("ss", "b"), ("srt", "sco"), ("se", ends), ("sv", "2020-12-06")]
    lines = [server.account, "rwdlac", "b", "sco", "", ends, "", "", "2020-12-06", "", ""]
    digest = hmac.new(
        base64.b64decode(server.account_key), "\n".join(lines).encode(), hashlib.sha256
    ).digest()
    return "?" + encode_query([*fields, ("sig", base64.b64encode(digest).decode())])


def jwt(lifetime: int = 3600, *, number: int = 0) -> str:
    """Return a token as the directory gives them; nobody here checks its signature."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{DIRECTORY}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + lifetime,
        "ver": "1.0",
        "oid": OWNER,
        "tid": DIRECTORY,
        "sub": OWNER,
        "uti": str(number),
    }
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    text = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*text, "c2ln"])


class Directory:
    """Gives tokens, as the directory and the machine's own service do, and remembers who asked how."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answers: list[tuple[int, Any]] = []  #: what to say instead, one after the other
        self.lifetime = 3600
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        form = dict(await request.post()) if request.method == "POST" else {}
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append({**headers, **request.query, **form, "path": request.path})  # type: ignore[dict-item]
        if self.answers:
            status, body = self.answers.pop(0)
            return web.json_response(body, status=status)
        token = jwt(self.lifetime, number=len(self.asked))
        return web.json_response({"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"})


@contextlib.asynccontextmanager
async def directory() -> AsyncIterator[Directory]:
    """Yield one that listens on loopback."""
    made = Directory()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
