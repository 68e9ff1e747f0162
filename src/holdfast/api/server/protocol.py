"""One connection: uvicorn's httptools protocol with the deadlines, caps and framing rules that it lacks."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from enum import Enum
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from holdfast.api.server import refusals, trailing
from holdfast.api.server.cycle import HIGH_WATER, Cycle
from holdfast.api.server.gate import Gate, group
from holdfast.api.server.pace import Pace
from holdfast.api.server.refusals import Refusal

MAX_TARGET: Final = 16 << 10
MAX_HEADERS: Final = 64 << 10
MAX_HEADER_LINES: Final = 256
MAX_PIPELINED: Final = 64
DRAIN: Final = (
    256 << 10
)  #: bytes of a refused body that are read to keep the connection; a larger one costs it
OVERHEAD: Final = 16  #: bytes on the wire for each byte of a chunked body; chunks of one byte cost six
TIMED: Final = 100 << 20  #: bytes of a body for which `body_timeout` is granted again
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]+)(?=[/?#]|$)", re.IGNORECASE)
LINGER: Final = 5.0  #: seconds that a refused client has to read its answer while it may still be sending


class Incoming(Enum):
    """Where in a message the bytes that arrive are."""

    BETWEEN = 0
    HEADERS = 1
    BODY = 2


class _Refused(Exception):
    """Ends the parsing of a message that is turned away."""


class Protocol(HttpToolsProtocol):
    """A connection and the requests on it, one after another."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gate: Gate,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.gate = gate
        self.limits = gate.limits
        self.descriptor = -1
        self._address = ""
        self._active: Cycle | None = None  # being answered
        self._latest: Cycle | None = None  # being received
        self._waiting: deque[Cycle] = deque()
        self._incoming = Incoming.BETWEEN
        self._served = False
        self._since = 0.0  # the start of the state that a deadline counts from
        self._header_bytes = 0
        self._header_size = 0
        self._hosts = 0
        self._coding = b""
        self._expect: bytes | None = None
        self._host = b""
        self._refusal: Refusal | None = None
        self._afterwards: Refusal | None = None
        self._deaf = False  # what arrives is no longer looked at
        self.ended = False  # the client sends no more
        self._lingering = False
        self._admitted = False
        self._length = 0  # of the body that arrives, as announced
        self._received = 0
        self._raw = 0
        self._first_read = True
        self._body_time = 0.0
        self._body_pace = Pace(self.limits.body_window, self.limits.body_rate)
        self._written = 0
        self._taken = 0
        self._answer_pace = Pace(self.limits.write_timeout, self.limits.body_rate, something=True)

    # -- connection -------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._since = self.loop.time()
        sock = transport.get_extra_info("socket")
        if sock is not None and self.scheme == "http":
            self.descriptor = sock.fileno()
        refusal = None
        if not self._admitted:
            self._address = group(self.client[0] if self.client else "")
            refusal = self.gate.admit(self._address)
            self._admitted = refusal is None
        self.gate.watch(self, refused=not self._admitted)
        if refusal is not None:
            self._turn_away(refusal)

    def admitted(self, address: str) -> None:
        """It was counted under the caps already, before the connection is made."""
        self._address, self._admitted = address, True

    def leave(self) -> None:
        """Give its place under the caps back."""
        if self._admitted:
            self._admitted = False
            self.gate.release(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whoever waits for it learns so."""
        self.connections.discard(self)
        self.gate.forget(self)
        self.leave()
        for cycle in (self._active, self._latest, *self._waiting):
            if cycle is not None and not cycle.response_complete:
                cycle.lose()
        self._waiting.clear()
        if self.flow is not None:
            self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more; it may still read the answers to whole requests."""
        self.ended = True
        if self._lingering or self._incoming is not Incoming.BETWEEN:
            return None
        if self._active is None:
            return None
        self._deaf = True
        (self._waiting[-1] if self._waiting else self._active).keep_alive = False
        return True

    def shutdown(self) -> None:
        """Finish what is in flight, then close."""
        if self._active is None:
            self.transport.close()
        else:
            (self._waiting[-1] if self._waiting else self._active).keep_alive = False
            self._deaf = self._incoming is Incoming.BETWEEN

    def put(self, data: bytes) -> None:
        """Send bytes of an answer."""
        self._written += len(data)
        self.transport.write(data)

    # -- bytes in ---------------------------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and refuse what is not HTTP."""
        if self._deaf:
            return
        if self._incoming is Incoming.BETWEEN and self._active is None and self._header_bytes == 0:
            refused = self.gate.shed_unread(data)
            if refused is not None:
                self._served = True
                self._since = self.loop.time()
                self.transport.write(refused)
                return
        if self._incoming is not Incoming.BODY:
            self._header_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded here; the request was answered as it is, and what follows is another language.
            self._deaf = True
            if self._latest is not None:
                self._latest.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(self._refusal or refusals.MALFORMED)
        else:
            if self._incoming is Incoming.HEADERS and self._header_bytes > MAX_HEADERS:
                self._refuse(refusals.HEADERS)
            elif self._incoming is Incoming.BODY and self._coding:
                self._check_overhead(len(data))

    def _check_overhead(self, count: int) -> None:
        """Refuse a chunked body that is mostly something else: extensions of chunks, or an endless trailer."""
        if self._first_read:  # what it held before the body is not known
            self._first_read, self._raw = False, self._received
            return
        self._raw += count
        if self._raw > MAX_HEADERS + OVERHEAD * self._received:
            self._refuse(refusals.FRAMING)

    def on_message_begin(self) -> None:
        """A request starts."""
        self.url = b""
        self.headers = []
        self._header_size = self._hosts = 0
        self._coding = self._host = b""
        self._expect = None
        self._length = 0
        self._incoming = Incoming.HEADERS
        self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the request target."""
        self.url += url
        if len(self.url) > MAX_TARGET:
            self._stop(refusals.TARGET)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        name = name.lower()
        self._header_size += len(name) + len(value) + 4
        if self._incoming is Incoming.BODY:
            self._trailer(name)
            return
        if self._header_size > MAX_HEADERS or len(self.headers) >= MAX_HEADER_LINES:
            self._stop(refusals.HEADERS)
        if name == b"transfer-encoding":
            self._coding += value.lower() + b";"  # as it came: what the parser made of it is not asked
        value = value.rstrip(b" \t")
        if name == b"host":
            self._hosts += 1
            self._host = value
        elif name == b"expect":
            self._expect = value.lower() if self._expect is None else b"several"
        elif name == b"content-length":
            self._length = int(value) if value.isdigit() else 0
        self.headers.append((name, value))

    def _trailer(self, name: bytes) -> None:
        """Take a field behind a chunked body: it is dropped, or refused where dropping it could mislead."""
        if self._header_size > trailing.MOST_BYTES:
            self._stop(refusals.HEADERS)
        if name in trailing.FORBIDDEN:
            self._stop(refusals.TRAILER)

    def on_headers_complete(self) -> None:
        """Make a request of it and start, or queue, its handler."""
        version = self.parser.get_http_version()
        self._check_framing(version)
        self._incoming = Incoming.BODY
        self._header_bytes = self._header_size = self._received = 0
        self._body_time = 0.0
        self._body_pace.restart()
        self._first_read = True
        if self._active is None and (refusal := self.gate.shed(self.url)) is not None:
            self._shed(refusal)
            return
        parsed = httptools.parse_url(self.url)
        raw_path = parsed.path or b"/"
        path = raw_path.decode("ascii")
        cycle = Cycle(
            self,
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.4"},
                "http_version": version,
                "method": self.parser.get_method().decode("ascii"),
                "scheme": self.scheme,
                "server": self.server,
                "client": self.client,
                "root_path": "",
                "path": unquote(path) if "%" in path else path,
                "raw_path": raw_path,
                "query_string": parsed.query or b"",
                "headers": self.headers,
                "state": {},
            },
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=self._expect == b"100-continue" and version != "1.0",
        )
        cycle.scope["extensions"] = {"holdfast": cycle}
        self._latest = cycle
        if self._active is None:
            self._start(cycle)
        elif len(self._waiting) < MAX_PIPELINED:
            self.flow.pause_reading()
            self._waiting.append(cycle)
        else:
            self._stop(refusals.PIPELINED)

    def on_body(self, body: bytes) -> None:
        """Hand the next part of a body to its request."""
        cycle = self._latest
        self._received += len(body)
        self._body_pace.add(len(body))
        if cycle is None or cycle.response_complete:
            return
        cycle.feed(body)
        if cycle.buffered > HIGH_WATER:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The request has arrived whole."""
        self._incoming = Incoming.BETWEEN
        self._since = self.loop.time()
        self._header_bytes = 0
        if self._latest is not None:
            self._latest.complete()

    # -- requests ---------------------------------------------------------------------------------------------------
    def _start(self, cycle: Cycle) -> None:
        self._active = cycle
        self.gate.in_flight += 1
        self.gate.working += 1
        task = self.loop.create_task(cycle.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.gate.in_flight -= 1
        self.gate.working -= 1

    def resume(self) -> None:
        """The handler wants more of its body."""
        if self._active is self._latest:
            self.flow.resume_reading()

    def answered(self, cycle: Cycle) -> None:
        """An answer is complete: on to the next request, or to waiting, or to closing."""
        self.server_state.total_requests += 1
        self._active = None
        self._served = True
        self._since = self.loop.time()
        if self._afterwards is not None and not self._waiting:
            self._turn_away(self._afterwards)
        elif not cycle.keep_alive:
            self._close(reading=cycle.more_body)
        elif self._waiting:
            self._start(self._waiting.popleft())
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    def _check_framing(self, version: str) -> None:
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            self._stop(refusals.NO_HOST)
        if self._coding and (self._coding != b"chunked;" or version != "1.1"):
            self._stop(refusals.CODING)
        if version not in ("1.1", "1.0"):
            self._stop(refusals.MALFORMED)
        if self._expect not in (None, b"100-continue"):
            self._stop(refusals.EXPECTATION)
        if self._hosts and not _HOST.fullmatch(self._host):
            self._stop(refusals.NO_HOST)
        if not self.url.startswith(b"/") and not self._is_ours():
            self._stop(refusals.ELSEWHERE)

    def _is_ours(self) -> bool:
        """Tell whether a target that is not a path is one of ours: absolute with the host of the Host header, or `*`."""
        if self.url == b"*":
            return self.parser.get_method() == b"OPTIONS"
        match = _ABSOLUTE.match(self.url)
        return match is not None and match[1].lower() == self._host.lower()

    # -- refusing and closing ---------------------------------------------------------------------------------------
    def _stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise _Refused

    def _refuse(self, refusal: Refusal) -> None:
        """Turn away the message that is arriving; answers to earlier ones go first."""
        self._deaf = True
        active = self._active
        if self._waiting and self._waiting[-1] is self._latest and self._incoming is Incoming.BODY:
            self._waiting.pop()  # its body is what is broken
        if active is None:
            self._turn_away(refusal)
        elif self._latest is not active or self._incoming is not Incoming.BODY:
            self._afterwards = refusal
        elif active.response_started:
            active.lose()
            self.transport.abort()
        else:
            active.lose()
            self._turn_away(refusal)

    def _turn_away(self, refusal: Refusal) -> None:
        self._deaf = True
        self.transport.write(refusal.encode(self.gate.environment.new_id()))
        self._close(reading=True)

    def _shed(self, refusal: Refusal) -> None:
        """Turn a sound request away before anything is done for it; the connection stays where that is cheap."""
        self._latest = None
        self._served = True
        small = not self._coding and not self._expect and self._length <= DRAIN
        stays = small and self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        silent = self.parser.get_method() == b"HEAD"
        self.transport.write(refusal.encode(self.gate.environment.new_id(), close=not stays, silent=silent))
        if not stays:
            self._close(reading=True)

    def _close(self, *, reading: bool) -> None:
        """Close; when the client may still be sending, let it read our answer first: a reset would destroy it."""
        self._deaf = True
        if self.transport.is_closing():
            return
        if not reading:
            self.transport.close()
            return
        self._lingering = True
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- deadlines --------------------------------------------------------------------------------------------------
    def check(self, now: float, passed: float) -> None:
        """Look at the deadlines; called on every tick with the time and the seconds since the last."""
        if self._stalled(passed):
            self.transport.abort()
        elif self._lingering:
            if now - self._since > LINGER:
                self.transport.abort()
        elif self.transport.is_closing() or self._deaf:
            return
        elif self._incoming is Incoming.HEADERS:
            if now - self._since > self.limits.header_timeout:
                self._refuse(refusals.SLOW_HEADERS)
        elif self._incoming is Incoming.BODY:
            self._check_rate(passed)
        elif self._active is None:
            patience = self.limits.idle_timeout if self._served else self.limits.header_timeout
            if now - self._since > patience:
                self.transport.close()

    def _check_rate(self, passed: float) -> None:
        """Count the time in which the client could have sent; too few bytes in a window, or too long in all, end it."""
        cycle = self._latest
        if self.flow.read_paused or (cycle is not None and cycle.expects_continue):
            return
        self._body_time += passed
        granted = self.limits.body_timeout * (1 + max(self._length, self._received) // TIMED)
        if self._body_pace.lags(passed) or self._body_time > granted:
            if cycle is None:
                self.transport.abort()  # it has been answered
            else:
                self._refuse(refusals.SLOW_BODY)

    def _stalled(self, passed: float) -> bool:
        """Tell whether the client took too little, over a whole window, of what waits for it."""
        way = None if self._active is None else self._active.outlet
        buffered = self.transport.get_write_buffer_size()
        if way is None and not buffered:
            self._answer_pace.restart()
            return False
        taken = self._written - buffered + (0 if way is None else way.sent)
        self._answer_pace.add(max(0, taken - self._taken))
        self._taken = taken
        return self._answer_pace.lags(passed)
