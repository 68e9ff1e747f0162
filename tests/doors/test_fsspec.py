"""The fsspec filesystem: fsspec's own suite, what it promises beyond, and pandas and universal_pathlib on top of it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pytest
from fsspec.tests import abstract
from upath import UPath

from holdfast.library.fsspec import HoldfastFileSystem
from tests.doors.cli_tools import noise
from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from _opened(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module", params=["embedded", "served"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if request.param == "embedded":
        yield from _opened(tmp_path_factory.mktemp("either"))
    else:
        yield from _opened(f"http://127.0.0.1:{request.getfixturevalue('service').port}", "any")


def _opened(*how: Any) -> Iterator[HoldfastFileSystem]:
    opened = HoldfastFileSystem(*how)
    opened.mkdir("bucket")
    yield opened
    opened.close()


# -- the suite of fsspec itself ---------------------------------------------------------------------------------------
class _Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, files: Any) -> Any:
        return files

    @pytest.fixture
    def fs_path(self) -> str:
        return "bucket/below"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(abstract.AbstractCopyTests, _Fixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, _Fixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, _Fixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, _Fixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, _Fixtures):  # type: ignore[misc]
    pass


# -- what it promises beyond ------------------------------------------------------------------------------------------
def test_paths_are_buckets_folders_and_objects(either: Any) -> None:
    either.makedirs("looks", exist_ok=True)
    either.pipe({"looks/a/one": b"1", "looks/a/b/two": b"22", "looks/three": b"333"})
    assert "looks" in either.ls("", detail=False)
    assert [entry["type"] for entry in either.ls("holdfast://looks")] == ["directory", "file"]
    assert either.ls("looks/a", detail=False) == ["looks/a/b", "looks/a/one"]
    assert either.ls("looks/three", detail=False) == ["looks/three"]
    assert either.find("looks") == ["looks/a/b/two", "looks/a/one", "looks/three"]
    assert either.find("looks", maxdepth=1) == ["looks/three"]
    assert either.glob("looks/**/t*") == ["looks/a/b/two", "looks/three"]
    assert either.du("looks") == 6
    assert (either.isdir("looks/a"), either.isfile("looks/a"), either.exists("looks/x")) == (
        True,
        False,
        False,
    )
    info = either.info("looks/a/b/two")
    assert (info["name"], info["size"], info["type"]) == ("looks/a/b/two", 2, "file")
    assert either.modified("looks/three") == either.created("looks/three") >= info["mtime"]
    before = either.checksum("looks/three")
    either.pipe("looks/three", b"333")
    assert either.checksum("looks/three") != before
    either.mv("looks/three", "looks/four")
    assert either.find("looks") == ["looks/a/b/two", "looks/a/one", "looks/four"]
    with pytest.raises(OSError, match="not empty"):
        either.rmdir("looks/a")
    with pytest.raises(IsADirectoryError):
        either.rm("looks/a")
    either.rm("looks", recursive=True)
    assert either.ls("looks") == []
    either.rmdir("looks")
    assert not either.exists("looks")


def test_errors_are_those_of_python(either: Any) -> None:
    for missing in ("bucket/nothing", "no-such-bucket/x", "no-such-bucket"):
        with pytest.raises(FileNotFoundError):
            either.info(missing)
    with pytest.raises(FileNotFoundError):
        either.cat_file("bucket/nothing")
    with pytest.raises(FileNotFoundError):
        either.open("bucket/nothing")
    with pytest.raises(FileNotFoundError):
        either.pipe("no-such-bucket/key", b"x")
    with pytest.raises(FileExistsError):
        either.mkdir("bucket")
    with pytest.raises(IsADirectoryError):
        either.pipe("bucket", b"x")


def test_a_file_is_read_in_pieces_and_stays_the_one_that_was_opened(either: Any) -> None:
    data = noise(300_000)
    either.pipe("bucket/large", data)
    with either.open("bucket/large", "rb", block_size=64_000) as file:
        assert file.read(10) == data[:10]
        file.seek(-1000, 2)
        assert file.read() == data[-1000:]
        either.pipe("bucket/large", b"another")
        file.seek(150_000)
        with pytest.raises(FileNotFoundError):  # not a mixture of both
            file.read(10)
    assert either.cat_file("bucket/large", 2, -2) == b"oth"
    assert either.cat_file("bucket/large", 5, 2) == b""
    assert either.cat_ranges(["bucket/large"] * 2, [0, 3], [2, 99]) == [b"an", b"ther"]


def test_a_file_is_written_in_parts_and_visible_when_closed(either: Any) -> None:
    data = noise(12 << 20)
    with either.open("bucket/parts", "wb") as file:
        for start in range(0, len(data), 1 << 20):
            file.write(data[start : start + (1 << 20)])
        assert not either.exists("bucket/parts")
    assert either.cat_file("bucket/parts") == data
    with either.open("bucket/parts", "ab") as file:
        file.write(b"end")
    assert either.cat_file("bucket/parts", -5) == data[-2:] + b"end"
    either.rm("bucket/parts")
    for size in (10, 6 << 20):
        with pytest.raises(ZeroDivisionError), either.open("bucket/broken", "wb") as file:
            file.write(b"x" * size)
            raise ZeroDivisionError
        assert not either.exists("bucket/broken")
    with either.transaction:
        with either.open("bucket/together", "wb") as file:
            file.write(b"both")
        assert not either.exists("bucket/together")
    assert either.cat_file("bucket/together") == b"both"


def test_an_exclusive_file_loses_to_whoever_was_first(either: Any) -> None:
    file = either.open("bucket/mine", "xb")
    file.write(b"late")
    either.pipe("bucket/mine", b"first")
    with pytest.raises(FileExistsError):
        file.close()
    assert either.cat_file("bucket/mine") == b"first"
    either.rm("bucket/mine")


def test_it_is_known_by_its_protocol_and_survives_pickling(service: Service) -> None:
    options = {"target": f"http://127.0.0.1:{service.port}", "token": "any"}
    opened = fsspec.filesystem("holdfast", **options)
    assert isinstance(opened, HoldfastFileSystem)
    assert fsspec.filesystem("holdfast", **options) is opened
    opened.pipe("bucket/pickled", b"content")
    assert pickle.loads(pickle.dumps(opened)).cat_file("bucket/pickled") == b"content"
    with fsspec.open("holdfast://bucket/pickled", **options) as file:
        assert pickle.loads(pickle.dumps(opened)).info("bucket/pickled") == file.info()
        assert file.read() == b"content"
    signed = opened.sign("holdfast://bucket/pickled", 60)
    assert signed.startswith(f"http://127.0.0.1:{service.port}/api/v1/objects/bucket/pickled?")


# -- what stands on it ------------------------------------------------------------------------------------------------
def test_pandas_reads_and_writes(service: Service) -> None:
    options = {"target": f"http://127.0.0.1:{service.port}", "token": "any"}
    table = pandas.DataFrame({"city": ["Oslo", "Bern"], "people": [709_037, 134_794]})
    table.to_csv("holdfast://bucket/tables/cities.csv", index=False, storage_options=options)
    found = pandas.read_csv("holdfast://bucket/tables/cities.csv", storage_options=options)
    assert found.equals(table)
    table.to_json("holdfast://bucket/tables/cities.json.gz", storage_options=options)
    again = pandas.read_json("holdfast://bucket/tables/cities.json.gz", storage_options=options)
    assert again.equals(table)


def test_universal_pathlib_walks_reads_and_writes(tmp_path: Path) -> None:
    root = UPath("holdfast://bucket/models", target=str(tmp_path))
    (root / "v1").mkdir(parents=True, exist_ok=True)
    (root / "v1" / "weights.bin").write_bytes(b"weights")
    (root / "readme.txt").write_text("hello")
    assert (root / "readme.txt").read_text() == "hello"
    assert sorted(path.name for path in root.iterdir()) == ["readme.txt", "v1"]
    assert [str(path) for path in root.glob("**/*.bin")] == ["holdfast://bucket/models/v1/weights.bin"]
    assert (root / "v1" / "weights.bin").stat().st_size == 7
    (root / "readme.txt").unlink()
    assert not (root / "readme.txt").exists()
    root.fs.close()
