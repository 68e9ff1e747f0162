"""The fake on a loopback port: routes, faults, and a thread or a process of its own to run in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from holdfast.testing.fakes.gcs import objects, pages, transfers
from holdfast.testing.fakes.gcs.accounts import Accounts
from holdfast.testing.fakes.gcs.asked import Asked, admit, read, refused, refused_json, xml
from holdfast.testing.fakes.gcs.faults import Fault, Faults
from holdfast.testing.fakes.gcs.state import Bucket, Refusal, sum_of

_BODY = 1 << 40
_WAIT = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]


class FakeGcs:
    """The service with one bucket, and more by `add_bucket`. As a context manager it serves from a thread of its own."""

    def __init__(
        self,
        *,
        bucket: str = "blobs",
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        least_part: int = 5 << 20,
        rewrite_step: int = 1 << 40,
    ) -> None:
        self._now, self._least_part = now, least_part
        self.buckets: dict[str, Bucket] = {}
        self.bucket = self.add_bucket(bucket)
        self.accounts = Accounts(now)
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.rewrite_step = rewrite_step
        self.endpoint = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add_bucket(self, name: str) -> Bucket:
        """Return a bucket of that name, made if it is not there."""
        made = Bucket(name, self._now, least_part=self._least_part)
        return self.buckets.setdefault(name, made)

    def settings(self, bucket: str = "") -> dict[str, Any]:
        """Return the settings of a store in the bucket (the first if none is named), with the service account's key."""
        return {
            "bucket": bucket or self.bucket.name,
            "endpoint": self.endpoint,
            "allow_http": True,
            "credentials_json": json.dumps(self.accounts.credential(f"{self.endpoint}/token")),
            "iam_endpoint": self.endpoint,
            "metadata_host": self.endpoint,
        }

    def __enter__(self) -> FakeGcs:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        if not ready.wait(_WAIT):
            raise TimeoutError("the fake did not come up")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT)

    async def start(self) -> web.AppRunner:
        """Serve from the running loop; the caller ends it with `cleanup`."""
        app = web.Application(client_max_size=_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.new_event_loop()
        runner = self._loop.run_until_complete(self.start())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await read(request)
        target = request.raw_path
        self.requests.append(Seen(asked.method, target, asked.headers))
        fault = self.faults.next(asked.method, target)
        if fault is not None and fault.kind in ("status", "reset"):
            return _failed(request, fault)
        response = self._handle(asked, short=fault is not None and fault.kind == "short")
        if fault is not None and fault.kind == "lost":
            return _broken(request)
        if fault is not None and fault.kind == "half":
            return await _half(request, response)
        if fault is not None and fault.kind == "lie" and "x-goog-hash" in response.headers:
            del response.headers["x-goog-hash"]
            response.headers["x-goog-hash"] = f"crc32c={sum_of(b'a lie')}"
        flow = response.get(objects.FLOW)
        return response if flow is None else await _sent(request, response, flow, flow.size)

    def _handle(self, asked: Asked, *, short: bool) -> web.Response:
        special = self._not_storage(asked)
        if special is not None:
            return special
        api = asked.path.startswith("/storage/v1/")
        try:
            admit(asked, self.accounts)
            owner = self.accounts.owner(asked.headers.get("authorization", ""))
            if api:
                return objects.rewrite(self.buckets, asked, self.rewrite_step, owner)
            if asked.names[0] not in self.buckets:
                raise Refusal(404, "NoSuchBucket")
            bucket = self.buckets[asked.names[0]]
            if owner in bucket.closed_to:
                raise Refusal(403, "AccessDenied")
            return self._in_bucket(bucket, asked, short=short)
        except Refusal as error:
            return refused_json(error) if api else refused(error)

    def _not_storage(self, asked: Asked) -> web.Response | None:
        """Answer as those who give tokens and signatures."""
        if asked.path == "/token":
            form = dict(parse_qsl(asked.body.decode()))
            status, found = self.accounts.grant(form, f"{self.endpoint}/token")
            return web.json_response(found, status=status)
        if asked.path == "/computeMetadata/v1/instance/service-accounts/default/token":
            status, found = self.accounts.of_machine(asked.headers.get("metadata-flavor", ""))
            return web.json_response(found, status=status)
        if not asked.path.startswith("/v1/projects/-/serviceAccounts/"):
            return None
        if not self.accounts.knows(asked.headers.get("authorization", "")):
            return web.json_response({"error": {"status": "UNAUTHENTICATED"}}, status=401)
        if asked.path.endswith(":generateAccessToken"):
            return web.json_response(self.accounts.impersonated())
        return web.json_response({"signedBlob": self._signed(asked)})

    def _signed(self, asked: Asked) -> str:
        from base64 import b64decode, b64encode

        return b64encode(self.accounts.sign(b64decode(objects.parsed(asked.body)["payload"]))).decode()

    def _in_bucket(self, bucket: Bucket, asked: Asked, *, short: bool) -> web.Response:
        query = asked.query
        if not asked.names[1]:
            return pages.uploads(bucket, asked) if "uploads" in query else pages.objects(bucket, asked)
        if asked.method in ("GET", "HEAD"):
            return objects.get(bucket, asked)
        if asked.method == "PUT":
            if "upload_id" in query:
                return transfers.feed(bucket, asked, short=short)
            return transfers.part(bucket, asked) if "uploadId" in query else objects.put(bucket, asked)
        if asked.method == "DELETE":
            if "upload_id" in query:
                return transfers.cancel(bucket, asked)
            return transfers.abort(bucket, asked) if "uploadId" in query else objects.delete(bucket, asked)
        if asked.method != "POST":
            raise Refusal(405, "MethodNotAllowed")
        if "uploads" in query:
            return transfers.begin(bucket, asked)
        if "uploadId" in query:
            return transfers.complete(bucket, asked)
        if asked.headers.get("x-goog-resumable") == "start":
            return transfers.begin_session(bucket, asked, self.endpoint)
        raise Refusal(400, "InvalidArgument")


def _failed(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.kind == "reset":
        return _broken(request)
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    return xml(f"<Error><Code>{fault.code}</Code></Error>", status=fault.status, headers=headers)


def _broken(request: web.Request) -> web.StreamResponse:
    """Break the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _half(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send the head and half of the body, then break."""
    data = response.body if isinstance(response.body, bytes) else b""
    flow = response.get(objects.FLOW) or objects.Flow(iter([data]), len(data))
    if request.method == "HEAD" or flow.size < 2:
        return _broken(request)
    return await _sent(request, response, flow, flow.size // 2)


async def _sent(
    request: web.Request, response: web.Response, flow: objects.Flow, end: int
) -> web.StreamResponse:
    """Send the head, and the body up to `end`; break when that is not all of it."""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = flow.size
    left = end
    with contextlib.suppress(ConnectionError):
        await stream.prepare(request)
        for chunk in flow.chunks:
            await stream.write(chunk[:left])
            left -= min(left, len(chunk))
            if not left:
                break
        if end == flow.size:
            await stream.write_eof()
            return stream
    if request.transport is not None:
        request.transport.abort()
    return stream


@contextlib.contextmanager
def separate() -> Iterator[dict[str, Any]]:
    """Yield the settings of a store in a fake that runs in a process of its own, ended with the block."""
    command = [sys.executable, "-m", "holdfast.testing.fakes.gcs"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(_WAIT)
