"""`put_file(resume=True)`: what has arrived is not sent again, unless it is not what the file holds now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.core.errors import DigestMismatchError, InvalidRequestError, QuotaExceededError
from holdfast.core.types import Part, Quota
from holdfast.library import transfer
from holdfast.library.client import Parts
from holdfast.library.http import client as http_client
from tests.doors.rest_service import Service, serving
from tests.helpers import noise

pytestmark = pytest.mark.doors
STEP = 100_000


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(http_client, "PARTS", Parts(above=STEP, size=STEP))
    monkeypatch.setattr(transfer, "PARALLEL", 1)  # so that a failure takes no part along that was under way
    with serving(tmp_path / "service") as running:
        yield running


class Counting:
    """A client that counts the parts it sends, and fails after some."""

    def __init__(self, client: Any, fail_after: int | None = None) -> None:
        self.sent = 0
        self._real = client.put_part
        self._fail_after = fail_after
        client.put_part = self

    async def __call__(self, *where: Any, **how: Any) -> Part:
        if self._fail_after is not None and self.sent >= self._fail_after:
            raise InvalidRequestError("broken for the test")
        self.sent += 1
        part: Part = await self._real(*where, **how)
        return part


async def try_to_put(service: Service, path: Path, fail_after: int | None = None, **how: Any) -> int:
    """Return how many parts were sent."""
    async with holdfast.open_async(f"http://127.0.0.1:{service.port}", token="any") as client:
        counting = Counting(client, fail_after)
        try:
            await client.put_file("plain", "big", path, **how)
        except InvalidRequestError:
            assert fail_after is not None
        return counting.sent


def put(service: Service, path: Path, fail_after: int | None = None, **how: Any) -> int:
    return asyncio.run(try_to_put(service, path, fail_after, **how))


def test_only_what_is_missing_is_sent(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(noise(10 * STEP + 5, 1))
    first = put(service, path, fail_after=6, resume=True)
    assert first == 6
    told: list[int] = []
    assert put(service, path, resume=True, progress=told.append) == 11 - 6
    assert sum(told) == 10 * STEP + 5
    assert service.get("big").body == path.read_bytes()
    assert service.ask("GET", "/api/v1/uploads?bucket=plain").json["uploads"] == []


def test_a_file_that_changed_is_sent_anew_where_it_did(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = bytearray(noise(10 * STEP, 2))
    path.write_bytes(data)
    assert put(service, path, fail_after=10, resume=True) == 10
    path.write_bytes(data + b"x")  # another size: another upload
    assert put(service, path, fail_after=3, resume=True) == 3
    data[5] ^= 1
    path.write_bytes(data)
    put(service, path, resume=True)
    assert service.get("big").body == bytes(data)


def test_other_metadata_is_another_upload(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(noise(4 * STEP, 3))
    put(service, path, fail_after=2, resume=True, metadata={"a": "b"})
    assert put(service, path, resume=True) == 4
    assert put(service, path, resume=True, metadata={"a": "b"}) == 2


def test_without_resume_a_failure_leaves_nothing(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(noise(4 * STEP, 4))
    put(service, path, fail_after=2)
    assert service.ask("GET", "/api/v1/uploads?bucket=plain").json["uploads"] == []


def test_what_does_not_fit_is_refused_before_it_is_sent(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(noise(4 * STEP, 5))
    service.run(service.engine.catalog.set_quota("default", "plain", Quota(4 * STEP - 1)))  # type: ignore[attr-defined]
    with pytest.raises(QuotaExceededError):
        put(service, path)
    answer = service.ask(
        "POST",
        "/api/v1/uploads",
        b'{"bucket":"plain","key":"k","size":500000}',
        {"Content-Type": "application/json"},
    )
    assert (answer.status, answer.json["code"]) == (507, "quota_exceeded")


def test_parts_are_named_by_what_put_part_returned_or_by_pairs(service: Service) -> None:
    with holdfast.open(f"http://127.0.0.1:{service.port}", token="any") as client:
        upload = client.create_upload("plain", "k", size=2, expires_in=60)
        assert (upload.length, upload.received) == (2, 0)
        assert 59 <= (upload.expires - upload.created) / 1e6 <= 61
        parts = [client.put_part("plain", "k", upload.id, number, b"x") for number in (1, 2)]
        wrong: Any
        for wrong in ([1, 2], [("1", "x")], [(1,)], ["ab"], [(1, b"x")], [None]):
            with pytest.raises(InvalidRequestError, match="put_part"):
                client.complete_upload("plain", "k", upload.id, wrong)
        made = client.complete_upload("plain", "k", upload.id, parts)
        again = [(part.number, part.etag) for part in parts]
        assert client.complete_upload("plain", "k", upload.id, again).id == made.id
        assert client.list_uploads("plain")[0] == []


def test_a_file_that_changes_meanwhile_is_an_error(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(noise(4 * STEP, 6))
    told = 0

    def touch(count: int) -> None:
        nonlocal told
        if not told:
            path.write_bytes(noise(4 * STEP, 7))
        told += count

    with pytest.raises(DigestMismatchError):
        put(service, path, resume=True, progress=touch)
