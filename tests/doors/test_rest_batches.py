"""Requests over many objects: results by item, progress by polling and by events, archives, and ends of all kinds."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.api import archives
from holdfast.core.types import Principal, Scope
from holdfast.engine.batches import Item
from tests.doors.rest_service import Answer, Service, alone, encode_form, read_all, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors

BATCH = "/api/v1/batch"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("batches")) as running:
        yield running


def post(service: Service, what: str, wish: Any, **headers: str) -> Answer:
    return service.ask("POST", f"{BATCH}/{what}", json.dumps(wish), headers)


def fill(service: Service, *keys: str, bucket: str = "plain", body: bytes = b"content") -> None:
    for key in keys:
        assert service.ask("PUT", f"/api/v1/objects/{bucket}/{key}", body).status == 201


def there(service: Service, prefix: str, bucket: str = "plain") -> list[str]:
    page = service.ask("GET", f"/api/v1/list/{bucket}?prefix={prefix}").json
    return [item["key"] for item in page["objects"]]


def ended(service: Service, batch_id: str) -> Any:
    """Wait for the end of a batch."""
    for _ in range(200):
        said = service.ask("GET", f"{BATCH}/{batch_id}").json
        if said["state"] != "running":
            return said
        time.sleep(0.05)
    raise AssertionError(said)


def events_of(service: Service, batch_id: str, query: str = "") -> list[tuple[str, Any]]:
    """All events of a batch, until the service ends them."""
    answer = service.ask("GET", f"{BATCH}/{batch_id}/events{query}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    found = []
    for block in answer.body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


# -- delete, tag, copy ------------------------------------------------------------------------------------------------
def test_small_batches_are_answered_by_item(service: Service) -> None:
    fill(service, "del/a", "del/b", "del/c")
    answer = post(service, "delete", {"bucket": "plain", "keys": ["del/a", "del/b", "never/was"]})
    assert answer.status == 200, answer.body
    said = answer.json
    assert (said["total"], said["done"], said["failed"], said["success"]) == (3, 3, 0, True)
    assert [item["key"] for item in said["results"]] == ["del/a", "del/b", "never/was"]
    assert ["file_id" in item for item in said["results"]] == [True, True, False]
    assert there(service, "del/") == ["del/c"]


def test_each_failure_is_named_and_hides_no_other(service: Service) -> None:
    fill(service, "mix/a", "mix/b")
    wish = {
        "bucket": "plain",
        "keys": ["mix/a", "mix/../x", "mix/b"],
        "items": [{"bucket": "nowhere", "key": "k"}],
    }
    answer = post(service, "delete", wish)
    assert answer.status == 207
    assert [(item["success"], item.get("status")) for item in answer.json["results"]] == [
        (True, None),
        (False, 400),
        (True, None),
        (False, 404),
    ]
    assert there(service, "mix/") == []


def test_when_nothing_goes_well_the_answer_is_an_error(service: Service) -> None:
    answer = post(service, "tag", {"bucket": "plain", "keys": ["no/1", "no/2"], "tags": {"a": "b"}})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert [item["code"] for item in answer.json["results"]] == ["not_found", "not_found"]


def test_by_prefix_and_by_id(service: Service) -> None:
    fill(service, "pre/1", "pre/2", "other")
    file_id = service.put("by-id").json["version_id"]
    answer = post(service, "delete", {"bucket": "plain", "prefix": "pre/", "file_ids": [file_id]})
    assert answer.status == 200
    assert [item["key"] for item in answer.json["results"]] == ["by-id", "pre/1", "pre/2"]
    assert there(service, "pre/") == []
    assert service.get("by-id").status == 404
    assert service.get("other").status == 200


def test_tags_are_merged_or_replaced(service: Service) -> None:
    for key in ("tag/a", "tag/b"):
        service.put(key, x_holdfast_tagging="old=1&gone=1")
    wish = {"bucket": "plain", "prefix": "tag/", "tags": {"new": "2", "gone": None}, "metadata": {"m": "x"}}
    assert post(service, "tag", wish).status == 200
    read = service.get("tag/a")
    assert read.headers["x-holdfast-tagging"] == "old=1&new=2"
    assert read.headers["x-holdfast-meta-m"] == "x"
    found = service.ask("GET", "/api/v1/files?tag=new=2").json["files"]
    assert [item["key"] for item in found] == ["tag/a", "tag/b"]
    assert post(service, "tag", {**wish, "replace": True, "tags": {"only": "1"}}).status == 200
    assert service.get("tag/b").headers["x-holdfast-tagging"] == "only=1"


def test_copies(service: Service) -> None:
    fill(service, "from/a", "from/deep/b", body=b"copied")
    wish = {"bucket": "plain", "prefix": "from/", "target": {"bucket": "kept", "prefix": "to/"}}
    answer = post(service, "copy", wish)
    assert answer.status == 200, answer.body
    assert [(item["bucket"], item["key"]) for item in answer.json["results"]] == [
        ("kept", "to/a"),
        ("kept", "to/deep/b"),
    ]
    assert service.ask("GET", "/api/v1/objects/kept/to/deep/b").body == b"copied"
    file_id = service.ask("GET", "/api/v1/files?bucket=plain&prefix=from/a").json["files"][0]["file_id"]
    one = {
        "copies": [
            {"source": {"bucket": "plain", "key": "from/a"}, "target": {"bucket": "plain", "key": "alone"}}
        ]
    }
    assert post(service, "copy", one).status == 200
    assert service.get("alone").body == b"copied"
    assert post(service, "copy", {"file_ids": [file_id], "target": {"prefix": "ids/"}}).status == 200
    assert service.get("ids/from/a").body == b"copied"


@pytest.mark.parametrize(
    ("what", "wish"),
    [
        ("delete", {}),
        ("delete", {"keys": ["k"]}),
        ("delete", {"prefix": "x"}),
        ("delete", {"bucket": "plain", "keys": ["k"] * 10_001 + [str(n) for n in range(10_001)]}),
        ("delete", {"bucket": "plain", "keys": ["k"], "batch_id": "not an id"}),
        ("delete", {"bucket": "plain", "keyz": ["k"]}),
        ("tag", {"bucket": "plain", "keys": ["k"]}),
        ("copy", {"bucket": "plain", "prefix": "k"}),
        ("copy", {"bucket": "plain", "keys": ["k"], "target": {}}),
        ("copy", {"copies": [{"source": {"key": "a"}, "target": {"key": "b"}}]}),
        ("download", {"bucket": "plain", "keys": ["k"], "format": "rar"}),
    ],
)
def test_a_batch_that_makes_no_sense(service: Service, what: str, wish: Any) -> None:
    answer = post(service, what, wish)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


# -- in the background ------------------------------------------------------------------------------------------------
def test_a_large_batch_is_answered_at_once_and_watched(service: Service) -> None:
    fill(service, *[f"large/{n:03}" for n in range(230)], body=b"")
    wish = {"bucket": "plain", "prefix": "large/", "keys": ["large/../x"], "batch_id": "big.1"}
    answer = post(service, "delete", wish)
    assert (answer.status, answer.headers["location"]) == (202, f"{BATCH}/big.1")
    assert (answer.json["state"], answer.json["total"], answer.json["kind"]) == ("running", 231, "delete")
    events = events_of(service, "big.1")
    assert [name for name, _ in events][-1] == "end"
    last = events[-1][1]
    assert (last["state"], last["done"], last["failed"]) == ("done", 230, 1)
    assert last["failures"] == [last["failures"][0] | {"key": "large/../x", "code": "invalid_request"}]
    assert last == service.ask("GET", f"{BATCH}/big.1").json
    assert there(service, "large/") == []
    assert "big.1" in [item["batch_id"] for item in service.ask("GET", BATCH).json["batches"]]


def test_a_small_one_goes_to_the_background_when_asked(service: Service) -> None:
    fill(service, "bg/a", body=b"12345")
    answer = post(service, "tag", {"bucket": "plain", "keys": ["bg/a"], "tags": {"x": "y"}, "async": True})
    assert answer.status == 202
    said = ended(service, answer.json["batch_id"])
    assert (said["state"], said["done"], said["bytes"]) == ("done", 1, 5)


def test_an_id_is_used_once(service: Service) -> None:
    fill(service, "used/a")
    wish = {"bucket": "plain", "keys": ["used/a"], "batch_id": "used", "async": True}
    assert post(service, "delete", wish).status == 202
    assert ended(service, "used")["state"] == "done"
    assert post(service, "delete", wish).status == 409


def test_batches_page_by_page(service: Service) -> None:
    for number in range(3):
        fill(service, f"paged/{number}")
        assert post(
            service, "delete", {"bucket": "plain", "keys": [f"paged/{number}"], "batch_id": f"p{number}"}
        ).status
    first = service.ask("GET", f"{BATCH}?limit=2").json
    assert [item["batch_id"] for item in first["batches"]] == ["p2", "p1"]
    second = service.ask("GET", f"{BATCH}?limit=2&before={first['next_before']}").json
    assert second["batches"][0]["batch_id"] == "p0"
    assert service.ask("GET", f"{BATCH}/unknown").status == 404


class Slow:
    """Deletes of a session made slow, so that a batch can be met while it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        import asyncio

        from holdfast.engine.session import Session

        plain = Session.delete

        async def slowly(self: Session, bucket: str, key: str, **how: Any) -> Any:
            await asyncio.sleep(seconds)
            return await plain(self, bucket, key, **how)

        monkeypatch.setattr(Session, "delete", slowly)


