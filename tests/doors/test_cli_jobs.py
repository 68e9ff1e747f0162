"""Jobs on the command line and from Python, over an engine of their own and over a service."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import JobState, Pace
from tests.doors.cli_tools import Place, embedded

pytestmark = pytest.mark.doors


def filled(place: Place, name: str, count: int = 1) -> None:
    place.run("mb", name)
    for number in range(count):
        place.run("put", "-", f"{name}/{number}", stdin=b"content")


def test_a_job_is_started_seen_to_its_end_and_shown(place: Place, name: str) -> None:
    filled(place, name)
    [forecast] = place.run("job", "start", "scrub", "-n", "--json").records
    assert forecast["objects"] >= 1
    assert "cost once:" in place.run("job", "start", "scrub", "--dry-run").out
    assert place.run("job", "start", "scrub").out.startswith("scrub done, ")
    [made] = place.run("job", "list", "--kind", "scrub", "--limit", "1", "--json").records
    assert (made["state"], made["failed"], made["percent"]) == ("done", 0, 100.0)
    assert made["done"] >= 1
    assert f"{made['id']}: scrub done" in place.run("job", "show", made["id"]).out
    [watched] = place.run("job", "watch", made["id"], "--json").records
    assert watched == made


def test_one_that_is_not_waited_for_is_paused_paced_resumed_run_and_cancelled(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    filled(place, "papers")
    spec = '{"max_age": 0}'
    slow = ("job", "start", "scrub", "--spec", spec, "--objects-per-second", "0.5", "--no-wait", "--json")
    [made] = place.run(*slow).records
    assert made["pace"]["objects_per_second"] == 0.5
    one = made["id"]
    assert place.run("job", "pause", one, "--json").records[0]["state"] == "paused"
    assert one in place.run("job", "list", "--state", "paused").out
    place.run("job", "run", one, status=6)  # it stands still
    [paced] = place.run("job", "pace", one, "--bandwidth", "10MB", "--json").records
    assert paced["pace"] == {"objects_per_second": None, "bytes_per_second": 10 << 20}
    place.run("job", "pace", one, status=7)
    assert place.run("job", "resume", one, "--json").records[0]["state"] in ("queued", "running")
    [ended] = place.run("job", "run", one, "--json").records
    assert ended["state"] == "done"
    [other] = place.run(*slow).records
    assert place.run("job", "cancel", other["id"], "--json").records[0]["state"] == "cancelled"
    place.run("job", "watch", other["id"], status=6)


def test_what_makes_no_sense_is_said(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "plain")
    for arguments in (
        ("start", "unheard-of"),
        ("start", "scrub", "--spec", "[]"),
        ("start", "scrub", "--bandwidth", "fast"),
        ("start", "scrub", "--objects-per-second", "0"),
        ("list", "--state", "sleeping"),
    ):
        place.run("job", *arguments, status=7)
    place.run("job", "show", "nowhere", status=3)


def test_schedules(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    place.run("mb", "plain")
    made = place.run("schedule", "set", "nightly", "scrub", "--cron", "0 3 * * *", "--bandwidth", "1MB")
    assert made.out.startswith("nightly: scrub, 0 3 * * *, due ")
    listed = {told["name"]: told for told in place.run("schedule", "list", "--json").records}
    assert (listed["nightly"]["enabled"], listed["nightly"]["pace"]["bytes_per_second"]) == (True, 1 << 20)
    assert "off" in place.run("schedule", "set", "nightly", "scrub", "--cron", "@every 60", "--off").out
    place.run("schedule", "remove", "nightly", "--tenant", "default", status=3)
    place.run("schedule", "remove", "nightly", "--tenant", "")
    place.run("schedule", "remove", "nightly", status=3)
    place.run("schedule", "set", "wrong", "scrub", "--cron", "soon", status=7)


def test_an_interrupted_command_says_how_the_job_goes_on(tmp_path: Path) -> None:
    place = embedded(tmp_path)
    filled(place, "papers", 3)
    slow = ("job", "start", "scrub", "--objects-per-second", "0.1")
    process = place.start(*slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    one = wait_for(place, "running")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"go on with: holdfast job run {one}" in told.decode()
    assert place.run("job", "show", one, "--json").records[0]["state"] == "running"
    place.run("job", "pace", one, "--free")
    [ended] = place.run("job", "run", one, "--json").records
    assert (ended["state"], ended["done"] + ended["skipped"]) == ("done", 3)


def wait_for(place: Place, state: str) -> str:
    """Return the id of the first job that is so."""
    for _ in range(100):
        for made in place.run("job", "list", "--state", state, "--json").records:
            return str(made["id"])
        time.sleep(0.1)
    raise AssertionError(place.run("job", "list").out)


# -- from Python ------------------------------------------------------------------------------------------------------
def test_the_verbs_of_clients(client: holdfast.Client, name: str) -> None:
    client.create_bucket(name)
    client.put(name, "k", b"content")
    assert "scrub" in [kind.name for kind in client.job_kinds()]
    assert client.forecast_job("scrub").objects >= 1
    seen: list[JobState] = []
    made = client.start_job("scrub", {"max_age": 0}, pace=Pace(bytes=50 << 20))
    ended = client.run_job(made.id, lambda job: seen.append(job.state))
    assert (ended.state, ended.counts.failed, ended.pace.bytes) == (JobState.DONE, 0, 50 << 20)
    assert ended.counts.done >= 1
    told = client.job(made.id)
    assert (told.id, told.state, told.counts) == (ended.id, ended.state, ended.counts)
    assert [job.id for job in client.jobs(kind="scrub", limit=1)] == [made.id]
    assert [job.state for job in client.watch_job(made.id)] == [JobState.DONE]
    assert list(client.job_failures(made.id)) == []
    assert client.cancel_job(made.id).state is JobState.DONE
    with pytest.raises(ConflictError):
        client.pause_job(made.id)
    with pytest.raises(NotFoundError):
        client.job("nowhere")
    with pytest.raises(InvalidRequestError):
        client.start_job("scrub", {"never": "heard of"})


def test_pausing_and_pacing_from_python(client: holdfast.Client, name: str) -> None:
    client.create_bucket(name)
    for number in range(3):
        client.put(name, str(number), b"content")
    made = client.start_job("scrub", {"max_age": 0}, pace=Pace(objects=0.2))
    assert client.pause_job(made.id).state is JobState.PAUSED
    assert client.run_job(made.id).state is JobState.PAUSED
    assert client.set_job_pace(made.id, Pace()).pace == Pace()
    assert client.resume_job(made.id).state in (JobState.QUEUED, JobState.RUNNING)
    assert client.run_job(made.id).state is JobState.DONE


def test_schedules_from_python(client: holdfast.Client) -> None:
    made = client.put_schedule("weekly", "scrub", "0 3 * * 1", {"max_age": 0}, pace=Pace(objects=10))
    assert datetime.fromtimestamp(made.next_at / 1e6, UTC).isoweekday() == 1
    assert ("weekly", 10.0) in [(one.name, one.pace.objects) for one in client.schedules()]
    client.delete_schedule("weekly")
    with pytest.raises(NotFoundError):
        client.delete_schedule("weekly")
