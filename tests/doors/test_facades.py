"""The facades say what the clients say: the same script through both, embedded and over HTTP."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import random
import threading
import tracemalloc
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError, UnsupportedError
from holdfast.facades import (
    AsyncDualStorageClient,
    DualBuckets,
    DualStorageClient,
    ObjectStorageFactory,
    StorageManager,
    SyncStorageManager,
)
from tests.doors.cli_tools import Server, noise

pytestmark = pytest.mark.doors
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answer_of(ask: object) -> object:
    """Return what a call returns, or the kind of its error."""
    assert callable(ask)
    try:
        return ask()
    except HoldfastError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_script_gets_the_same_answers(client: holdfast.Client, name: str, seed: int) -> None:
    """Every second step goes through the facade and every other one through the client: neither can tell."""
    chance = random.Random(seed)
    model: dict[str, bytes] = {}
    storage = ObjectStorageFactory.ObjectStorageServiceHoldfast(client, name, "base")
    client.create_bucket(name)
    for _ in range(40):
        prefix, key = chance.choice(["a", "a/b", "c"]), chance.choice(["1", "2", "zwölf.txt"])
        full, by_facade = f"base/{prefix}/{key}", chance.random() < 0.5
        held = model.get(full)
        match chance.choice(["put", "get", "delete", "list"]):
            case "put":
                data = noise(chance.choice([0, 1, 70_000]))
                if by_facade:
                    storage.put_object(prefix, key, data)
                else:
                    client.put(name, full, data)
                model[full] = data
            case "get":
                expected = NotFoundError if held is None else held
                assert answer_of(lambda p=prefix, k=key: storage.get_object(p, k)) == expected
                assert answer_of(lambda f=full: client.get(name, f)) == expected
            case "delete":
                if by_facade:
                    gone = answer_of(lambda p=prefix, k=key: storage.delete_object(p, k))
                    assert gone is (NotFoundError if held is None else None)
                else:
                    client.delete(name, full)
                model.pop(full, None)
            case "list":
                below = f"base/{prefix}/"
                page = next(client.pages(name, prefix=below, delimiter="/"))
                plain = sorted([*(item.ref.key for item in page.items), *page.prefixes], key=str.encode)
                found = answer_of(lambda p=prefix: storage.list_objects(p))
                assert found == ([entry.removeprefix("base/") for entry in plain] or NotFoundError)
                mine = {
                    below + rest.split("/")[0] + ("/" if "/" in rest else "")
                    for rest in (full.removeprefix(below) for full in model if full.startswith(below))
                }
                assert plain == sorted(mine, key=str.encode)
    assert {item.ref.key: client.get(name, item.ref.key) for item in client.list(name)} == model


def test_the_manager_over_a_client(client: holdfast.Client, name: str, tmp_path: Path) -> None:
    said = {"content_types": {name: {}}}
    with SyncStorageManager(config=said, client=client) as manager:
        url = manager.save_file(noise(100_000), "a b/ü.png", name)
        assert manager.get_file("a b/ü.png", name) == client.get(name, "a b/ü.png") == noise(100_000)
        assert manager.get_adapter(name).list_directories() == list(client.list_directories(name)) == ["a b"]
        made = manager.get_adapter(name).provision_hierarchy("acme", ["one"], ["Image"])
        assert made["created_paths"] == ["acme/one", "acme/one/Image"]
        assert client.directory_exists(name, "acme/one/Image")
        assert (client.create_directory(name, "x"), client.create_directory(name, "x")) == (True, False)
        provisioned = client.provision([name], ["two"], ["Image", "QR"])
        assert provisioned.folders_made == [f"{name}/two/Image", f"{name}/two/QR"]
        assert client.provision([name], ["two"], ["Image", "QR"]).folders_made == []
        if not client.public_url:
            assert url.startswith("/api/v1/objects/")
            assert client.public_url == ""
            return
        with pytest.raises(UnsupportedError, match="a token of the tenant"):
            manager.save_file(b"x", "x", name, company_id="acme")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _DIRECT.open(url, timeout=20)
        with _DIRECT.open(manager.get_adapter(name).get_signed_url("a b/ü.png"), timeout=20) as answer:
            assert answer.read() == noise(100_000)
        client.update_bucket(name, settings={"visibility": "public"})
        with _DIRECT.open(url, timeout=20) as answer:
            assert answer.read() == noise(100_000)


def test_two_stores_over_a_client(client: holdfast.Client, name: str, tmp_path: Path) -> None:
    names = DualBuckets(*(f"{name}-{kind}" for kind in ("w", "c", "s", "d")))
    (tmp_path / "w.pth").write_bytes(noise(150_000))
    with DualStorageClient(client, buckets=names) as storage:
        stored = storage.upload_weight(tmp_path / "w.pth", "w.pth")
        assert stored.id == client.head(names.weights, "w.pth").id
        fetched = storage.download_weight("w.pth", tmp_path / "deep" / "er" / "w.pth")
        assert fetched.digests.sha256 == hashlib.sha256((tmp_path / "deep/er/w.pth").read_bytes()).digest()
        client.create_bucket(names.schemas)
        client.put(names.schemas, "old.json", b"1")
        assert storage.get_schema("old") == b"1"
        storage.upload_schema(b"2", "old")
        assert storage.get_schema("old") == client.get(names.schemas, "schemas/old.json") == b"2"
        storage.upload_dataset(tmp_path / "w.pth", "datasets/w")
        assert storage.list_datasets() == ["datasets/w"]
        if client.public_url:
            with _DIRECT.open(storage.generate_dataset_presigned_url("datasets/w"), timeout=20) as answer:
                assert answer.read() == noise(150_000)


def test_buckets_of_the_variables_are_made_when_two_stores_are_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for side in ("INTERNAL", "EXTERNAL"):
        monkeypatch.setenv(f"{side}_STORAGE_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv(f"{side}_STORAGE_ACCESS_KEY", "k")
        monkeypatch.setenv(f"{side}_STORAGE_SECRET_KEY", "s")
    monkeypatch.setenv("INTERNAL_BUCKET_WEIGHTS", "heavy")
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "data"))
    with DualStorageClient() as storage:
        assert storage.list_datasets() == []
    with holdfast.open(tmp_path / "data") as client:
        names = {bucket.name for bucket, _ in client.buckets()}
    assert names == {"heavy", "training-checkpoints", "config-schemas", "training-datasets"}


def test_the_service_that_the_environment_names(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_SERVER", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.token)
    monkeypatch.setenv("EXTERNAL_BUCKET_DATASETS", "by-environment")

    async def story() -> list[str]:
        async with AsyncDualStorageClient() as storage:
            await storage.upload_dataset(b"x", "datasets/x")
            return await storage.list_datasets()

    assert asyncio.run(story()) == ["datasets/x"]
    with DualStorageClient() as storage:
        assert storage.list_datasets() == ["datasets/x"]
    assert list(tmp_path.iterdir()) == []


def test_companies_at_a_server_have_clients_of_their_own(server: Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            holdfast.open_async(tmp_path / "globex") as other,
            holdfast.open_async(server.url, token=server.token) as mine,
        ):
            manager = StorageManager(client=mine, companies={"globex": other})
            await manager.save_file(b"mine", "same.png", "previews")
            await manager.save_file(b"theirs", "same.png", "previews", company_id="globex")
            assert await mine.get("previews", "same.png") == b"mine"
            assert await other.get("previews", "same.png") == b"theirs"
            made = await manager.provision_company_storage("globex", ["diplomas"], ["QR"])
            assert (made["success"], len(made["created_paths"])) == (True, 4)

    asyncio.run(story())


class Zeros(io.RawIOBase):
    """A file of zeros that was never written anywhere."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)