def test_cancelled_in_the_middle(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(service, *[f"stop/{n:02}" for n in range(40)])
    Slow(monkeypatch, 0.25)
    assert (
        post(
            service, "delete", {"bucket": "plain", "prefix": "stop/", "async": True, "batch_id": "stop"}
        ).status
        == 202
    )
    time.sleep(0.7)
    assert service.ask("DELETE", f"{BATCH}/stop").json["state"] == "cancelled"
    time.sleep(1.2)  # the process notices at its next note of progress
    said = service.ask("GET", f"{BATCH}/stop").json
    left = there(service, "stop/")
    assert said["state"] == "cancelled"
    assert 0 < said["done"] < 40
    assert len(left) in range(
        40 - said["done"] - 8, 40 - said["done"] + 1
    )  # eight are on their way at a time
    time.sleep(0.5)
    assert there(service, "stop/") == left


def test_progress_is_seen_while_it_runs_and_from_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(monkeypatch, 0.2)
    with serving(tmp_path) as one, serving(tmp_path) as other:
        fill(one, *[f"seen/{n:02}" for n in range(40)])
        assert (
            post(
                one, "delete", {"bucket": "plain", "prefix": "seen/", "async": True, "batch_id": "seen"}
            ).status
            == 202
        )
        events = events_of(other, "seen")
        counts = [said["done"] for _, said in events]
        assert counts == sorted(counts)
        assert len(set(counts)) >= 3, counts
        assert events[-1] == ("end", events[-1][1] | {"state": "done", "done": 40})


KILLED = """
import asyncio, sys
from holdfast.engine.session import Session
plain = Session.delete
async def slowly(self, bucket, key, **how):
    await asyncio.sleep(0.05)
    return await plain(self, bucket, key, **how)
Session.delete = slowly
from tests.doors.rest_service import serve_alone
serve_alone(sys.argv[1])
"""


def test_a_process_killed_in_the_middle_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process tells how far it is, and does the rest once the dead one's time is over: no item is lost."""
    wish = {"bucket": "plain", "prefix": "k/"}
    with alone(KILLED, str(tmp_path)) as (process, port):
        service = Service(port, *[None] * 4)  # type: ignore[arg-type]
        fill(service, *[f"k/{n:03}" for n in range(300)])
        assert post(service, "delete", {**wish, "batch_id": "killed"}).status == 202
        for _ in range(100):
            if service.ask("GET", f"{BATCH}/killed").json["done"]:
                break
            time.sleep(0.05)
        process.kill()
        process.wait()
    with serving(tmp_path) as service:
        said = service.ask("GET", f"{BATCH}/killed").json
        assert (said["state"], said["total"]) == ("running", 300)
        assert 0 < said["done"] <= 300 - len(there(service, "k/"))
        end_leases(tmp_path / "catalog.db")
        assert events_of(service, "killed")[-1][0] == "end"
        said = service.ask("GET", f"{BATCH}/killed").json
        assert (said["state"], said["done"], said["failed"]) == ("done", 300, 0)
        assert there(service, "k/") == []


def end_leases(catalog: Path) -> None:
    """As if the time of whoever holds parts of jobs were over."""
    import apsw

    connection = apsw.Connection(str(catalog))
    connection.set_busy_timeout(5000)
    connection.execute("UPDATE job_parts SET ready = 1 WHERE worker <> ''")
    connection.close()


def test_a_batch_goes_on_when_its_service_was_stopped_and_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(monkeypatch, 0.1)
    with serving(tmp_path) as service:
        fill(service, *[f"s/{n:03}" for n in range(100)])
        wish = {"bucket": "plain", "prefix": "s/", "async": True, "batch_id": "s"}
        assert post(service, "delete", wish).status == 202
        time.sleep(0.3)
    with serving(tmp_path) as service:
        said = service.ask("GET", f"{BATCH}/s").json
        assert said["state"] == "running"
        assert 0 < said["done"] < 100
        said = ended(service, "s")
        assert (said["state"], said["done"], said["failed"]) == ("done", 100, 0)
        assert there(service, "s/") == []


def test_what_was_written_after_a_batch_began_is_not_deleted_when_it_is_done_again(tmp_path: Path) -> None:
    """Nobody knows what a process had done that died: an object that is newer than the batch is left, and named."""
    with alone(KILLED, str(tmp_path)) as (process, port):
        service = Service(port, *[None] * 4)  # type: ignore[arg-type]
        fill(service, *[f"n/{n:03}" for n in range(150)])
        wish = {"bucket": "plain", "prefix": "n/", "async": True, "batch_id": "again"}
        assert post(service, "delete", wish).status == 202
        for _ in range(100):
            if "n/000" not in there(service, "n/"):
                break
            time.sleep(0.02)
        process.kill()
        process.wait()
    with serving(tmp_path) as service:
        fill(service, "n/000", "n/149", body=b"new")
        end_leases(tmp_path / "catalog.db")
        said = ended(service, "again")
        assert said["state"] == "done"
        assert "n/149" in there(service, "n/")
        told = {item["key"]: item["code"] for item in said["failures"]}
        assert told["n/149"] == "conflict"
        assert set(told) <= {"n/000", "n/149"}
        assert set(there(service, "n/")) == {"n/000", "n/149"}


# -- watchers ---------------------------------------------------------------------------------------------------------
def watching(service: Service, batch_id: str) -> socket.socket:
    sock = service.connect(20)
    sock.sendall(f"GET {BATCH}/{batch_id}/events?wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return sock


def in_flight(service: Service, count: int) -> bool:
    """Wait until so many requests are."""
    until = time.monotonic() + 5
    while service.server.gate.in_flight != count and time.monotonic() < until:
        time.sleep(0.02)
    return service.server.gate.in_flight == count


def test_watchers_that_vanish_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slow(monkeypatch, 30)
    with serving(tmp_path) as service:
        fill(service, "one")
        assert (
            post(
                service, "delete", {"bucket": "plain", "keys": ["one"], "async": True, "batch_id": "w"}
            ).status
            == 202
        )
        watchers = [watching(service, batch_id) for batch_id in ("w", "never") for _ in range(10)]
        assert in_flight(service, 20)
        for sock in watchers:
            sock.close()
        assert in_flight(service, 0)


def test_a_stop_ends_what_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slow(monkeypatch, 30)
    with serving(tmp_path, limits={"shutdown_timeout": "20s"}) as service:
        fill(service, "one")
        assert (
            post(
                service, "delete", {"bucket": "plain", "keys": ["one"], "async": True, "batch_id": "w"}
            ).status
            == 202
        )
        running, begun = watching(service, "w"), watching(service, "never")
        assert b"event: progress" in running.recv(65536)
        assert in_flight(service, 2)
        service.stop()
        assert in_flight(service, 0)
        assert read_all(running).endswith(b"0\r\n\r\n")  # whole, not broken off
        told = read_all(begun)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in told


# -- uploads ----------------------------------------------------------------------------------------------------------
def test_an_upload_of_many_is_watched_from_another_connection(service: Service) -> None:
    parts = [("files", f"{n:04}.txt", b"x" * n) for n in range(1200)]
    body = encode_form(("bucket", None, b"plain"), ("key", None, b"up/"), *parts)
    head = (
        f"POST {BATCH}/upload?batch_id=up.1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    ).encode()
    events: list[tuple[str, Any]] = []
    watcher = threading.Thread(target=lambda: events.extend(events_of(service, "up.1", "?wait=20")))
    watcher.start()
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        connection.sendall(head + body[: len(body) // 2])
        time.sleep(1.5)
        half = service.ask("GET", f"{BATCH}/up.1").json
        assert half["state"] == "running"
        assert 50 < half["done"] < 1200
        connection.sendall(body[len(body) // 2 :])
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    watcher.join(30)
    assert [name for name, _ in events].count("end") == 1
    assert events[-1][1]["done"] == 1200
    assert events[-1][1]["bytes"] == sum(range(1200))
    assert len(there(service, "up/")) == 1000  # a page


def test_an_upload_names_what_failed(service: Service) -> None:
    body = encode_form(("bucket", None, b"plain"), ("f", "good.bin", b"1"), ("f", "..", b"2"))
    answer = service.ask(
        "POST", f"{BATCH}/upload?batch_id=up.2", body, {"Content-Type": "multipart/form-data; boundary=edge"}
    )
    assert answer.status == 207
    assert answer.json["batch_id"] == "up.2"
    said = service.ask("GET", f"{BATCH}/up.2").json
    assert (said["state"], said["total"], said["done"], said["failed"]) == ("done", 2, 1, 1)
    assert said["failures"][0]["key"] == ".."


def test_an_upload_whose_client_went_away(service: Service) -> None:
    body = encode_form(("files", "gone.txt", b"all here"), ("files", "half.txt", b"x" * 5000))
    head = (
        f"POST {BATCH}/upload?bucket=plain&batch_id=left HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        connection.sendall(head + body[:-2000])
        time.sleep(0.3)
    said = ended(service, "left")
    assert (said["state"], said["done"]) == ("interrupted", 1)
    assert service.get("gone.txt").body == b"all here"
    assert service.get("half.txt").status == 404


# -- archives ---------------------------------------------------------------------------------------------------------
def members(answer: Answer, format: str) -> dict[str, bytes]:
    """What an archive holds, as other programs read it."""
    if format == "zip":
        with zipfile.ZipFile(io.BytesIO(answer.body)) as found:
            assert found.testzip() is None
            return {name: found.read(name) for name in found.namelist()}
    with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:gz" if format == "tar.gz" else "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar.getmembers()}  # type: ignore[union-attr]


@pytest.mark.parametrize("format", ["zip", "tar", "tar.gz"])
def test_an_archive_holds_what_was_asked_for(service: Service, format: str) -> None:
    long_name = "arch/" + "ü" * 200 + ".bin"
    contents = {
        "arch/a.txt": b"A",
        "arch/empty": b"",
        long_name: noise(1_500_000),
        "arch/deep/er/b": b"x" * 511,
    }
    for key, body in contents.items():
        assert service.put(key.replace("ü", "%C3%BC"), body).status == 201
    answer = post(
        service, "download", {"bucket": "plain", "prefix": "arch/", "format": format, "name": "my files/x"}
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == archives.TYPES[format].decode()
    assert answer.headers["content-disposition"] == f'attachment; filename="my files_x.{format}"'
    assert members(answer, format) == contents


def test_unzip_opens_it(service: Service, tmp_path: Path) -> None:
    fill(service, "uz/a.txt", "uz/b/c.txt", body=b"unzipped" * 1000)
    answer = post(service, "download", {"bucket": "plain", "prefix": "uz/"})
    (tmp_path / "x.zip").write_bytes(answer.body)
    tool = shutil.which("unzip") or shutil.which("bsdtar")
    if tool is None:  # then Python's own, which reads the same directory at the end
        subprocess.run(["python3", "-m", "zipfile", "-e", "x.zip", "out"], cwd=tmp_path, check=True)
    elif tool.endswith("unzip"):
        subprocess.run([tool, "-q", "x.zip", "-d", "out"], cwd=tmp_path, check=True)
    else:
        (tmp_path / "out").mkdir()
        subprocess.run([tool, "-xf", "../x.zip"], cwd=tmp_path / "out", check=True)
    assert (tmp_path / "out/uz/b/c.txt").read_bytes() == b"unzipped" * 1000


@pytest.mark.parametrize("format", ["zip", "tar"])
def test_what_cannot_be_opened_is_named_in_the_archive(service: Service, format: str) -> None:
    fill(service, "part/a", "part/_errors.json")
    wish = {"bucket": "plain", "keys": ["part/a", "part/none"], "file_ids": ["no-such"], "format": format}
    found = members(post(service, "download", {**wish, "batch_id": f"part.{format}"}), format)
    assert set(found) == {"part/a", "_errors.json"}
    told = json.loads(found["_errors.json"])
    assert [(item["key"], item["code"]) for item in told] == [
        ("part/none", "not_found"),
        ("no-such", "not_found"),
    ]
    said = service.ask("GET", f"{BATCH}/part.{format}").json
    assert (said["state"], said["done"], said["failed"], said["bytes"]) == ("done", 1, 2, 7)


def test_an_archive_of_nothing_is_an_error(service: Service) -> None:
    assert post(service, "download", {"bucket": "plain", "keys": ["not/1", "not/2"]}).status == 404
    assert post(service, "download", {"bucket": "plain", "prefix": "not/"}).status == 404
    assert post(service, "download", {"bucket": "none", "prefix": ""}).status == 404


def test_a_member_that_breaks_off_breaks_the_archive_off(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        fill(service, "broken", body=noise(6 << 20))
        blob = max(
            (tmp_path / "objects").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
        )
        raw = bytearray(blob.read_bytes())
        raw[4 << 20] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(raw)
        wish = json.dumps({"bucket": "plain", "keys": ["broken"]}).encode()
        raw_answer = service.raw(
            b"POST /api/v1/batch/download HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
            % (len(wish), wish),
            timeout=10,
        )
        assert raw_answer.startswith(b"HTTP/1.1 200 ")
        assert len(raw_answer) > 1 << 20
        assert not raw_answer.endswith(b"0\r\n\r\n")


def test_names_are_safe_to_unpack() -> None:
    keys = [
        "/abs",
        "a\\..\\b",
        "c:/d",
        "x",
        "x/y",
        "x",
        "_errors.json",
        "a//b",
        "...",
        "end. ",
        ".hidden",
        ".hidden",
    ]
    names = archives.names_of([Item("b", key) for key in keys])
    assert names == [
        *("abs", "a/b", "c_/d", "x (2)", "x/y", "x (3)", "_errors (2).json", "a/b (2)", "_", "end"),
        *(".hidden", ".hidden (2)"),
    ]
    assert archives.names_of([Item("b1", "k"), Item("b2", "k")]) == ["b1/k", "b2/k"]
    assert all(not name.startswith("/") and ".." not in name.split("/") for name in names)


def test_names_are_safe_on_other_machines() -> None:
    keys = [
        *("CON", "nul.txt", "x/com1", "LPT9.a.b", "console", "aux .c", "com\u00b9"),
        *("dot.", "space ", " lead", "in. /x", "a\u202etxt.exe", "z\u200bw", "l\u2028s"),
        *("zs/A", "zs/a", "ZS", "caf\u00e9", "cafe\u0301", "_ERRORS.JSON", "n\tt"),
    ]
    names = archives.names_of([Item("b", key) for key in keys])
    assert names == [
        *("_CON", "_nul.txt", "x/_com1", "_LPT9.a.b", "console", "_aux .c", "_com\u00b9"),
        *("dot", "space", "lead", "in/x", "a_txt.exe", "z_w", "l_s"),
        *("zs/A", "zs/a (2)", "ZS (2)", "caf\u00e9", "cafe\u0301 (2)", "_ERRORS (2).JSON", "n_t"),
    ]


def test_many_contents_of_one_name_are_named_soon() -> None:
    names = archives.names_of([Item("b", "k.txt")] * 10_000)
    assert (len(set(names)), names[-1]) == (10_000, "k (10000).txt")


def test_a_format_that_is_none_is_told_in_words(service: Service) -> None:
    answer = post(service, "download", {"bucket": "plain", "prefix": "", "format": "rar"})
    assert (answer.status, answer.json["detail"]) == (400, "format is zip, tar or tar.gz")


# -- who --------------------------------------------------------------------------------------------------------------
WHO = {
    "all": Principal("all", "default", "admin"),
    "reader": Principal("reader", "default", "reader"),
    "mine": Principal("mine", "default", "writer", scopes=(Scope("plain", "mine/"),)),
    "foreign": Principal("foreign", "other", "admin"),
}


async def by_name(token: str) -> Principal:
    return WHO[token]


def test_scopes_hold_for_each_item_and_batches_are_their_owners(tmp_path: Path) -> None:
    with serving(tmp_path, authenticate=lambda engine: by_name) as service:
        service.run(service.engine.catalog.create_tenant("other"))

        def ask(who: str, method: str, path: str, wish: Any = None) -> Answer:
            raw = None if wish is None else json.dumps(wish)
            return service.ask(method, path, raw, {"Authorization": f"Bearer {who}"})

        for key in ("mine/a", "mine/b", "his/c"):
            service.ask("PUT", f"/api/v1/objects/plain/{key}", b"x", {"Authorization": "Bearer all"})
        wish = {"bucket": "plain", "keys": ["mine/a", "his/c"], "batch_id": "b"}
        answer = ask("mine", "POST", f"{BATCH}/delete", wish)
        assert answer.status == 207
        assert [item.get("code") for item in answer.json["results"]] == [None, "permission_denied"]
        only_his = {"bucket": "plain", "keys": ["his/c"]}
        for what, more in (("delete", {}), ("tag", {"tags": {"a": "b"}}), ("download", {})):
            assert ask("mine", "POST", f"{BATCH}/{what}", {**only_his, **more}).status == 403
        assert ask("mine", "POST", f"{BATCH}/delete", {"bucket": "plain", "prefix": ""}).status == 403
        assert ask("reader", "POST", f"{BATCH}/delete", only_his).status == 403
        assert ask("foreign", "POST", f"{BATCH}/delete", only_his).status == 404
        assert ask("all", "GET", "/api/v1/objects/plain/his/c").status == 200
        for who, status in (("mine", 200), ("all", 200), ("reader", 404), ("foreign", 404)):
            assert ask(who, "GET", f"{BATCH}/b").status == status
            assert ask(who, "GET", f"{BATCH}/b/events").status == status
            assert ask(who, "DELETE", f"{BATCH}/b").status == status
            assert len(ask(who, "GET", BATCH).json["batches"]) == (status == 200)
        assert (
            ask("foreign", "POST", f"{BATCH}/delete", {**wish, "bucket": "none"}).status == 404
        )  # its own id `b`


def test_each_object_of_a_batch_is_in_the_audit(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        fill(service, "a/1", "a/2")
        assert post(service, "download", {"bucket": "plain", "keys": ["a/1", "a/2", "a/none"]}).status == 200
        assert (
            post(service, "tag", {"bucket": "plain", "keys": ["a/1", "a/none"], "tags": {"x": "y"}}).status
            == 207
        )
        service.run(service.engine.audit.seal())
        told = service.run(service.engine.catalog.audit("default", limit=1000))
        seen = {(entry.action, entry.key, entry.status, entry.error) for entry in told}
        assert {
            ("get", "a/1", 200, ""),
            ("get", "a/2", 200, ""),
            ("get", "a/none", 404, "not_found"),
            ("update", "a/1", 0, ""),
            ("update", "a/none", 404, "not_found"),
        } <= seen
