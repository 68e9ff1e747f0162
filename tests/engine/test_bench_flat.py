"""What is said of flat memory is what was seen, and what is not flat fails the run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import flat
from bench.figures import Figure
from bench.flat_client import Source
from bench.options import Options
from bench.processes import PeerFailedError
from holdfast.core.body import CHUNK

pytestmark = pytest.mark.engine


def figure(tmp_path: Path, *only: str, way: str = "both") -> Figure:
    (found,) = flat.run(Options(tmp_path, size=3 * CHUNK + 1, only=only, way=way))
    return found


def test_a_store_is_measured_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figure(tmp_path, "encrypted")
    (seen,) = found.detail["the most"]
    rows = [(row["backend"], row["way"], row["same"]) for row in seen["rows"]]
    assert rows == [("encrypted", way, True) for way in ("up", "down")]
    assert found.bound_met is True
    assert found.as_json()["binding"] is True
    assert capsys.readouterr().out.count("equal") == 2
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(flat, "_measure", lambda name, options: [{**seen["rows"][0], "mib": 64.1}])
    assert figure(tmp_path, "local").bound_met is False
    assert "64.1 TOO MUCH" in capsys.readouterr().out


def test_other_bytes_and_backends_that_did_not_come_up_are_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"way": "up", "mib": 1.0, "mb_s": 1.0, "same": False}
    monkeypatch.setattr(flat, "_measure", lambda name, options: [row])
    with pytest.raises(PeerFailedError, match="other bytes came back than went in: local"):
        figure(tmp_path, "local")

    def missing(name: str, options: Options) -> list[flat.Row]:
        raise PeerFailedError("it did not come up")

    monkeypatch.setattr(flat, "_measure", missing)
    assert figure(tmp_path, "gcs").bound_met is None
    with pytest.raises(PeerFailedError, match="no backend nowhere"):
        figure(tmp_path, "nowhere")


def test_the_bytes_do_not_repeat_and_have_the_size_that_was_asked_for() -> None:
    async def story() -> None:
        chunks = [chunk async for chunk in Source(3 * CHUNK + 1).flow()]
        assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, CHUNK, 1]
        assert len(set(chunks)) == 4

    asyncio.run(story())
