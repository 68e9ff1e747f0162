"""Settings of buckets from Python and from the command line, with and without a server."""

from __future__ import annotations

import asyncio

import pytest

import holdfast
from holdfast.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
)
from holdfast.core.types import IpRules, Quota, QuotaUse, Visibility
from tests.doors.cli_tools import Place, Server, noise

pytestmark = pytest.mark.doors


def test_settings_from_python(client: holdfast.Client) -> None:
    made = client.create_bucket(
        "python-set",
        settings={"max_bytes": "1MB", "max_object_size": 600_000, "allowed_types": [".bin"]},
    )
    assert (made.settings.quota, made.settings.max_object_size) == (Quota(1 << 20), 600_000)
    client.put("python-set", "a.bin", noise(600_000))
    with pytest.raises(QuotaExceededError):
        client.put("python-set", "b.bin", noise(600_000))
    with pytest.raises(TooLargeError):
        client.put("python-set", "b.bin", noise(600_001))
    with pytest.raises(InvalidRequestError):
        client.put("python-set", "b.txt", b"x")
    changed = client.update_bucket(
        "python-set",
        versioning=True,
        settings={"max_bytes": None, "visibility": "public", "retention_days": 9, "ip_deny": ["10.0.0.0/8"]},
    )
    assert changed.versioning
    client.put("python-set", "b.bin", noise(600_000))
    shown = client.bucket("python-set")
    assert shown.bucket.settings == changed.settings
    assert shown.bucket.settings.visibility is Visibility.PUBLIC
    assert (shown.bucket.settings.retention_days, shown.bucket.settings.ip) == (
        9,
        IpRules((), ("10.0.0.0/8",)),
    )
    assert (shown.usage.objects, shown.use) == (2, QuotaUse(Quota(), 1_200_000, 2))
    for settings in ({"colour": "red"}, {"max_bytes": "lots"}):
        with pytest.raises(InvalidRequestError):
            client.update_bucket("python-set", settings=settings)
    with pytest.raises(NotFoundError):
        client.bucket("nowhere")
    with pytest.raises(ConflictError):
        client.delete_bucket("python-set")
    client.delete_bucket("python-set", force=True)
    assert "python-set" not in [bucket.name for bucket, _ in client.buckets()]


def test_settings_from_python_without_blocking(server: Server) -> None:
    async def story() -> None:
        async with holdfast.open_async(server.url, token=server.token) as client:
            await client.create_bucket("async-set", settings={"max_objects": 1})
            assert (await client.bucket("async-set")).use == QuotaUse(Quota(None, 1))
            await client.update_bucket("async-set", settings={"max_objects": 2})
            await client.delete_bucket("async-set", force=True)

    asyncio.run(story())


def test_settings_from_the_command_line(place: Place) -> None:
    place.run(
        "mb",
        "line-set",
        "--max-bytes",
        "1KB",
        "--retention-days",
        "7",
        "--allow-type",
        ".csv",
        "--max-objects",
        "5",
    )
    facts = place.run("bucket", "show", "line-set", "--json").records[0]
    assert {
        name: facts[name] for name in ("max_bytes", "retention_days", "allowed_types", "max_objects")
    } == {
        "max_bytes": 1024,
        "retention_days": 7,
        "allowed_types": [".csv"],
        "max_objects": 5,
    }
    full = place.run("put", "-", "line-set/a.csv", stdin=noise(2000), status=None)
    assert full.status != 0
    assert "quota_exceeded" in full.err
    changed = place.run(
        "bucket", "set", "line-set", "--max-bytes", "none", "--allow-type", "none", "--versioning", "--json"
    ).records[0]
    assert (changed["max_bytes"], changed["allowed_types"], changed["versioning"]) == (None, [], True)
    assert (changed["retention_days"], changed["max_objects"]) == (7, 5)
    place.run("put", "-", "line-set/a.txt", stdin=noise(2000))
    listed = {row["bucket"]: row for row in place.run("bucket", "ls", "--json").records}
    assert (listed["line-set"]["bytes"], listed["line-set"]["retention_days"]) == (2000, 7)
    assert "2000 (2.0 KiB)" in place.run("bucket", "show", "line-set").out
    place.run("rb", "line-set", "--force")


def test_settings_that_cannot_be_from_the_command_line(place: Place) -> None:
    place.run("mb", "line-wrong")
    for wrong in (["--max-objects", "few"], ["--max-bytes", "lots"], []):
        refused = place.run("bucket", "set", "line-wrong", *wrong, status=None)
        assert refused.status != 0
        assert "invalid_request" in refused.err
