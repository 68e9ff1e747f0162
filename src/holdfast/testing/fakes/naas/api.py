"""The API of the fake: who may have keys, and for what."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from holdfast.testing.fakes.naas.faults import Changed, Fault, Garbage, Half, Lost, Script, Status
from holdfast.testing.fakes.naas.ledger import Ledger

NO_ERROR, ALREADY_EXISTS, NOT_FOUND = 0, 1, 2
_FAULT: Final = web.RequestKey("fault", Fault)
_WORDS: Final = {ALREADY_EXISTS: "storage already exists", NOT_FOUND: "storage not found"}


class Api(Script):
    """Workspaces with storages, behind one API key. `storages` may be changed while it runs."""

    def __init__(
        self, api_key: str, storages: dict[str, list[str]], ledger: Ledger, bucket: str, region: str
    ) -> None:
        super().__init__()
        self.api_key, self.storages, self.region = api_key, storages, region
        self.bucket = bucket
        self.asked = 0  #: requests for keys, refused ones too
        self._ledger = ledger

    def application(self) -> web.Application:
        """Return it, to be served."""
        made = web.Application(middlewares=[self._misbehave, self._bearer])
        place = "/workspace/{workspace}/storage/"
        made.router.add_post(f"{place}credentials/", self._credentials)
        made.router.add_get(place, self._list)
        made.router.add_post(place, self._create)
        made.router.add_delete(place, self._delete)
        return made

    async def _credentials(self, request: web.Request) -> web.Response:
        name = (await _body(request)).get("name")
        workspace = request.match_info["workspace"]
        if name not in self.storages[workspace]:
            return _answer({"credentials": None}, NOT_FOUND)
        prefix = f"{workspace}/{name}"
        keys = self._ledger.issue(prefix)
        found = {
            "endpoint_url": f"s3://{self.bucket}/{prefix}",
            "access_key_id": keys.access_key,
            "secret_key": keys.secret_key,
            "session_token": keys.token,
            "expiration": keys.expiration,
            "region_name": self.region,
        }
        if isinstance(fault := request.get(_FAULT), Changed):
            found |= dict(fault.members)
        return _answer({"credentials": {"s3": found}}, NO_ERROR)

    async def _list(self, request: web.Request) -> web.Response:
        names = self.storages[request.match_info["workspace"]]
        return _answer({"storage": [{"name": name} for name in names]}, NO_ERROR)

    async def _create(self, request: web.Request) -> web.Response:
        told = (await _body(request)).get("storage")
        name = told.get("name") if isinstance(told, dict) else None
        names = self.storages[request.match_info["workspace"]]
        if not isinstance(name, str) or not name:
            return web.json_response({"detail": "a storage has a name"}, status=400)
        if name in names:
            return _answer({}, ALREADY_EXISTS)
        names.append(name)
        return _answer({"storage": {"name": name}}, NO_ERROR, 201)

    async def _delete(self, request: web.Request) -> web.Response:
        names = self.storages[request.match_info["workspace"]]
        name = request.query.get("storage_name", "")
        if name not in names:
            return _answer({}, NOT_FOUND)
        names.remove(name)
        return _answer({}, NO_ERROR)

    @web.middleware
    async def _bearer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self.api_key}".encode()):
            return web.json_response({"error_message": "unauthorized"}, status=401)
        if "//" in request.raw_path or request.match_info.get("workspace", "") not in self.storages:
            return web.json_response({"detail": "not found"}, status=404)
        return await handler(request)

    @web.middleware
    async def _misbehave(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked += request.path.endswith("/credentials/")
        fault = request[_FAULT] = self.next()
        if isinstance(fault, Status):
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            return web.json_response({"error_message": "scripted"}, status=fault.status, headers=headers)
        if isinstance(fault, Garbage):
            return web.Response(body=fault.body, content_type="text/html")
        answer = await handler(request)
        return await _spoiled(request, answer, fault)


async def _spoiled(request: web.Request, answer: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """Return the answer, or lose it, all of it or the second half of its body."""
    if not isinstance(fault, Lost | Half) or request.transport is None:
        return answer
    if isinstance(fault, Half) and isinstance(answer, web.Response):
        whole = bytes(answer.body) if isinstance(answer.body, bytes | bytearray) else b""
        cut = web.StreamResponse(status=answer.status)
        cut.content_length = len(whole)
        await cut.prepare(request)
        await cut.write(whole[: len(whole) // 2])
    request.transport.close()
    return answer


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.read())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text='{"detail": "no JSON object"}', content_type="application/json")
    return found


def _answer(content: dict[str, Any], error: int, status: int = 200) -> web.Response:
    told = {"error": error, "message": _WORDS.get(error, "")}
    return web.json_response({**content, "error": told}, status=status)
