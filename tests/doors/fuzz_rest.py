"""Malformed and unusual requests by the thousand: `python -m tests.doors.fuzz_rest --cases 5000 --seed 1`.

Half come from the door's own description (schemathesis: valid and deliberately invalid requests), half are well-formed
requests that were damaged byte by byte and sent over raw sockets. Nothing may be answered with a 5xx, and nothing may
hang. A failing case prints what it sent; the same seed sends the same again.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import random
import re
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
import structlog

from holdfast.core.types import Principal
from tests.doors.rest_service import Service, encode_form, serving

LIMITS = {"header_timeout": 1.0, "idle_timeout": 1.0, "body_window": 1.0, "write_timeout": 2.0}
PATIENCE = 8.0  #: seconds after which a connection that was neither answered nor closed counts as hanging
HOST = b"Host: localhost\r\n"
SEEDS = (
    b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/list/plain?prefix=a&delimiter=/&limit=2&marker=b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/objects/plain/f HTTP/1.1\r\n"
    + HOST
    + b'Range: bytes=0-5\r\nIf-None-Match: "a", W/"b"\r\nIf-Range: "x"\r\n'
    + b"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
    b"HEAD /api/v1/download/plain/f?version_id=x&disposition=inline HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /api/v1/objects/plain/%E2%82%AC HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nContent-Type: text/plain\r\nx-holdfast-meta-a: %20b\r\nx-holdfast-tagging: a=b\r\n"
    + b"Idempotency-Key: k\r\nRepr-Digest: sha-256=:AAAA:\r\nExpect: 100-continue\r\n\r\nhello",
    b"PUT /api/v1/objects/plain/c HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"PUT /api/v1/objects/plain/d HTTP/1.1\r\n"
    + HOST
    + b"x-holdfast-copy-source: /plain/f?version_id=x\r\n\r\n",
    b"POST /api/v1/buckets HTTP/1.1\r\nContent-Length: 23\r\n" + HOST + b'\r\n{"name":"fuzz","a":[1]}',
    b"POST /api/v1/upload?bucket=plain&key=f/ HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: 151\r\n\r\n"
    + encode_form(("metadata", None, b'{"a":"b"}'), ("file", "x", b"content")),
    b"DELETE /api/v1/delete/plain/g HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n",
    b"POST /api/v1/reconcile HTTP/1.1\r\nContent-Length: 28\r\n" + HOST + b'\r\n{"dry_run":true,"limit":100}',
    b"POST /api/v1/encryption/rotate HTTP/1.1\r\nContent-Length: 20\r\n" + HOST + b'\r\n{"tenant":"default"}',
    b"PUT /api/v1/placement/rules HTTP/1.1\r\nContent-Length: 90\r\n"
    + HOST
    + b'\r\n{"rules":[{"name":"x","stores":["local"],"match":{"keys":["zz*"]},"inline":"1KB"}]}       ',
    b"POST /api/v1/storages HTTP/1.1\r\nContent-Length: 77\r\n"
    + HOST
    + b'\r\n{"name":"old","type":"local","config":{"path":"/srv/x"},"is_active":true}    ',
)
SPICE = (
    b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"%", b"%00", b"%ff", b"%2e%2e%2f", b"../", b"\xff\xfe", b"\xed\xa0\x80",
    b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Range: bytes=-\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"Content-Encoding: gzip\r\n",
    b"a" * 5000, b"9" * 400, b"-1", b"0x10", b"\"", b"'", b"{", b"[[[[", b"--edge", b"--edge--", b"&a=1", b"=", b"?", b"#",
)  # fmt: skip


#: What the service has; two of three generated requests name it, so that they get beyond "there is no such thing".
THERE = {"store": "spare", "storage_id": "spare"}
SPARE = b'{"name":"spare","driver":"memory","settings":{},"test":true}'


@dataclass
class Report:
    """What came of it."""

    cases: int = 0
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, statuses: list[int], sent: Any) -> None:
        """Count one case; a 5xx is a failure."""
        self.cases += 1
        self.statuses.update(statuses or [0])
        if any(status >= 500 for status in statuses):
            self.failures.append(f"{statuses} to {sent!r}"[:2000])


def generated(service: Service, cases: int, seed: int) -> Report:
    """Send requests that schemathesis makes from the description, valid ones and broken ones alternately."""
    report = Report()
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
    every: list[Any] = list(schema.get_all_operations())
    operations = [found.ok() for found in every]
    share = max(1, cases // (2 * len(operations)))
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            try:
                _run(operation.as_strategy(generation_mode=mode), share, seed, report)
            except (hypothesis.errors.Unsatisfiable, hypothesis.errors.InvalidArgument):
                continue  # an operation without parameters cannot be asked wrongly
    return report


def _run(strategy: Any, count: int, seed: int, report: Report) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def one(case: Any) -> None:
        if "wait" in (case.query or {}):
            case.query["wait"] = 1  # to wait is what it asks for, up to a minute
        if (
            report.cases % 3 and case.method.upper() != "DELETE"
        ):  # or nothing would be there for those that follow
            there = {name: THERE[name] for name in case.path_parameters or {} if name in THERE}
            case.path_parameters = {**(case.path_parameters or {}), **there}
        try:
            answer = case.call(timeout=PATIENCE, headers={"Authorization": f"Bearer {_role(report.cases)}"})
        except Exception as error:
            if "Timeout" in type(error).__name__:
                report.failures.append(f"no answer to {case!r}"[:2000])
            report.note([], case)  # what an HTTP client refuses to send never was a request
            return
        report.note([answer.status_code], case)

    one()


def _role(number: int) -> str:
    """Return who asks: operators, to whom most is open, and now and then an admin."""
    return "admin" if number % 7 == 6 else "operator"


async def _principal(token: str) -> Principal:
    """Return who asks with a token; with none, or one that was made up, an operator."""
    return Principal("tester", "default", "admin" if token == "admin" else "operator")


def damaged(service: Service, cases: int, seed: int, *, threads: int = 8) -> Report:
    """Send well-formed requests with random damage over raw sockets."""
    report = Report()

    def one(number: int) -> tuple[bytes, list[int], float]:
        data = damage(random.Random(seed * 1_000_003 + number))
        began = time.monotonic()
        found = _exchange(service, data, half_close=number % 4 != 0)
        return data, found, time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for data, statuses, seconds in pool.map(one, range(cases)):
            report.note(statuses, data)
            if seconds >= PATIENCE:
                report.failures.append(f"hung {seconds:.1f} s on {data[:1500]!r}")
    return report


def damage(chance: random.Random) -> bytes:
    """Return a request with one to five wounds."""
    data = bytearray(chance.choice(SEEDS))
    if chance.random() < 0.25:
        data = data.replace(HOST, HOST + b"Authorization: Bearer admin\r\n")
    if chance.random() < 0.2:
        data += chance.choice(SEEDS)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            data[at:at] = chance.choice(SPICE)
        elif kind == 1:
            del data[at : at + chance.randint(1, 20)]
        elif kind == 2 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 3:
            lines = bytes(data).split(b"\r\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            data = bytearray(b"\r\n".join(lines))
        elif kind == 4:
            data[at:at] = chance.randbytes(chance.randint(1, 40))
        else:
            number = re.search(rb"\d+", bytes(data[at:]))
            if number:
                start = at + number.start()
                data[start : at + number.end()] = str(chance.choice((0, 1, 2**31, 2**63, 10**30))).encode()
    return bytes(data) or b"\0"


def _exchange(service: Service, data: bytes, *, half_close: bool) -> list[int]:
    found = b""
    until = time.monotonic() + PATIENCE
    with service.connect(PATIENCE) as sock:
        try:
            sock.sendall(data)
            if half_close:
                sock.shutdown(1)
            while time.monotonic() < until and (chunk := sock.recv(65536)):
                found += chunk
        except OSError:
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", found)]


def _serving(root: Path) -> AbstractContextManager[Service]:
    return serving(root, authenticate=lambda _: _principal, drivers=True, dev=True, limits=LIMITS)


def fuzz(cases: int, seed: int) -> Report:
    """Send `cases` requests to a service of their own and return what came of it."""
    with tempfile.TemporaryDirectory() as root, _serving(Path(root)) as service:
        service.headers["Authorization"] = "Bearer operator"
        made = service.ask("POST", "/api/v1/stores", SPARE, {"Content-Type": "application/json"})
        assert made.status == 201, made.body
        service.put("f", b"content of f")
        described = generated(service, cases // 2, seed)
        total = Report()
        for report in (described, damaged(service, cases - described.cases, seed)):
            total.cases += report.cases
            total.statuses.update(report.statuses)
            total.failures += report.failures
        alive = service.put("alive", b"still here")
        if alive.status != 201 or service.get("alive").body != b"still here":
            total.failures.append("the service does not work any more")
        if tasks := service.run(_tasks(service)):
            total.failures.append(f"{tasks} requests were never finished")
        return total


async def _tasks(service: Service) -> int:
    return len(service.server.server_state.tasks)


def main() -> int:
    """Fuzz from the command line; status 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    wish = parser.parse_args()
    began = time.monotonic()
    report = fuzz(wish.cases, wish.seed)
    print(
        f"{report.cases} cases in {time.monotonic() - began:.0f} s, by status (0: closed without an answer):"
    )
    print(dict(sorted(report.statuses.items())))
    for failure in report.failures[:50]:
        print("FAILED", failure)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
