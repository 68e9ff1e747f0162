"""The fake's doors: HTTP on loopback, in the loop of whoever starts it or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiohttp import web

from holdfast.core.clock import Clock
from holdfast.testing.fakes.google_drive.answers import Refused, answer
from holdfast.testing.fakes.google_drive.changing import Changing
from holdfast.testing.fakes.google_drive.faults import Asked, Fault, Faults
from holdfast.testing.fakes.google_drive.granting import Granting
from holdfast.testing.fakes.google_drive.query import QueryError, parse
from holdfast.testing.fakes.google_drive.reading import content, page
from holdfast.testing.fakes.google_drive.state import Item, Person, State
from holdfast.testing.fakes.google_drive.uploading import BrokenOffError, Uploading
from holdfast.testing.fakes.google_drive.views import FEW, FieldsError, moment, pick, shown
from holdfast.testing.fakes.google_drive.views import parse as parse_fields

_API: Final = "/drive/v3"
_UPLOAD: Final = "/upload/drive/v3"
_UPLOADS: Final = {"media": "simple", "multipart": "multipart", "resumable": "begin"}


class FakeDrive:
    """A Google Drive that is none: made from documentation. Give its `api_base`, `upload_base` and `token_url` to a driver.

    `state` holds everything and may be changed; `granting` makes credentials; `faults` is the script of what goes wrong;
    `seen` counts calls by name. `clock` decides when tokens, sessions and lags end.
    """

    def __init__(self, *, clock: Clock | None = None, seed: int = 0) -> None:
        self.state = State(clock, seed)
        self.granting = Granting(self.state)
        self.faults = Faults()
        self.seen: Counter[str] = Counter()
        self.url = ""
        self._changing = Changing(self.state)
        self._uploading = Uploading(self.state, self._changing)
        self._runner: web.AppRunner | None = None

    @property
    def api_base(self) -> str:
        """Where calls go."""
        return self.url + _API

    @property
    def upload_base(self) -> str:
        """Where uploads go."""
        return self.url + _UPLOAD

    @property
    def token_url(self) -> str:
        """Where tokens come from."""
        return f"{self.url}/token"

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening and remove all contents."""
        if self._runner is not None:
            await self._runner.cleanup()
        self.state.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = _asked(request)
        self.seen[asked.what] += 1
        fault = self.faults.take(asked)
        try:
            if fault is not None and fault.kind == "drop":
                raise BrokenOffError
            response = await self._obeyed(request, asked, fault)
            if fault is not None and fault.kind == "lose":
                raise BrokenOffError
            if fault is not None and fault.kind == "garble" and not response.prepared:
                kept = {
                    name: response.headers[name] for name in ("Location", "Range") if name in response.headers
                }
                return web.Response(text="<html>Sorry</html>", status=response.status, headers=kept)
            return response
        except BrokenOffError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except Refused as refused:
            return refused.answer()
        except (QueryError, FieldsError) as error:
            return Refused(400, "invalid", f"Invalid Value: {error}").answer()

    async def _obeyed(self, request: web.Request, asked: Asked, fault: Fault | None) -> web.StreamResponse:
        if fault is not None and fault.kind == "refuse":
            raise Refused(fault.status, fault.reason, retry_after=fault.retry_after)
        if asked.what == "token":
            return await self.granting.grant(request)
        person = self._person(request, fault)
        handler = getattr(self, f"_do_{asked.what}", None)
        if handler is None:
            raise Refused(404, "notFound", "Not Found")
        found = await handler(request, person, fault)
        if isinstance(found, Item):
            found.is_trashed = self.state.in_trash(found)
            return answer(pick(shown(found), parse_fields(request.query.get("fields", FEW))))
        response: web.StreamResponse = found
        return response

    def _person(self, request: web.Request, fault: Fault | None) -> Person:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if fault is not None and fault.kind == "expire":
            self.state.tokens.pop(token, None)
        email = self.granting.who(token)
        if email is None:
            raise Refused(401, "authError", "Invalid Credentials")
        return self.state.people[email]

    async def _do_about(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        if "fields" not in request.query:
            raise Refused(400, "required", "The 'fields' parameter is required for this method.")
        used = self.state.used(person.email)
        trash = sum(
            item.size
            for item in self.state.items.values()
            if item.owner == person.email and item.gone is None and self.state.in_trash(item)
        )
        quota = {"usage": str(used), "usageInDrive": str(used), "usageInDriveTrash": str(trash)}
        if person.limit is not None:
            quota["limit"] = str(person.limit)
        body = {"storageQuota": quota, "user": {"permissionId": "1", "emailAddress": person.email}}
        return answer(pick(body, parse_fields(request.query["fields"])))

    async def _do_list(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        query = request.query.get("q", "").replace("'root' in parents", f"'{person.root}' in parents")
        test = parse(query) if query else None
        return answer(page(self.state, request.query, person, test))

    async def _do_ids(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        count = int(request.query.get("count", "10"))
        if not 1 <= count <= 1000:
            raise Refused(400, "invalid", "count")
        ids = [self.state.new_id() for _ in range(count)]
        self.state.reserved.update(ids)
        return answer({"kind": "drive#generatedIds", "space": "drive", "ids": ids})

    async def _do_get(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        return self._changing.visible(request, person, request.path.rsplit("/", 1)[1])

    async def _do_media(
        self, request: web.Request, person: Person, fault: Fault | None
    ) -> web.StreamResponse:
        item = self._changing.visible(request, person, request.path.rsplit("/", 1)[1])
        return await content(request, item, half=fault is not None and fault.kind == "half")

    async def _do_create(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        return self._changing.make(self._changing.prepared(request, person, await _json(request), None), None)

    async def _do_update(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        item = self._changing.visible(request, person, request.path.rsplit("/", 1)[1])
        self._changing.writable(person, item)
        meta = await _json(request)
        updated = self._changing.update(item, meta)
        self._changing.move(request, person, updated)
        return updated

    async def _do_copy(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        item = self._changing.visible(request, person, request.path.split("/")[-2])
        return self._changing.copy(request, person, item, await _json(request))

    async def _do_delete(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        self._changing.delete(person, self._changing.visible(request, person, request.path.rsplit("/", 1)[1]))
        return web.Response(status=204)

    async def _do_empty(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        for item in list(self.state.items.values()):
            if item.owner == person.email and item.trashed and item.gone is None:
                self.state.remove(item)
        return web.Response(status=204)

    async def _do_simple(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        return await self._uploading.simple(request, person, _target(request), fault)

    async def _do_multipart(self, request: web.Request, person: Person, fault: Fault | None) -> Item:
        return await self._uploading.multipart(request, person, _target(request), fault)

    async def _do_begin(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        session = await self._uploading.begin(request, person, _target(request))
        fields = request.query.get("fields", FEW)
        where = f"{self.upload_base}/files?uploadType=resumable&upload_id={session.id}&fields={fields}"
        return web.Response(headers={"Location": f"{where}&supportsAllDrives=true"})

    async def _do_session(
        self, request: web.Request, person: Person, fault: Fault | None
    ) -> Item | web.Response:
        session, item = await self._uploading.go_on(request, person, fault)
        if item is not None:
            return item
        headers = {"Range": f"bytes=0-{session.kept - 1}"} if session.kept else {}
        return web.Response(status=308, headers=headers)

    async def _do_drives(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        mine = [id for id, members in self.state.drives.items() if person.email in members]
        drives = [{"kind": "drive#drive", "id": id, "name": self.state.items[id].name} for id in mine]
        return answer({"kind": "drive#driveList", "drives": drives})

    async def _do_start(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        return answer({"kind": "drive#startPageToken", "startPageToken": str(len(self.state.changes) + 1)})

    async def _do_changes(self, request: web.Request, person: Person, fault: Fault | None) -> web.Response:
        since = int(request.query.get("pageToken", "1")) - 1
        found: list[dict[str, Any]] = []
        for id in dict.fromkeys(self.state.changes[since:]):
            item = self.state.find(id)
            if item is not None and not self.state.may_see(person.email, item):
                continue
            one: dict[str, Any] = {"kind": "drive#change", "fileId": id, "removed": item is None}
            one["time"] = moment(self.state.now())
            if item is not None:
                one["file"] = pick(shown(item), parse_fields(FEW))
            found.append(one)
        return answer({"changes": found, "newStartPageToken": str(len(self.state.changes) + 1)})


def _target(request: web.Request) -> str:
    """Return the file whose content is to be replaced, "" for a new one."""
    last = request.path.rstrip("/").rsplit("/", 1)[1]
    return "" if last == "files" else last


def _asked(request: web.Request) -> Asked:
    return Asked(request.method, request.path, _what(request))


def _what(request: web.Request) -> str:
    """Return the name of a call; "" for what is none."""
    method, path = request.method, request.path
    if path == "/token":
        return "token" if method == "POST" else ""
    if path.startswith(f"{_UPLOAD}/files"):
        if method == "PUT" and "upload_id" in request.query:
            return "session"
        return _UPLOADS.get(request.query.get("uploadType", ""), "") if method in ("POST", "PATCH") else ""
    below = path.removeprefix(_API)
    if below == path:
        return ""
    fixed = {
        ("GET", "/about"): "about",
        ("GET", "/files"): "list",
        ("POST", "/files"): "create",
        ("GET", "/files/generateIds"): "ids",
        ("DELETE", "/files/trash"): "empty",
        ("GET", "/drives"): "drives",
        ("GET", "/changes"): "changes",
        ("GET", "/changes/startPageToken"): "start",
    }
    if known := fixed.get((method, below)):
        return known
    if below.count("/") == 3 and below.endswith("/copy") and method == "POST":
        return "copy"
    if below.startswith("/files/") and below.count("/") == 2:
        if method == "GET":
            return "media" if request.query.get("alt") == "media" else "get"
        return {"PATCH": "update", "DELETE": "delete"}.get(method, "")
    return ""


async def _json(request: web.Request) -> dict[str, Any]:
    found = await request.json() if request.can_read_body else {}
    if not isinstance(found, dict):
        raise Refused(400, "parseError")
    return found


@asynccontextmanager
async def fake_drive(*, clock: Clock | None = None, seed: int = 0) -> AsyncIterator[FakeDrive]:
    """Give a fake that runs in this loop."""
    fake = FakeDrive(clock=clock, seed=seed)
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


@contextmanager
def serving(fake: FakeDrive) -> Iterator[FakeDrive]:
    """Let a fake run in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-drive", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(10)
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
