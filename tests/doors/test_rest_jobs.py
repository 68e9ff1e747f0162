"""Jobs over REST: started, foretold, looked at, steered and watched, by those who may; and schedules."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.api import job_events
from holdfast.core.types import Principal
from tests.doors.rest_service import Answer, Service, read_all, serving
from tests.doors.test_access_matrix import bearer
from tests.doors.toy_jobs import toys

pytestmark = pytest.mark.doors

JOBS = "/api/v1/background-jobs"
SCHEDULES = "/api/v1/schedules"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As an admin of the tenant `default`."""
    with serving(tmp_path_factory.mktemp("jobs"), authenticate=bearer, kinds=toys()) as running:
        running.headers = {"Authorization": f"Bearer {token(running, 'admin')}"}
        yield running


def token(service: Service, role: str, tenant: str = "default") -> str:
    async def make() -> str:
        admin = service.engine.session(Principal("boss", "default", "operator")).admin
        return (await admin.create_key(f"{role} of {tenant}", role, tenant=tenant))[1]

    made: str = service.run(make())
    return made


def as_(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def post(service: Service, path: str, said: Any = None, headers: dict[str, str] | None = None) -> Answer:
    return service.ask("POST", path, json.dumps(said or {}), headers)


def start(
    service: Service, headers: dict[str, str] | None = None, kind: str = "counting", **spec: Any
) -> Any:
    answer = post(service, JOBS, {"kind": kind, "spec": spec}, headers)
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"{JOBS}/{answer.json['id']}"
    return answer.json


def job(service: Service, job_id: str) -> Any:
    answer = service.ask("GET", f"{JOBS}/{job_id}")
    assert answer.status == 200, answer.body
    return answer.json


def until(service: Service, job_id: str, *states: str) -> Any:
    for _ in range(200):
        said = job(service, job_id)
        if said["state"] in states:
            return said
        time.sleep(0.05)
    raise AssertionError(said)


def events_in(text: str) -> list[dict[str, str]]:
    """Return what each event says, comments left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in lines:
            found.append(lines)
    return found


# -- one job ----------------------------------------------------------------------------------------------------------
def test_a_job_is_started_done_and_told_of(service: Service) -> None:
    made = start(service, count=4, bad=[1, 3])
    assert (made["state"], made["kind"], made["tenant"]) == ("queued", "counting", "default")
    said = until(service, made["id"], "done")
    assert (said["examined"], said["done"], said["failed"], said["bytes"]) == (4, 2, 2, 40)
    assert (said["percent"], said["total"], said["parts"], said["parts_done"]) == (100.0, 4, 1, 1)
    assert (said["notes"], said["result"]) == ({"counted": 4}, {"last": 4})
    assert said["spec"]["count"] == 4
    assert said["started"] <= said["ended"]


def test_failures_page_by_page(service: Service) -> None:
    made = start(service, count=5, bad=[0, 2, 4])
    until(service, made["id"], "done")
    first = service.ask("GET", f"{JOBS}/{made['id']}/failures?limit=2").json
    assert [one["key"] for one in first["failures"]] == ["k0", "k2"]
    second = service.ask("GET", f"{JOBS}/{made['id']}/failures?limit=2&after={first['next_after']}").json
    assert [one["message"] for one in second["failures"]] == ["number 4 is bad"]
    assert second["next_after"] == 0


def test_a_dry_run_says_what_would_be_and_does_nothing(service: Service) -> None:
    before = service.ask("GET", JOBS).json["jobs"]
    answer = post(service, JOBS, {"kind": "counting", "spec": {"count": 7}, "dry_run": True})
    assert answer.status == 200
    said = answer.json
    assert (said["objects"], said["bytes"], said["calls"]) == (7, 70, {"local": {"put": 7}})
    assert (said["once"]["total"], said["once"]["known"], said["once"]["notes"]) == (None, "0", ["no price"])
    assert (said["month_after"]["total"], said["currency"]) == ("1.25", "USD")
    assert said["moves"] == [{"now": "old", "wanted": "new", "versions": 2}]
    assert (said["seconds"], said["notes"]) == (120.0, ["nothing is moved"])
    assert service.ask("GET", JOBS).json["jobs"] == before


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({}, "kind"),
        ({"kind": "unheard-of"}, "there is no kind of job"),
        ({"kind": "counting", "spec": {"count": 0}}, "count is a whole number"),
        ({"kind": "counting", "spec": []}, "spec"),
        ({"kind": "counting", "pace": {"objects_per_second": 0}}, "objects_per_second"),
        ({"kind": "counting", "pace": {"bytes_per_second": -1}}, "bytes_per_second"),
        ({"kind": "counting", "priority": 1}, "priority"),
    ],
)
def test_a_job_that_makes_no_sense(service: Service, wish: Any, told: str) -> None:
    answer = post(service, JOBS, wish)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert told in answer.json["detail"]


def test_paused_resumed_paced_and_cancelled(service: Service) -> None:
    one = f"{JOBS}/{start(service, count=1000, seconds=0.02)['id']}"
    job_id = one.rpartition("/")[2]
    until(service, job_id, "running")
    assert post(service, one + "/pause").json["state"] == "paused"
    time.sleep(0.4)
    held = job(service, job_id)["examined"]
    time.sleep(0.3)
    assert job(service, job_id)["examined"] == held
    paced = service.ask("PATCH", one + "/pace", json.dumps({"objects_per_second": 5, "bytes_per_second": 99}))
    assert paced.json["pace"] == {"objects_per_second": 5.0, "bytes_per_second": 99}
    assert post(service, one + "/resume").json["state"] == "running"
    time.sleep(1.0)
    assert held < job(service, job_id)["examined"] < held + 25
    assert post(service, one + "/cancel").json["state"] == "cancelled"
    assert post(service, one + "/cancel").json["state"] == "cancelled"
    assert post(service, one + "/pause").status == 409
    assert job(service, job_id)["percent"] < 100


def test_a_list_is_paged_and_narrowed(service: Service) -> None:
    made = [start(service, count=1)["id"] for _ in range(3)]
    for job_id in made:
        until(service, job_id, "done")
    first = service.ask("GET", f"{JOBS}?limit=2&kind=counting&state=done").json
    assert [one["id"] for one in first["jobs"]] == [made[2], made[1]]
    second = service.ask("GET", f"{JOBS}?limit=2&kind=counting&state=done&after={first['next_after']}").json
    assert second["jobs"][0]["id"] == made[0]
    assert service.ask("GET", f"{JOBS}?kind=chores").json["jobs"] == []
    assert service.ask("GET", f"{JOBS}?state=sleeping").status == 400
    kinds = service.ask("GET", "/api/v1/job-kinds").json["kinds"]
    assert [(kind["name"], kind["verb"]) for kind in kinds] == [
        ("chores", "operate"),
        ("counting", "update_bucket"),
    ]
    assert kinds[1]["about"] == "Count to a number, in one's own tenant"


def test_a_job_that_is_not_there(service: Service) -> None:
    for method, path in (("GET", ""), ("GET", "/failures"), ("GET", "/events"), ("POST", "/pause")):
        answer = service.ask(method, f"{JOBS}/nowhere{path}", b"" if method == "POST" else None)
        assert (answer.status, answer.json["code"]) == (404, "not_found"), path


# -- who may ----------------------------------------------------------------------------------------------------------
def test_a_kind_that_needs_more_is_refused_and_audited(service: Service) -> None:
    for secret, kind in ((token(service, "reader"), "counting"), (token(service, "admin"), "chores")):
        for dry in (False, True):
            answer = post(service, JOBS, {"kind": kind, "dry_run": dry}, as_(secret))
            assert (answer.status, answer.json["code"]) == (403, "permission_denied")
    refused = [row["action"] for row in records(service) if row.get("status") == 403]
    assert {"update_bucket", "operate"} <= set(refused)


def test_what_is_told_to_a_job_is_audited_once(service: Service) -> None:
    made = start(service, count=1000, seconds=0.02)
    service.ask("PATCH", f"{JOBS}/{made['id']}/pace", json.dumps({"objects_per_second": 5}))
    for what in ("pause", "resume", "cancel"):
        assert post(service, f"{JOBS}/{made['id']}/{what}").status == 200
    found = records(service)
    mine = [row for row in found if row.get("detail", {}).get("job") == made["id"]]
    assert [row["action"] for row in mine] == [
        *("start-job", "pace-job", "pause-job", "resume-job", "cancel-job")
    ]
    requests = {row["request_id"] for row in mine}
    assert len(requests) == 5
    assert [row["action"] for row in found if row["request_id"] in requests] == [
        row["action"] for row in mine
    ]


def records(service: Service) -> list[Any]:
    """Return the newest records of the audit, everything sealed."""
    service.run(service.engine.audit.seal())
    after, found = 0, []
    while True:
        page = service.ask("GET", f"/api/v1/audit?limit=1000&after={after}").json
        found += page["records"]
        after = page["next_after"]
        if not page["truncated"]:
            return found


def test_a_tenant_sees_its_own_jobs_and_an_operator_all(service: Service) -> None:
    async def other() -> None:
        await service.engine.session(Principal("boss", "default", "operator")).admin.create_tenant("other")

    service.run(other())
    boss, stranger = as_(token(service, "operator")), as_(token(service, "admin", "other"))
    mine = start(service, count=1)["id"]
    chore = start(service, boss, "chores", count=1)["id"]
    theirs = start(service, stranger, count=1)["id"]
    assert start(service, stranger, count=1)["tenant"] == "other"

    def seen(headers: dict[str, str] | None) -> set[str]:
        return {one["id"] for one in service.ask("GET", JOBS, headers=headers).json["jobs"]} & {
            mine,
            chore,
            theirs,
        }

    assert (seen(None), seen(stranger), seen(boss)) == ({mine}, {theirs}, {mine, chore, theirs})
    for path in ("", "/failures", "/events"):
        assert service.ask("GET", f"{JOBS}/{mine}{path}", headers=stranger).status == 404
    for what in ("pause", "resume", "cancel"):
        assert post(service, f"{JOBS}/{mine}/{what}", headers=stranger).status == 404
    assert service.ask("PATCH", f"{JOBS}/{mine}/pace", b"{}", stranger).status == 404
    reader = as_(token(service, "reader"))
    assert service.ask("GET", JOBS, headers=reader).json["jobs"] == []
    assert service.ask("GET", f"{JOBS}/{mine}", headers=reader).status == 404


# -- watching ---------------------------------------------------------------------------------------------------------
def test_events_tell_of_each_change_and_end(service: Service) -> None:
    made = start(service, count=24, seconds=0.05)
    answer = service.ask("GET", f"{JOBS}/{made['id']}/events")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    found = events_in(answer.body.decode())
    assert [one["event"] for one in found[:-1]] == ["progress"] * (len(found) - 1)
    assert found[-1]["event"] == "end"
    counts = [json.loads(one["data"])["examined"] for one in found]
    assert counts == sorted(counts)
    assert len(set(counts)) >= 3
    assert json.loads(found[-1]["data"]) == job(service, made["id"])
    assert len({one["id"] for one in found}) == len(found)


def test_who_asks_again_is_told_only_of_what_came_later(service: Service) -> None:
    made = start(service, count=2)
    until(service, made["id"], "done")
    path = f"{JOBS}/{made['id']}/events"
    last = events_in(service.ask("GET", path).body.decode())[-1]
    again = events_in(service.ask("GET", path, headers={"Last-Event-ID": last["id"]}).body.decode())
    assert again == [last]  # one that has ended is always told to have
    going = start(service, count=1000, seconds=0.01)
    until(service, going["id"], "running")
    post(service, f"{JOBS}/{going['id']}/pause")
    time.sleep(0.3)  # what was under way is written down
    path = f"/api/v1/background-jobs/{going['id']}/events"
    known = ask_raw(service, path, "", 0.3)
    told = events_in(known)
    assert [one["event"] for one in told] == ["progress"]
    assert events_in(ask_raw(service, path, told[0]["id"], 0.8)) == []
    post(service, f"{JOBS}/{going['id']}/cancel")
    assert events_in(ask_raw(service, path, told[0]["id"], 2.0))[-1]["event"] == "end"


def ask_raw(service: Service, path: str, last: str, seconds: float) -> str:
    """Return what comes over a plain socket in some seconds."""
    again = f"Last-Event-ID: {last}\r\n" if last else ""
    auth = f"Authorization: {service.headers['Authorization']}\r\n"
    with service.connect(seconds) as sock:
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{auth}{again}\r\n".encode()
        )
        raw = read_all(sock)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return unchunked(body)


def unchunked(body: bytes) -> str:
    """Return a body sent in chunks, as far as they came."""
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if not size:
            break
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found.decode()


def test_events_are_read_by_an_ordinary_client(service: Service) -> None:
    made = start(service, count=20, seconds=0.05)

    async def story() -> list[str]:
        names = []
        async with (
            aiohttp.ClientSession(headers=service.headers) as session,
            session.get(f"http://127.0.0.1:{service.port}{JOBS}/{made['id']}/events") as answer,
        ):
            async for line in answer.content:
                if line.startswith(b"event: "):
                    names.append(line[7:].decode().strip())
        return names

    names = asyncio.run(story())
    assert (names[0], names[-1]) == ("progress", "end")


def test_a_silent_job_is_shown_to_be_watched(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "_ALIVE", 0.3)
    made = start(service, count=2, seconds=0.8)
    body = service.ask("GET", f"{JOBS}/{made['id']}/events").body.decode()
    assert ": still there\n\n" in body
    assert events_in(body)[-1]["event"] == "end"


def test_only_so_many_watch_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "MOST", 2)
    made = start(service, count=1000, seconds=0.05)
    path = f"{JOBS}/{made['id']}/events"
    auth = f"Authorization: {service.headers['Authorization']}\r\n"
    socks = [service.connect(10) for _ in range(2)]
    for sock in socks:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{auth}\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    refused = service.ask("GET", path)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    for sock in socks:
        sock.close()  # who goes makes room
    for _ in range(100):
        if service.server.gate.in_flight == 0:
            break
        time.sleep(0.05)
    post(service, f"{JOBS}/{made['id']}/cancel")
    assert service.ask("GET", path).status == 200


def test_one_tenant_leaves_places_to_others(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "SHARE", 1)
    made = start(service, count=1000, seconds=0.05)
    path = f"{JOBS}/{made['id']}/events"
    with service.connect(10) as sock:
        auth = f"Authorization: {service.headers['Authorization']}\r\n"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{auth}\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        assert service.ask("GET", path).status == 503
        assert service.ask("GET", "/api/v1/batch/none/events").status == 503, "batches count alike"
        service.run(service.engine.catalog.create_tenant("neighbour"))
        theirs = as_(token(service, "admin", "neighbour"))
        assert service.ask("GET", "/api/v1/batch/none/events", None, theirs).status == 404
    post(service, f"{JOBS}/{made['id']}/cancel")


def test_a_stop_ends_what_is_watched_and_the_job_goes_on_later(tmp_path: Path) -> None:
    with serving(tmp_path, kinds=toys()) as one:
        made = start(one, count=60, seconds=0.02)
        sock = one.connect(10)
        sock.sendall(f"GET {JOBS}/{made['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b"event: progress" in sock.recv(65536)
        one.stop()
        assert read_all(sock).endswith(b"0\r\n\r\n")
    with serving(tmp_path, kinds=toys()) as again:
        said = until(again, made["id"], "done")
        assert (said["examined"], said["done"]) == (60, 60)


# -- schedules --------------------------------------------------------------------------------------------------------
def test_schedules_are_made_listed_replaced_and_removed(service: Service) -> None:
    wish = {"kind": "counting", "cron": "0 3 * * *", "spec": {"count": 2}, "pace": {"objects_per_second": 9}}
    made = service.ask("PUT", f"{SCHEDULES}/nightly", json.dumps(wish))
    assert made.status == 200, made.body
    assert made.json["next_at"].partition("T")[2].startswith("03:00:00")
    assert (made.json["enabled"], made.json["pace"]["objects_per_second"]) == (True, 9.0)
    service.ask("PUT", f"{SCHEDULES}/nightly", json.dumps({**wish, "cron": "@every 3600", "enabled": False}))
    said = service.ask("GET", f"{SCHEDULES}/nightly").json
    assert (said["cron"], said["enabled"]) == ("@every 3600", False)
    listed = service.ask("GET", SCHEDULES).json["schedules"]
    assert [one["name"] for one in listed] == ["nightly"]
    assert service.ask("DELETE", f"{SCHEDULES}/nightly").status == 204
    assert service.ask("DELETE", f"{SCHEDULES}/nightly").status == 404
    assert service.ask("GET", f"{SCHEDULES}/nightly").status == 404


@pytest.mark.parametrize(
    "wish",
    [
        {"kind": "counting", "cron": "now and then"},
        {"kind": "counting"},
        {"kind": "unheard-of", "cron": "0 3 * * *"},
        {"kind": "counting", "cron": "0 3 * * *", "spec": {"count": "x"}},
    ],
)
def test_a_schedule_that_makes_no_sense(service: Service, wish: Any) -> None:
    answer = service.ask("PUT", f"{SCHEDULES}/wrong", json.dumps(wish))
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


def test_operators_name_the_tenant_of_a_schedule(service: Service) -> None:
    operator = as_(token(service, "operator"))
    wish = json.dumps({"kind": "chores", "cron": "0 3 * * *"})
    assert service.ask("PUT", f"{SCHEDULES}/daily", wish, operator).json["tenant"] == ""
    wish = json.dumps({"kind": "counting", "cron": "0 3 * * *"})
    assert service.ask("PUT", f"{SCHEDULES}/daily", wish).json["tenant"] == "default"
    assert service.ask("DELETE", f"{SCHEDULES}/daily", None, operator).status == 409
    listed = service.ask("GET", f"{SCHEDULES}?tenant=", None, operator).json["schedules"]
    assert {one["tenant"] for one in listed} == {""}
    assert service.ask("GET", f"{SCHEDULES}/daily?tenant=default", None, operator).json["kind"] == "counting"
    assert service.ask("DELETE", f"{SCHEDULES}/daily?tenant=", None, operator).status == 204
    assert service.ask("DELETE", f"{SCHEDULES}/daily?tenant=", None, operator).status == 404
    assert service.ask("DELETE", f"{SCHEDULES}/daily").status == 204


def test_who_may_not_start_a_job_may_not_schedule_it(service: Service) -> None:
    wish = json.dumps({"kind": "chores", "cron": "0 3 * * *"})
    assert service.ask("PUT", f"{SCHEDULES}/chores", wish).status == 403
    wish = json.dumps({"kind": "counting", "cron": "0 3 * * *"})
    reader = as_(token(service, "reader"))
    assert service.ask("PUT", f"{SCHEDULES}/mine", wish, reader).status == 403
