"""The disk that forgets: what was synced stays, what was not may go, and the same seed loses the same."""

from __future__ import annotations

import pytest

from torture.disk import BLOCK, Disk, File, Folder, Loss

pytestmark = pytest.mark.crash


def named(disk: Disk, name: str, data: bytes) -> File:
    file = File(0o600)
    file.write(0, data)
    file.links = 1
    disk.root.names[name] = file
    return file


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_stays(loss: Loss, seed: int) -> None:
    disk = Disk()
    file = named(disk, "file", b"kept" * 1000)
    file.attributes["user.a"] = b"1"
    file.sync()
    disk.root.sync()
    disk.lose(loss, seed)
    assert disk.root.names["file"] is file
    assert bytes(file.data) == b"kept" * 1000
    assert file.attributes == {"user.a": b"1"}


def test_a_file_whose_folder_was_not_synced_has_no_name() -> None:
    disk = Disk()
    named(disk, "file", b"data").sync()
    disk.lose(Loss.DROP, 0)
    assert disk.root.names == {}


def test_a_name_without_synced_bytes_is_an_empty_file() -> None:
    disk = Disk()
    file = named(disk, "file", b"data")
    disk.root.sync()
    disk.lose(Loss.DROP, 0)
    assert bytes(file.data) == b""


def test_a_synced_folder_inside_one_that_was_not_is_gone() -> None:
    disk = Disk()
    folder = Folder(0o700)
    disk.root.names["folder"] = folder
    folder.names["file"] = File(0o600)
    folder.sync()
    disk.lose(Loss.DROP, 0)
    assert disk.root.names == {}


def test_data_only_leaves_attributes_behind() -> None:
    disk = Disk()
    file = named(disk, "file", b"data")
    file.attributes["user.a"] = b"1"
    file.sync(data_only=True)
    disk.root.sync()
    disk.lose(Loss.DROP, 0)
    assert bytes(file.data) == b"data"
    assert file.attributes == {}


def test_a_rename_that_was_not_synced_may_leave_both_names_or_neither() -> None:
    seen = set()
    for seed in range(40):
        disk = Disk()
        named(disk, "old", b"data").sync()
        disk.root.sync()
        disk.root.names["new"] = disk.root.names.pop("old")
        disk.lose(Loss.SUBSET, seed)
        seen.add(tuple(sorted(disk.root.names)))
    assert seen == {(), ("new",), ("new", "old"), ("old",)}


def test_a_subset_keeps_some_blocks_and_loses_others() -> None:
    disk = Disk()
    file = named(disk, "file", b"a" * BLOCK * 64)
    file.sync()
    disk.root.sync()
    file.write(0, b"b" * BLOCK * 64)
    disk.lose(Loss.SUBSET, 1)
    blocks = {bytes(file.data[start : start + BLOCK]) for start in range(0, len(file.data), BLOCK)}
    assert blocks == {b"a" * BLOCK, b"b" * BLOCK}


@pytest.mark.parametrize("seed", range(20))
def test_overwriting_never_shortens_what_was_synced(seed: int) -> None:
    disk = Disk()
    file = named(disk, "file", b"a" * BLOCK * 8)
    file.sync()
    disk.root.sync()
    file.write(0, b"b" * BLOCK * 2)
    disk.lose(Loss.SUBSET, seed)
    assert len(file.data) == BLOCK * 8
    assert bytes(file.data).endswith(b"a" * BLOCK * 6)


def test_a_cut_that_was_not_synced_may_be_undone() -> None:
    disk = Disk()
    file = named(disk, "file", b"a" * 5000)
    file.sync()
    disk.root.sync()
    file.resize(0)
    disk.lose(Loss.DROP, 0)
    assert bytes(file.data) == b"a" * 5000


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_loses_the_same(seed: int) -> None:
    def left() -> bytes:
        disk = Disk()
        file = named(disk, "file", b"a" * BLOCK * 10)
        file.sync()
        disk.root.sync()
        file.write(100, b"b" * BLOCK * 20)
        disk.lose(Loss.SUBSET, seed)
        return bytes(file.data)

    assert left() == left()


def test_restore_returns_to_what_was_kept() -> None:
    disk = Disk()
    named(disk, "file", b"data").sync()
    disk.root.sync()
    disk.keep()
    named(disk, "other", b"more")
    disk.restore()
    assert list(disk.root.names) == ["file"]
    disk.lose(Loss.DROP, 0)
    assert list(disk.root.names) == ["file"]