def test_large_files_are_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    size = 64 << 20
    with (
        SyncStorageManager(tmp_path / "storage") as manager,
        ObjectStorageFactory.ObjectStorageServiceFS(tmp_path / "objects") as service,
    ):
        manager.save_file(b"", "warm")
        service.put_object("", "warm", b"")
        tracemalloc.start()
        try:
            manager.save_file(Zeros(size), "zeros")
            manager.get_adapter("portraits").get_file_to("zeros", tmp_path / "zeros")
            service.put_object_from("", "zeros", Zeros(size))
            service.get_object_to("", "zeros", tmp_path / "again")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (tmp_path / "zeros").stat().st_size == (tmp_path / "again").stat().st_size == size
    assert peak < size // 3


def test_a_facade_may_be_closed_forgotten_and_used_by_threads(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # of facades that other tests opened
    service = ObjectStorageFactory.ObjectStorageServiceFS(tmp_path / "storage")
    workers = [
        threading.Thread(target=service.put_object, args=("t", f"{number}", b"x")) for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    service.close()
    service.close()
    assert len(service.list_objects("t")) == 8
    mine = [thread for thread in threading.enumerate() if thread.name == "holdfast" and thread not in others]
    assert mine
    del service
    gc.collect()
    for thread in mine:
        thread.join(20)
    assert not any(thread.is_alive() for thread in mine)


def test_a_closed_storage_manager_refuses_and_opens_nothing(tmp_path: Path) -> None:
    manager = SyncStorageManager(tmp_path / "storage")
    adapter = manager.get_adapter("portraits")
    manager.save_file(b"x", "one")
    manager.close()
    manager.close()
    before = threading.active_count()
    for call in (manager.get_file, adapter.get_file):
        with pytest.raises(InvalidRequestError, match="closed; make another"):
            call("one")
    assert threading.active_count() <= before
