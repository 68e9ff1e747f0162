"""Both layouts keep every promise; the readable one shows keys as folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.names import Layout
from holdfast.engine.settings import EngineSettings
from tests.helpers import blobs_on_disk, content, engine_on, local_store, run

pytestmark = pytest.mark.engine

KEYS = [
    "reports/2026/may.pdf", "reports/2026", "reports", "a//b", "/abs", "tail/", "CON", "dots...", "..hidden",
    "back\\slash", "%2f", "percent%", "emoji/😀.png", "e\u0301", "é", "A", "a", "x" * 1024, "long/" + "y" * 300 + ".txt", " ",
    "a b", "a=20b", "#note", "~", "*?<>|:",
]  # fmt: skip


@pytest.mark.parametrize("layout", list(Layout))
def test_any_key_lives_in_either_layout(sqlite_url: str, tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "o"

    async def story() -> None:
        store = local_store("local", root, Environment())
        store.layout = layout
        async with engine_on(sqlite_url, store, settings=EngineSettings(grace=0)) as (engine, session):
            for bucket in ("plain", "kept"):
                for round_ in (b"1", b"2"):
                    for key in KEYS:
                        await session.put(bucket, key, Body.of_bytes(key.encode() + round_))
            for key in KEYS:
                assert await content(session, "kept", key) == key.encode() + b"2"
            shown = [str(path.relative_to(root)) for path in blobs_on_disk(root)]
            readable = [name for name in shown if name.startswith("default/plain/reports/2026/may.pdf/")]
            assert bool(readable) == (layout is Layout.READABLE)
            assert all(name.endswith(".pdf") for name in readable)
            for key in KEYS:
                await session.delete("plain", key)
            await engine.sweep()
            assert len(blobs_on_disk(root)) == 2 * len(KEYS)

    run(story())


def test_the_layout_may_change_at_any_time(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "one", Body.of_bytes(b"1"))
            store.layout = Layout.READABLE
            await session.put("plain", "two", Body.of_bytes(b"2"))
            assert (await content(session, "plain", "one"), await content(session, "plain", "two")) == (
                b"1",
                b"2",
            )

    run(story())
