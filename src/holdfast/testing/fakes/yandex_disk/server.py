"""The Disk over HTTP: `/v1/disk` as the REST interface, `/token` as the OAuth host, and the hosts that bytes go to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

from aiohttp import web

from holdfast.testing.fakes.yandex_disk import shapes, transfer
from holdfast.testing.fakes.yandex_disk.disk import Disk
from holdfast.testing.fakes.yandex_disk.faults import Fault, Faults, Kind
from holdfast.testing.fakes.yandex_disk.oauth import Accounts
from holdfast.testing.fakes.yandex_disk.things import Node, Refused

API: Final = "/v1/disk"
_SILENCE: Final = 60.0
_PROPERTIES: Final = 1024
#: What is wrong with the request that this task answers.
_FAULT: ContextVar[Fault | None] = ContextVar("fault", default=None)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers requests on `disk`."""

    def __init__(self, disk: Disk, accounts: Accounts, faults: Faults) -> None:
        self.disk, self.accounts, self.faults = disk, accounts, faults
        self.requests: Counter[str] = Counter()
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.base = ""

    def application(self) -> web.Application:
        """Return what an HTTP server runs."""
        app = web.Application(middlewares=[self._meddle], client_max_size=1 << 20)
        add = app.router.add_route
        for path in (API, f"{API}/"):
            add("GET", path, self._info)
        add("GET", f"{API}/resources", self._look)
        add("PUT", f"{API}/resources", self._make)
        add("PATCH", f"{API}/resources", self._describe)
        add("DELETE", f"{API}/resources", self._delete)
        add("GET", f"{API}/resources/files", self._files)
        add("GET", f"{API}/resources/upload", self._upload)
        add("GET", f"{API}/resources/download", self._download)
        add("POST", f"{API}/resources/copy", self._copy)
        add("POST", f"{API}/resources/move", self._move)
        add("GET", f"{API}/operations/{{id}}", self._operation)
        add("GET", f"{API}/trash/resources", self._trash)
        add("DELETE", f"{API}/trash/resources", self._empty)
        add("PUT", f"{API}/trash/resources/restore", self._restore)
        add("POST", "/token", self._token)
        add("PUT", "/upload-target/{token}", self._receive)
        add("HEAD", "/upload-target/{token}", self._held)
        add("GET", "/download-source/{token}", self._send)
        return app

    # -- what happens to every request

    @web.middleware
    async def _meddle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await self._answered(request, handler)
        except ConnectionError:  # the client has left
            return _break(request, web.Response())

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        label = _label(request)
        self.requests[label] += 1
        self.headers.append((label, dict(request.headers)))
        del self.headers[:-1000]
        fault = self.faults.take(label)
        if fault is not None and (early := await self._early(request, fault)) is not None:
            return early
        _FAULT.set(fault)
        try:
            if request.path.startswith(API):
                self.accounts.check(request.headers.get("Authorization"))
            response = await handler(request)
        except Refused as refused:
            response = _refusal(refused)
        if fault is not None and fault.kind is Kind.LOST:
            return _break(request, response)
        if fault is not None and fault.kind is Kind.HALF and isinstance(response, web.Response):
            return await _half(request, response)
        return response

    async def _early(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """Return the answer of a fault that keeps the request from having any effect."""
        match fault.kind:
            case Kind.STATUS:
                response = _refusal(Refused(fault.status, fault.code))
                if fault.retry_after is not None:
                    response.headers["Retry-After"] = f"{fault.retry_after:.0f}"
                return response
            case Kind.PAGE:
                return page(fault.status)
            case Kind.REFUSED:
                return _break(request, web.Response())
            case Kind.STRAY:
                return _refusal(Refused(401, "UnauthorizedError"))
            case Kind.EXPIRED:
                self.accounts.expire()
            case Kind.SILENT:
                await asyncio.sleep(_SILENCE)
        return None

    # -- the interface

    async def _info(self, request: web.Request) -> web.Response:
        return _json(shapes.only(shapes.info(self.disk), request.query.get("fields", "")))

    async def _look(self, request: web.Request) -> web.Response:
        path = _path(request)
        node = self.disk.get(path)
        full = self.disk.full(path)
        found = shapes.resource(node, full, self.base)
        if node.is_folder:
            found["_embedded"] = shapes.embedded(node, full, self.base, request.query)
            items = found["_embedded"]["items"]
            if _is(Kind.REPEATED) and items:
                items.insert(0, items[0])
        return _json(shapes.only(found, request.query.get("fields", "")))

    async def _files(self, request: web.Request) -> web.Response:
        limit, offset = shapes.number(request.query, "limit", 20), shapes.number(request.query, "offset", 0)
        everything = sorted(self._all(self.disk.root, "disk:"), key=lambda one: one[1])
        page_ = everything[offset : offset + limit]
        items = [shapes.resource(node, path, self.base) for node, path in page_]
        found = {"items": items, "limit": limit, "offset": offset}
        return _json(shapes.only(found, request.query.get("fields", "")))

    async def _make(self, request: web.Request) -> web.Response:
        path = _path(request)
        self.disk.make_folder(path)
        return _json(shapes.link(f"{self.base}{API}/resources?path={self.disk.full(path)}"), 201)

    async def _describe(self, request: web.Request) -> web.Response:
        node = self.disk.get(_path(request))
        try:
            said = json.loads(await request.read())["custom_properties"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "FieldValidationError") from None
        made = {name: value for name, value in {**node.properties, **said}.items() if value is not None}
        if len(json.dumps(made)) > _PROPERTIES:
            raise Refused(400, "FieldValidationError", "too many custom properties")
        node.properties = made
        return _json(shapes.resource(node, self.disk.full(_path(request)), self.base))

    async def _delete(self, request: web.Request) -> web.Response:
        path = _path(request)
        node = self.disk.find(path)
        if node is None:
            raise Refused(404, "DiskNotFoundError")
        said = request.query.get("md5")
        if said is not None and node.content is not None and said != node.content.md5:
            raise Refused(409, "MD5DifferError")
        permanently = _flag(request, "permanently")

        def effect() -> None:
            self.disk.remove(path, permanently=permanently)

        late = bool(node.children) or _flag(request, "force_async")
        return self._carry_out(request, effect, late=late, done=web.Response(status=204))

    async def _upload(self, request: web.Request) -> web.Response:
        token, link = self.disk.ask_upload(_path(request), overwrite=_flag(request, "overwrite"))
        href = f"{self.base}/upload-target/{token}"
        return _json(shapes.link(href, "PUT", operation_id=link.operation))

    async def _download(self, request: web.Request) -> web.Response:
        token = self.disk.ask_download(_path(request))
        return _json(shapes.link(f"{self.base}/download-source/{token}?disposition=attachment"))

    async def _copy(self, request: web.Request) -> web.Response:
        return self._two(request, self.disk.copy, late=self.disk.rules.copies_late)

    async def _move(self, request: web.Request) -> web.Response:
        return self._two(request, self.disk.move, late=self.disk.rules.moves_late)

    def _two(self, request: web.Request, change: Callable[..., None], *, late: bool) -> web.Response:
        source, target = request.query.get("from", ""), _path(request)
        overwrite = _flag(request, "overwrite")
        self.disk.get(source)
        self.disk.place(target)
        there = self.disk.find(target)
        if there is not None and not overwrite and there is not self.disk.find(source):
            raise Refused(409, "DiskResourceAlreadyExistsError")

        def effect() -> None:
            change(source, target, overwrite=overwrite)

        done = _json(shapes.link(f"{self.base}{API}/resources?path={self.disk.full(target)}"), 201)
        return self._carry_out(request, effect, late=late or _flag(request, "force_async"), done=done)

    def _carry_out(
        self, request: web.Request, effect: Callable[[], None], *, late: bool, done: web.Response
    ) -> web.Response:
        """Do it now, or begin an operation that will."""
        fault = _FAULT.get()
        fails = _is(Kind.FAILED)
        if late or fails or _is(Kind.LATE):
            polls = fault.polls if fault is not None and fault.kind is Kind.LATE else None
            return _json(shapes.operation(self.disk.begin(effect, polls=polls, fails=fails)), 202)
        effect()
        return done

    async def _operation(self, request: web.Request) -> web.Response:
        operation = self.disk.operations.get(request.match_info["id"])
        if operation is None:
            raise Refused(404, "DiskOperationNotFoundError")
        return _json({"status": operation.poll()})

    # -- the trash

    async def _trash(self, request: web.Request) -> web.Response:
        root = Node("", "trash", 0, 0, children=dict(self.disk.trash))
        found = shapes.embedded(root, "trash:/", self.base, request.query)
        for item, key in zip(found["items"], self._keys(root, request), strict=True):
            item["path"] = f"trash:/{key}"
        return _json({"type": "dir", "name": "trash", "path": "trash:/", "_embedded": found})

    def _keys(self, root: Node, request: web.Request) -> list[str]:
        by_node = {id(node): key for key, node in root.children.items()}
        nodes = shapes.ordered(root.children.values(), request.query.get("sort", ""))
        offset = shapes.number(request.query, "offset", 0)
        return [by_node[id(node)] for node in nodes][
            offset : offset + shapes.number(request.query, "limit", 20)
        ]

    async def _empty(self, request: web.Request) -> web.Response:
        key = request.query.get("path", "").removeprefix("trash:/")
        self.disk.empty_trash(key or None)
        return web.Response(status=204)

    async def _restore(self, request: web.Request) -> web.Response:
        key = request.query.get("path", "").removeprefix("trash:/")
        path = self.disk.restore(key, overwrite=_flag(request, "overwrite"))
        return _json(shapes.link(f"{self.base}{API}/resources?path={path}"), 201)

    # -- tokens and bytes

    async def _token(self, request: web.Request) -> web.Response:
        try:
            return _json(self.accounts.renew(await request.post()))
        except Refused as refused:
            return _json({"error": refused.code, "error_description": refused.text}, refused.status)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        return await transfer.receive(self.disk, request, _FAULT.get())

    async def _held(self, request: web.Request) -> web.StreamResponse:
        return transfer.held(self.disk, request)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        return await transfer.send(self.disk, request, _FAULT.get())

    def _all(self, node: Node, path: str) -> list[tuple[Node, str]]:
        found: list[tuple[Node, str]] = []
        for name, child in node.children.items():
            inner = f"{path}/{name}"
            found += self._all(child, inner) if child.is_folder else [(child, inner)]
        return found


def page(status: int) -> web.Response:
    """Return a page for people, as gateways and the hosts of bytes send it."""
    return web.Response(status=status, text=shapes.PAGE, content_type="text/html")


def _label(request: web.Request) -> str:
    path = request.path.removeprefix(API) if request.path.startswith(API) else request.path
    for folder in ("/operations", "/upload-target", "/download-source"):
        if path.startswith(folder):
            path = folder
    return f"{request.method} {path.rstrip('/') or '/'}"


def _path(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path:
        raise Refused(400, "FieldValidationError", "path")
    return path


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "false").lower() == "true"


def _is(kind: Kind) -> bool:
    fault = _FAULT.get()
    return fault is not None and fault.kind is kind


def _json(found: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(found).encode(), content_type="application/json", charset="utf-8"
    )


def _refusal(refused: Refused) -> web.Response:
    return _json(shapes.error(refused), refused.status)


def _break(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Break the connection instead of answering."""
    if request.transport is not None:
        request.transport.abort()
    return response


async def _half(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send the first half of an answer, then break the connection."""
    body = response.body if isinstance(response.body, bytes) else b""
    partial = web.StreamResponse(status=response.status, headers={"Content-Type": response.content_type})
    partial.content_length = len(body)
    await partial.prepare(request)
    await partial.write(body[: len(body) // 2])
    return _break(request, partial)
