"""Listings of the local backend equal those of a sorted list, whatever the names."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backends.local import LocalBackend, LocalSettings
from holdfast.core.body import Body
from holdfast.core.clock import Environment

pytestmark = pytest.mark.unit

#: few characters on both sides of the slash (0x2f), so that many names begin alike
SEGMENT = st.one_of(
    st.text(alphabet="!-.0aZ~", min_size=1, max_size=3),
    st.sampled_from(["x" * 253, "x" * 254, "x" * 255, "x" * 254 + "!", "x" * 254 + "~"]),
).filter(lambda text: text not in (".", ".."))
NAME = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
EDGE = st.one_of(
    NAME, NAME.map(lambda name: name[: len(name) // 2 + 1]), NAME.map(lambda name: name + "/"), st.just("")
)


@settings(max_examples=120, deadline=None)
@given(st.lists(NAME, unique=True, max_size=14), st.lists(st.tuples(EDGE, EDGE), max_size=6))
def test_a_listing_equals_a_sorted_list(names: list[str], questions: list[tuple[str, str]]) -> None:
    async def story(folder: str) -> None:
        backend = LocalBackend(
            "l", LocalSettings(path=Path(folder), fsync=False, threads=1), environment=Environment()
        )
        for name in names:
            await backend.put(name, Body.of_bytes(name.encode()))
        for prefix, after in [("", ""), *questions]:
            found = [info async for info in backend.list(prefix, after=after)]
            wanted = sorted(name for name in names if name.startswith(prefix) and name > after)
            assert [info.name for info in found] == wanted, (prefix, after)
            assert [info.size for info in found] == [len(name) for name in wanted]
        await backend.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(folder))


def test_a_large_folder_comes_in_batches(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2_000):
        (folder / f"%{number:05}").touch()

    async def story() -> None:
        backend = LocalBackend("l", LocalSettings(path=tmp_path), environment=Environment())
        names = [info.name async for info in backend.list("folder/", after="folder/01000")]
        assert names == [f"folder/{number:05}" for number in range(1001, 2000)]
        await backend.close()

    asyncio.run(story())
